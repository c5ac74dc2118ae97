"""Every process is killed in the middle of a run, then the broker restarts: nothing is lost, nothing is doubled."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from acceptance.feeder import Feeder
from acceptance.pipeline import API_KEY, Pipeline
from receiver import Receiver
from recordings import cpu_values, crossings
from support import eventually
from tocsin.deploy.processes import Supervisor
from tocsin.deploy.stack import Stack
from tocsin.shared.clock import SystemClock
from tocsin.shared.schemas.audit import TERMINAL
from tocsin.shared.topics import DELIVERY_AUDIT, NOTIFICATION_EVENTS, SENSOR_CHANGES

SECRET = "whsec_" + "c2VjcmV0" * 4
SYSTEMS = [f"PC-{number:02d}" for number in range(5)]
RUN_SECONDS = 40.0
VICTIMS = ("detector", "dispatcher", "activator", "router", "gateway")

CONFIGURATION = """
sensors:
  - {name: Weak CPU, metric: cpu.percent, trigger: "< 90", clear: "> 95"}
groups:
@GROUPS@
notifications:
@NOTIFICATIONS@
  - {name: Any of them, sensors: [Weak CPU], threshold: 1, recipients: [Hook, On call]}
  - {name: Half of them, sensors: [Weak CPU], threshold: 50%, recipients: [Other hook]}
recipients:
  - {name: Hook, type: system, webhook: {url: @URL@, authentication: {type: signed-secret, secret: {env: SECRET}}}}
  - {name: Other hook, type: system,
     webhook: {url: @URL@, method: PUT, authentication: {type: signed-secret, secret: {env: SECRET}}}}
  - {name: On call, type: distribution-list, email: oncall@example.com}
"""
RECIPIENTS = {"Any of them": 2, "Half of them": 1, **dict.fromkeys(SYSTEMS, 1)}
"""How many each notification has."""


def _configuration(url: str) -> str:
    groups = [f"  - {{name: {system}, systems: [{system}]}}" for system in SYSTEMS]
    notifications = [
        f"  - {{name: {system}, sensors: [Weak CPU], group: {system}, threshold: 1, recipients: [Hook]}}"
        for system in SYSTEMS
    ]
    parts = {"@URL@": url, "@GROUPS@": "\n".join(groups), "@NOTIFICATIONS@": "\n".join(notifications)}
    text = CONFIGURATION
    for name, part in parts.items():
        text = text.replace(name, part)
    return text


def _batches(values: list[float], start_ms: int) -> list[list[dict[str, Any]]]:
    """One batch an instant and system order; event times run a little behind the wall clock, as real ones do."""
    step = RUN_SECONDS * 1000 / len(values)
    rows = [
        {"system": system, "metric": "cpu.percent", "value": value, "time": start_ms + int(index * step)}
        for index, value in enumerate(values)
        for system in SYSTEMS
    ]
    return [rows[at : at + 100] for at in range(0, len(rows), 100)]


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_process_is_killed_and_the_broker_restarts_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    origin, values = cpu_values()
    print(f"readings: {origin}")
    with Stack(tmp_path / "stack") as stack, Supervisor() as supervisor, Receiver(SECRET) as receiver:
        pipeline = Pipeline(stack, supervisor, tmp_path / "run")
        pipeline.create_topics()
        pipeline.apply(_configuration(receiver.url), SECRET=SECRET)
        pipeline.start()
        pipeline.wait_ready()

        start_ms = SystemClock().now_ms()
        batches = _batches(values, start_ms)
        feeder = Feeder(pipeline.readings_url, API_KEY, batches, RUN_SECONDS)
        feeder.start()
        _kill_one_after_another(pipeline, feeder, len(batches))
        _restart_the_broker(pipeline, stack)
        feeder.join(120)

        _check_changes(pipeline, values)
        _check_deliveries(pipeline, receiver, crossings(values, 90, 95)[-1][1])
        _check_repeats(receiver)
        assert all(member.child.running for member in pipeline.fleet.members.values())


def _kill_one_after_another(pipeline: Pipeline, feeder: Feeder, batches: int) -> None:
    """Each at its own point of the first 80 % of the readings, so that traffic flows before and after."""
    for turn, victim in enumerate(VICTIMS, 1):
        point = batches * turn * 0.8 / (len(VICTIMS) + 1)
        eventually(lambda point=point: feeder.sent >= point or feeder.failure, within=120)
        pipeline.fleet.members[victim].child.kill()
        pipeline.fleet.restart(victim)


def _restart_the_broker(pipeline: Pipeline, stack: Stack) -> None:
    pipeline.wait_ready()
    before = {name: member.child.pid for name, member in pipeline.fleet.members.items()}
    stack.restart_kafka()
    time.sleep(3)  # time in which a process could die of it
    ended = {name: member.child.exit_code for name, member in pipeline.fleet.members.items()}
    assert ended == dict.fromkeys(before), "no process dies when the broker restarts"


def _check_changes(pipeline: Pipeline, values: list[float]) -> None:
    expected = crossings(values, 90, 95)
    assert len(expected) * len(SYSTEMS) > 400

    def changes() -> dict[str, list[tuple[float, str]]]:
        found: dict[str, list[tuple[str, float, str]]] = defaultdict(list)
        for record in pipeline.records(SENSOR_CHANGES):
            found[record["system"]].append((record["time"], record["value"], record["state"]))
        return {system: [(value, state) for _, value, state in rows] for system, rows in found.items()}

    wanted = {system: [(values[index], state) for index, state in expected] for system in SYSTEMS}
    eventually(lambda: sum(map(len, changes().values())) >= sum(map(len, wanted.values())), within=60, every=1)
    assert changes() == wanted


def _check_deliveries(pipeline: Pipeline, receiver: Receiver, last_state: str) -> None:
    until = time.monotonic() + 90
    while (open_ := _still_open(pipeline, last_state)) and time.monotonic() < until:
        time.sleep(1)  # between two readings of whole topics
    assert not open_, f"after 90 s: {open_}"
    code, output = pipeline.ledger()
    assert code == 0, output

    events = {event["id"]: event for event in pipeline.records(NOTIFICATION_EVENTS)}
    # Not a fixed number: what comes while a process is away is judged as one batch.
    assert len(events) > 40
    _check_order(list(events.values()))
    audit = pipeline.records(DELIVERY_AUDIT)
    routed = Counter(record["delivery_id"] for record in audit if record["kind"] == "routed")
    terminal = Counter(record["delivery_id"] for record in audit if record["kind"] in TERMINAL)
    assert set(routed.values()) == {1}
    assert terminal == routed, "every delivery has exactly one terminal record"
    hooks = {record["delivery_id"] for record in audit if record["channel"] == "webhook"}
    assert {request.id for request in receiver.requests} == hooks
    assert all(request.verified for request in receiver.requests)


def _still_open(pipeline: Pipeline, last_state: str) -> str | None:
    """What has not come through yet. All systems end in the same state, so every notification does."""
    events = {event["id"]: event for event in pipeline.records(NOTIFICATION_EVENTS)}
    last: dict[str, tuple[int, str]] = {}
    for event in events.values():
        name = event["notification"]["name"]
        last[name] = max(last.get(name, (0, "")), (event["ordinal"], event["kind"]))
    wrong = {name: kind for name, (_, kind) in last.items() if (kind == "activated") != (last_state == "triggered")}
    if wrong or last.keys() != RECIPIENTS.keys():
        return f"the sensors ended {last_state}, but the last events are {last}"
    audit = pipeline.records(DELIVERY_AUDIT)
    routed = {record["delivery_id"] for record in audit if record["kind"] == "routed"}
    ended = {record["delivery_id"] for record in audit if record["kind"] in TERMINAL}
    expected = sum(RECIPIENTS[event["notification"]["name"]] for event in events.values())
    if not len(routed) == len(ended) == expected:
        return f"{expected} deliveries expected, {len(routed)} routed, {len(ended)} ended"
    return None


def _check_order(events: list[dict[str, Any]]) -> None:
    """Of each notification: activated and resolved in turn, ordinals without a gap."""
    of: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        of[event["notification"]["id"]].append(event)
    for rows in of.values():
        rows.sort(key=lambda event: event["ordinal"])
        assert [event["ordinal"] for event in rows] == list(range(1, len(rows) + 1))
        assert {event["kind"] for event in rows[0::2]} == {"activated"}
        assert {event["kind"] for event in rows[1::2]} <= {"resolved"}


def _check_repeats(receiver: Receiver) -> None:
    """Only what was in flight when the dispatcher was killed comes again, with the same id and the same bytes."""
    repeats = receiver.repeats()
    print(f"{len(receiver.requests)} webhooks, {len(repeats)} repeated")
    assert sum(repeats.values()) - len(repeats) <= 64
    for delivery_id in repeats:
        assert len({request.body for request in receiver.requests if request.id == delivery_id}) == 1
