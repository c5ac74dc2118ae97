"""Rules tried on recent readings before they are saved."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from consoling import Client, RunningConsole, console_settings, dies, sleeps, with_accounts
from support import eventually, produce
from tocsin.console.dry_runs import DryRunPolicy, DryRuns
from tocsin.deploy.stack import Stack
from tocsin.shared import kafka
from tocsin.shared.clock import SystemClock
from tocsin.shared.times import format_rfc3339
from tocsin.shared.topics import SENSOR_READINGS

pytestmark = pytest.mark.kafka

MINUTE = 60_000
BUSY = {"name": "Busy", "metric": "cpu", "trigger": "> 90", "clear": "< 80"}
SLOW = {"name": "Slow", "sensors": ["Known"], "threshold": "50%"}


class Place:
    """A console, and two systems: FIN-1 is busy for the last half hour, FIN-2 for the ten minutes before the last."""

    def __init__(self, console: RunningConsole) -> None:
        self.console = console
        self.now = SystemClock().now_ms() // 1000 * 1000
        readings = [
            {"system": system, "metric": "cpu", "value": value, "time": self.now - ago * MINUTE}
            for ago in range(60, 0, -1)
            for system, value in (("FIN-1", 95 if ago <= 30 else 50), ("FIN-2", 99 if 5 < ago <= 15 else 40 + ago % 3))
        ]
        messages = [(str(one["system"]).encode(), json.dumps(one).encode()) for one in readings]
        messages.append((b"x", b"no reading"))
        produce(kafka.producer(console.settings.kafka), console.settings.topic(SENSOR_READINGS), messages)
        self.count = len(readings)

    def ago(self, minutes: int) -> str:
        return format_rfc3339(self.now - minutes * MINUTE)


@pytest.fixture(scope="module")
def place(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    settings = console_settings(stack, tmp_path_factory.mktemp("dry"))
    with_accounts(settings)
    with RunningConsole(settings) as console:
        made = Place(console)
        known = console.client("editor")("POST", "/api/v1/sensors", {**BUSY, "name": "Known"})
        assert known.status == 201, known.text
        yield made


@pytest.fixture
def editor(place: Place) -> Client:
    return place.console.client("editor")


def tried(client: Client, kind: str, document: dict[str, Any], **more: Any) -> Any:
    answer = client("POST", f"/api/v1/{kind}s/dry-run", {kind: document, **more})
    assert answer.status == 200, answer.text
    return answer.json()


def test_a_sensor_shows_the_changes_it_would_have_made(editor: Client, place: Place) -> None:
    found = tried(editor, "sensor", BUSY)
    changes = [(one["time"], one["system"], one["state"], one["value"]) for one in found["changes"]]
    assert changes == [
        (place.ago(30), "FIN-1", "triggered", 95),
        (place.ago(15), "FIN-2", "triggered", 99),
        (place.ago(5), "FIN-2", "clear", 42),
    ]
    assert (found["readings"], found["refused"], found["cut"], found["change_count"]) == (place.count, 1, [], 3)
    (figures,) = found["sensors"]
    assert (figures["triggered"], figures["still_triggered"], figures["noisiest"]) == (2, 1, {"FIN-1": 1, "FIN-2": 1})
    assert figures["longest_seconds"] >= 30 * 60
    # Nothing has been saved.
    assert editor.get("/api/v1/sensors?name=busy").json()["items"] == []


def test_a_notification_shows_when_it_would_have_been_active(editor: Client, place: Place) -> None:
    found = tried(editor, "notification", {**SLOW, "threshold": 2})
    assert [(one["activated_at"], one["ended_at"]) for one in found["activations"]] == [(place.ago(15), place.ago(5))]
    (active,) = found["activations"]
    assert (active["matched"], active["reporting"], active["systems"]) == (2, 2, ["FIN-1", "FIN-2"])
    assert (found["activation_count"], found["active_seconds"]) == (1, 600)
    half = tried(editor, "notification", SLOW)
    assert [(one["activated_at"], one["ended_at"]) for one in half["activations"]] == [(place.ago(30), None)]
    assert editor.get("/api/v1/notifications").json()["items"] == []


def test_a_saved_rule_is_tried_as_it_would_be_changed(editor: Client, place: Place) -> None:
    saved = editor.get("/api/v1/sensors?name=known").json()["items"][0]
    found = tried(editor, "sensor", {**saved, "trigger": "> 98", "clear": "< 90"}, id=saved["id"])
    assert [(one["system"], one["state"]) for one in found["changes"]] == [("FIN-2", "triggered"), ("FIN-2", "clear")]
    assert editor.get(f"/api/v1/sensors/{saved['id']}").json() == saved


def test_what_cannot_be_saved_cannot_be_tried(editor: Client, place: Place) -> None:
    def pointers(kind: str, body: dict[str, Any]) -> set[str]:
        answer = editor("POST", f"/api/v1/{kind}s/dry-run", body)
        assert answer.status == 422, answer.text
        return {one["pointer"] for one in answer.json()["errors"]}

    assert pointers("sensor", {"sensor": {**BUSY, "trigger": "> ninety"}}) == {"/sensor/trigger"}
    assert pointers("notification", {"notification": {**SLOW, "sensors": ["None"]}}) == {"/notification/sensors/0"}
    assert pointers("sensor", {"sensor": BUSY, "since": "25h"}) == {"/since"}
    assert pointers("sensor", {"sensor": BUSY, "until": "now"}) == {"/until"}
    assert pointers("sensor", {}) == {"/sensor"}
    assert place.console.client("operator")("POST", "/api/v1/sensors/dry-run", {"sensor": BUSY}).status == 403


def test_what_is_too_much_is_cut_and_says_so(editor: Client, place: Place) -> None:
    everything = tried(editor, "sensor", BUSY)["readings"]
    runs = place.console.console.dry_runs
    before, runs.policy = runs.policy, DryRunPolicy(5, 10.0)
    try:
        found = tried(editor, "sensor", BUSY)
    finally:
        runs.policy = before
    # They all arrived within moments: how many of them are newer than a time is not exactly five.
    assert found["readings"] < everything
    assert ["there are more than 5 messages" in one for one in found["cut"]] == [True]


@pytest.mark.parametrize(
    ("worker", "why"), [(sleeps, "took longer than 0.1 s and was ended"), (dies, "needed more memory than it may")]
)
def test_a_run_that_gets_stuck_is_ended_and_the_console_answers_meanwhile(
    place: Place, editor: Client, worker: Any, why: str
) -> None:
    services = place.console.console
    stuck = DryRuns(place.console.settings, DryRunPolicy(1000, 0.1), worker)
    usual = services.dry_runs
    object.__setattr__(services, "dry_runs", stuck)
    answers: list[Any] = []
    asking = threading.Thread(
        target=lambda: answers.append(editor("POST", "/api/v1/sensors/dry-run", {"sensor": BUSY}))
    )
    try:
        asking.start()
        eventually(lambda: stuck._waiting == 1 or answers)
        began = time.monotonic()
        assert editor.get("/api/v1/sensors").status == 200
        assert time.monotonic() - began < 2
        asking.join(60)
    finally:
        object.__setattr__(services, "dry_runs", usual)
        stuck.close()
    assert (answers[0].status, why in answers[0].json()["detail"]) == (503, True)
