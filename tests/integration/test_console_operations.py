"""What the console reads of the topics: deliveries, activations, dead letters; live, and again after a restart."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress

import pytest
from confluent_kafka import TopicPartition

from consoling import NOW, TOKENS, RunningConsole, console_settings, with_accounts
from delivering import SECRET, audits, delivery_for, event_of, notification_for, put_deliveries
from receiver import Receiver
from support import eventually
from tocsin.console.lag import groups, read_lags
from tocsin.console.state import Put
from tocsin.console.store import Store
from tocsin.deploy.stack import Stack
from tocsin.dispatcher.core import audit
from tocsin.dispatcher.core.audit import Origin
from tocsin.dispatcher.reading import ends_of
from tocsin.dispatcher.settings import DispatcherSettings, RouterSettings
from tocsin.evaluator.detector.settings import DetectorSettings
from tocsin.shared import kafka
from tocsin.shared.configuration.records import Dismissal, Recipient, Sensor
from tocsin.shared.headers import Headers
from tocsin.shared.schemas.activation import Activation
from tocsin.shared.schemas.base import Ref
from tocsin.shared.schemas.delivery import DeadLetter, Delivery
from tocsin.shared.schemas.system import UNTIL_HEADER, MatchedSystem, system_key
from tocsin.shared.settings import CommonSettings
from tocsin.shared.topics import (
    ACTIVATIONS,
    ACTIVATOR_CHANGELOG,
    DELIVERY_AUDIT,
    DELIVERY_DEAD_LETTER,
    NOTIFICATION_EVENTS,
    NOTIFICATION_SYSTEMS,
    SENSOR_READINGS,
)

pytestmark = pytest.mark.kafka

ONE = Recipient(id=str(uuid.uuid4()), name="One", type="distribution-list", email="one@example.com")
TWO = Recipient(id=str(uuid.uuid4()), name="Two", type="distribution-list", email="two@example.com")
SENSOR = Sensor(id="s1", name="CPU busy", metric="cpu", trigger="> 90")  # type: ignore[arg-type]
NOTIFICATION = notification_for(ONE, TWO)
OTHER = notification_for(ONE, TWO, name="Others")


def end(running: RunningConsole, delivery: Delivery, kind: str, reason: str | None = None) -> None:
    """The terminal record, and the dead letter where it is one."""
    settings, producer = running.settings, kafka.producer(running.settings.kafka)
    line = audit.ended(delivery, kind, delivery.routed_at + 1_000, Origin(None, "test"), reason=reason)  # type: ignore[arg-type]
    producer.produce(settings.topic(DELIVERY_AUDIT), key=delivery.id.encode(), value=line.encode())
    if kind == "dead-lettered":
        letter = DeadLetter(delivery=delivery, reason=reason or "", status=503, time=delivery.routed_at + 1_000)
        producer.produce(
            settings.topic(DELIVERY_DEAD_LETTER), key=delivery.recipient.id.encode(), value=letter.encode()
        )
    assert producer.flush(10) == 0


def send(running: RunningConsole, topic: str, *records: tuple[str, bytes | None]) -> None:
    producer = kafka.producer(running.settings.kafka)
    for key, value in records:
        producer.produce(running.settings.topic(topic), key=key.encode(), value=value)
    assert producer.flush(10) == 0


@pytest.fixture(scope="module")
def running(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    settings = console_settings(stack, tmp_path_factory.mktemp("console"))
    with_accounts(settings)
    Store(settings, "test").write(lambda state: [Put(one) for one in (ONE, TWO, SENSOR, NOTIFICATION, OTHER)])
    with RunningConsole(settings) as console:
        yield console


def test_deliveries_are_listed_by_recipient_and_state_and_paged(running: RunningConsole) -> None:
    viewer = running.client("viewer")
    deliveries = [delivery_for(recipient, event=event_of(NOTIFICATION.id)) for recipient in (ONE, ONE, ONE, TWO)]
    put_deliveries(running.settings, deliveries)
    end(running, deliveries[0], "delivered")
    path = f"/api/v1/deliveries?recipient={ONE.id}"
    eventually(lambda: len(viewer.get(path + "&state=waiting").json()["items"]) == 2)
    assert [one["id"] for one in viewer.get(path + "&state=delivered").json()["items"]] == [deliveries[0].id]
    first = viewer.get(path + "&limit=2").json()
    second = viewer.get(f"{path}&limit=2&cursor={first['next']}").json()
    found = {one["id"] for one in (*first["items"], *second["items"])}
    assert (found, second["next"]) == ({one.id for one in deliveries[:3]}, None)
    shown = viewer.get(f"/api/v1/deliveries/{deliveries[0].id}").json()
    assert [step["kind"] for step in shown["steps"]] == ["routed", "delivered"]
    assert viewer.get("/api/v1/deliveries/unknown").status == 404


def test_an_activation_is_shown_with_its_systems_and_events(running: RunningConsole) -> None:
    viewer, settings = running.client("viewer"), running.settings
    event = event_of(NOTIFICATION.id, activation_id=str(uuid.uuid4()))
    activation = Activation(
        id=event.activation_id, notification=Ref(id=NOTIFICATION.id, name="Finance is slow"), state="active",
        activated_at=event.time, matched=3, reporting=8, systems_total=3,
        systems_at_activation=("FIN-3", "FIN-1", "FIN-2"),
    )  # fmt: skip
    producer = kafka.producer(settings.kafka)
    producer.produce(settings.topic(ACTIVATIONS), key=activation.id.encode(), value=activation.encode())
    producer.produce(settings.topic(NOTIFICATION_EVENTS), key=NOTIFICATION.id.encode(), value=event.encode())
    assert producer.flush(10) == 0
    path = f"/api/v1/activations/{activation.id}"
    shown = eventually(lambda: (answer := viewer.get(path)).status == 200 and answer.json()["events"] and answer.json())
    assert (shown["state"], shown["matched"], [one["kind"] for one in shown["events"]]) == ("active", 3, ["activated"])
    page = viewer.get(f"{path}/systems?at=activation&limit=2").json()
    assert (page["items"], page["total"]) == (["FIN-1", "FIN-2"], 3)
    rest = viewer.get(f"{path}/systems?at=activation&limit=2&cursor={page['next']}").json()
    assert (rest["items"], rest["next"]) == (["FIN-3"], None)


def test_systems_at_the_activation_beyond_those_that_its_record_names(running: RunningConsole) -> None:
    viewer, settings = running.client("viewer"), running.settings
    event = event_of(NOTIFICATION.id, activation_id=str(uuid.uuid4()))
    systems = [f"LAB-{number:03}" for number in range(130)]
    activation = Activation(
        id=event.activation_id, notification=Ref(id=NOTIFICATION.id, name="Finance is slow"), state="resolved",
        activated_at=event.time, matched=130, reporting=130, systems_total=130, systems_truncated=True,
        systems_at_activation=tuple(systems[:100]),
    )  # fmt: skip
    producer, topic = kafka.producer(settings.kafka), settings.topic(NOTIFICATION_SYSTEMS)
    for system in (*systems, "LAB-before"):
        row = MatchedSystem(notification_id=NOTIFICATION.id, system=system, partition=0, since=event.time - 9_000)
        producer.produce(topic, key=system_key(NOTIFICATION.id, system), value=row.encode())
    for system, until in ((systems[-1], event.time + 1), ("LAB-before", event.time - 1)):
        gone: Headers = [(UNTIL_HEADER, str(until).encode())]
        producer.produce(topic, key=system_key(NOTIFICATION.id, system), value=None, headers=gone)
    producer.produce(settings.topic(ACTIVATIONS), key=activation.id.encode(), value=activation.encode())
    assert producer.flush(10) == 0
    path = f"/api/v1/activations/{activation.id}/systems?at=activation&limit=200"
    eventually(lambda: (found := viewer.get(path)).status == 200 and found.json()["items"] == systems)
    assert viewer.get(path).json()["total"] == 130


def test_an_activation_is_dismissed_once_and_while_it_is_open(running: RunningConsole) -> None:
    operator, settings = running.client("operator"), running.settings
    made = [
        Activation(
            id=str(uuid.uuid4()), notification=Ref(id=NOTIFICATION.id, name="Finance is slow"), state=state,
            activated_at=1_764_064_800_000, matched=1, reporting=8, systems_total=1, systems_at_activation=("FIN-1",),
        )
        for state in ("active", "resolved")
    ]  # fmt: skip
    send(running, ACTIVATIONS, *((one.id, one.encode()) for one in made))
    active, over = (f"/api/v1/activations/{one.id}" for one in made)
    eventually(lambda: operator.get(over).status == 200)
    assert operator("POST", f"{over}/dismiss").status == 409
    assert operator("POST", f"{active}/dismiss", {"comment": "x", "by": "me"}).status == 422
    assert running.client("viewer")("POST", f"{active}/dismiss").status == 403
    dismissed = operator("POST", f"{active}/dismiss", {"comment": "known"})
    assert dismissed.json() == {"id": made[0].id, "dismissed": True}
    assert operator("POST", f"{active}/dismiss").json() == {"id": made[0].id, "dismissed": False}
    found = Store(settings, "test").read().find(Dismissal.kind, made[0].id)
    assert isinstance(found, Dismissal)
    assert (found.dismissed_by, found.comment) == ("token:operator-token", "known")
    assert operator("POST", "/api/v1/activations/unknown/dismiss").status == 404


def test_systems_are_those_that_the_detectors_say_match(running: RunningConsole) -> None:
    viewer = running.client("viewer")
    names = ("M-1", "M-2", "M/3")
    readings = [(name, f'{{"system":"{name}","metric":"cpu","value":1,"time":{NOW}}}'.encode()) for name in names]
    send(running, SENSOR_READINGS, *readings)
    rows = [MatchedSystem(notification_id=OTHER.id, system=name, partition=0, since=NOW) for name in names]
    keys = [system_key(OTHER.id, name).decode() for name in names]
    activation = Activation(
        id=str(uuid.uuid4()), notification=Ref(id=OTHER.id, name="Others"), state="active",
        activated_at=NOW, matched=3, reporting=8, systems_total=0, systems_at_activation=(),
    )  # fmt: skip
    send(running, ACTIVATIONS, (activation.id, activation.encode()))
    send(running, NOTIFICATION_SYSTEMS, *((key, one.encode()) for key, one in zip(keys, rows, strict=True)))
    path = f"/api/v1/activations/{activation.id}/systems"
    eventually(lambda: viewer.get(path).status == 200 and viewer.get(path).json()["items"] == list(names))

    def triggered() -> dict[str, int]:
        return {one["name"]: one["triggered"] for one in viewer.get("/api/v1/systems?search=m").json()["items"]}

    # No sensor-change is kept of these: what matches a notification has its sensors triggered.
    eventually(lambda: triggered() == dict.fromkeys(names, 1))
    assert "Others" in viewer.get("/system?name=M/3").text
    send(running, NOTIFICATION_SYSTEMS, (keys[0], rows[0].encode()), *((key, None) for key in keys[:2]))
    eventually(lambda: viewer.get(path).json()["items"] == ["M/3"])
    assert triggered() == {"M-1": 0, "M-2": 0, "M/3": 1}


def test_lag_is_what_lies_beyond_the_committed_offsets(running: RunningConsole) -> None:
    settings = running.settings
    before = {one.topic: one.behind for one in read_lags(settings, kafka.admin(settings.kafka))}
    send(running, NOTIFICATION_EVENTS, *((NOTIFICATION.id, b"{}") for _ in range(3)))
    now = {one.topic: one for one in read_lags(settings, kafka.admin(settings.kafka))}
    assert now[NOTIFICATION_EVENTS].behind == before[NOTIFICATION_EVENTS] + 3
    places = [(settings.topic(NOTIFICATION_EVENTS), number) for number in range(settings.partitions_default)]
    reader = kafka.consumer(settings.kafka, now[NOTIFICATION_EVENTS].group)
    offsets = [TopicPartition(*place, end) for place, (_, end) in ends_of(settings, places).items()]
    reader.commit(offsets=offsets, asynchronous=False)
    reader.close()
    after = {one.topic: (one.behind, one.members) for one in read_lags(settings, kafka.admin(settings.kafka))}
    assert after[NOTIFICATION_EVENTS] == (0, 0)
    viewer = running.client("viewer")
    shown = eventually(lambda: (found := viewer.get("/api/v1/lag").json())["read_at"] and found)
    assert [one["service"] for one in shown["items"]][:4] == ["detector", "activator", "router", "dispatcher"]
    assert "How far the services are behind" in viewer.get("/").text


def test_the_groups_are_those_of_the_services(running: RunningConsole) -> None:
    given = {"kafka": running.settings.kafka, "topic_prefix": "p."}
    names = {service: group for service, (group, _) in groups(CommonSettings.load(**given)).items()}
    assert names == {
        "detector": DetectorSettings.load(**given).group,
        "activator": f"p.{ACTIVATOR_CHANGELOG}".removesuffix("-activator-notifications-changelog"),
        "router": RouterSettings.load(**given).router_group,
        "dispatcher": DispatcherSettings.load(**given).dispatcher_group,
    }


def test_a_dead_letter_is_replayed_once(running: RunningConsole) -> None:
    operator = running.client("operator")
    delivery = delivery_for(TWO, event=event_of(NOTIFICATION.id))
    put_deliveries(running.settings, [delivery])
    end(running, delivery, "dead-lettered", "attempts_exhausted")

    def letters() -> list[str]:
        items = operator.get(f"/api/v1/dead-letters?recipient={TWO.id}").json()["items"]
        return [one["delivery_id"] for one in items]

    eventually(lambda: letters() == [delivery.id])
    body = {"deliveries": [delivery.id]}
    assert operator("POST", "/api/v1/dead-letters/replay", body).json() == {"deliveries": [delivery.id]}
    assert operator("POST", "/api/v1/dead-letters/replay", body).json() == {"deliveries": []}
    eventually(lambda: letters() == [])
    routed = [one.replay for one in audits(running.settings, "routed") if one.delivery_id == delivery.id]
    assert routed == [0, 1]
    assert running.client("viewer")("POST", "/api/v1/dead-letters/replay", body).status == 403


def test_a_restart_shows_the_same(running: RunningConsole) -> None:
    def everything(console: RunningConsole) -> list[str]:
        eventually(console.console.feed.caught_up.is_set)
        paths = ("/api/v1/deliveries?limit=500", "/api/v1/activations", "/api/v1/dead-letters", "/api/v1/audit")
        return [console.client("operator").get(path).text for path in paths]

    before = everything(running)
    with RunningConsole(running.settings) as again:
        assert everything(again) == before


def test_changes_are_told_live_and_a_stream_resumes(running: RunningConsole) -> None:
    lines: list[str] = []
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
    headers = {"Authorization": f"Bearer {TOKENS['viewer']}", "Accept": "text/event-stream"}
    connection.request("GET", "/live", headers=headers)
    response = connection.getresponse()
    assert response.headers["Content-Type"] == "text/event-stream"

    def read() -> None:
        with suppress(OSError, ValueError, AttributeError, http.client.HTTPException):  # closed below, in the middle
            while line := response.readline():
                lines.append(line.decode().strip())

    threading.Thread(target=read, daemon=True).start()
    delivery = delivery_for(ONE, event=event_of(NOTIFICATION.id))
    put_deliveries(running.settings, [delivery])
    eventually(lambda: any(f"recipient:{ONE.id}" in line for line in lines))
    seen = next(line for line in lines if line.startswith("id: ")).removeprefix("id: ")
    end(running, delivery, "delivered")
    eventually(lambda: sum(f"delivery:{delivery.id}" in line for line in lines) == 2)
    assert connection.sock is not None
    connection.sock.shutdown(socket.SHUT_RDWR)  # closing alone would wait for the line that is being read
    connection.close()
    # Whoever comes back with the id is told what was missed; with an unknown one, to load everything.
    for last_id, expected in ((seen, "changed"), ("other-1", "reload")):
        again = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
        again.request("GET", "/live", headers={**headers, "Last-Event-ID": last_id})
        answer = again.getresponse()
        found = next(line for line in map(bytes.strip, iter(answer.readline, b"")) if line.startswith(b"event: "))
        assert found.decode() == f"event: {expected}"
        again.close()


def test_a_recipient_is_tried_before_it_is_saved(running: RunningConsole) -> None:
    editor = running.client("editor")
    with Receiver(SECRET) as receiver:
        document = {
            "name": "Unsaved",
            "type": "system",
            "webhook": {
                "url": receiver.url,
                "method": "PUT",
                "authentication": {"type": "signed-secret", "secret": SECRET},
                "headers": [{"name": "X-Key", "value": "canary", "sensitive": True}],
            },
        }
        preview = editor("POST", "/api/v1/recipient-preview", {"recipient": document})
        assert (preview.json()["method"], preview.json()["problem"]) == ("PUT", None)
        assert "canary" not in preview.text
        assert SECRET not in preview.text
        tested = editor("POST", "/api/v1/recipient-test", {"recipient": document}).json()
        assert (tested["ok"], tested["status"]) == (True, 204)
        receiver.status = 404
        failed = editor("POST", "/api/v1/recipient-test", {"recipient": document}).json()
        assert (failed["ok"], failed["reason"]) == (False, "http_404")
        assert "check the URL" in failed["hint"]
        assert [one.verified for one in receiver.requests] == [True, True]
        assert json.loads(receiver.requests[0].body)
    bad = editor("POST", "/api/v1/recipient-test", {"recipient": {**document, "name": ""}})
    assert bad.json()["errors"][0]["pointer"] == "/recipient/name"
    assert editor.get("/api/v1/recipients?name=Unsaved").json()["items"] == []


def test_an_operator_pauses_and_enables_and_an_editor_assigns(running: RunningConsole) -> None:
    operator, editor = running.client("operator"), running.client("editor")
    path = f"/api/v1/recipients/{ONE.id}"
    assert operator("POST", f"{path}/pause").json()["paused"] is True
    assert "paused" not in operator("POST", f"{path}/resume").json()
    refused = editor("PUT", f"/api/v1/recipients/{ONE.id}/notifications", {"notifications": []})
    assert refused.json() == {"notifications": [], "left_without_recipient": []}  # Two is still told
    alone = editor("PUT", f"/api/v1/recipients/{TWO.id}/notifications", {"notifications": []})
    assert alone.status == 409
    assert "Finance is slow" in alone.json()["detail"]
    back = editor("PUT", f"/api/v1/recipients/{ONE.id}/notifications", {"notifications": [NOTIFICATION.id]})
    assert back.status == 200
