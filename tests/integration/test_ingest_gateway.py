"""The gateway as a process, before a real broker: 202 means kept."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support import eventually, read_all, settings_for, with_topics
from tocsin.console.state import Delete, Put
from tocsin.console.store import Store
from tocsin.deploy.fleet import TOCSIN, Fleet, Member
from tocsin.deploy.processes import Supervisor
from tocsin.deploy.stack import Stack
from tocsin.deploy.stack.ports import free_port
from tocsin.shared.clock import SystemClock
from tocsin.shared.configuration.records import Token
from tocsin.shared.headers import header
from tocsin.shared.partitioning import partition_for
from tocsin.shared.settings import CommonSettings
from tocsin.shared.tokens import token_hash
from tocsin.shared.topics import SENSOR_READINGS, SENSOR_READINGS_REJECTED

pytestmark = pytest.mark.kafka

KEY = "a-key-for-tests"
JSON = "application/json"
LINES = "application/x-ndjson"


class Door:
    """A gateway process and a client of it."""

    def __init__(self, settings: CommonSettings, member: Member, port: int) -> None:
        self.settings = settings
        self.member = member
        self.port = port

    def post(self, body: bytes, key: str | None = KEY, **headers: str) -> tuple[int, dict[str, Any], dict[str, str]]:
        """(status, body, headers in lower case)."""
        given = {"Content-Type": JSON, **({"X-API-Key": key} if key else {})}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", "/v1/readings", body, given)
            answer = connection.getresponse()
            found = json.loads(answer.read())
            return answer.status, found, {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()

    def page(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def records(self, topic: str = SENSOR_READINGS) -> list[tuple[bytes | None, bytes | None]]:
        return [(message.key(), message.value()) for message in read_all(self.settings, topic)]


@contextmanager
def gateway(stack: Stack, folder: Path, **environment: str) -> Iterator[Door]:
    """On topics of its own."""
    settings = with_topics(settings_for(stack.bootstrap_servers, folder))
    port = free_port()
    variables = {
        "KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "TOCSIN_STATE_DIR": str(folder),
        "TOCSIN_TOPIC_PREFIX": settings.topic_prefix,
        "TOCSIN_GATEWAY_PORT": str(port),
        "TOCSIN_GATEWAY_API_KEYS": f"another,{KEY}",
        "TOCSIN_LOG_FORMAT": "json",
        **environment,
    }
    with Supervisor() as supervisor:
        fleet = Fleet(supervisor, folder, {**os.environ, **variables})
        member = fleet.start("gateway")
        fleet.wait_ready(30)
        yield Door(settings, member, port)


@pytest.fixture(scope="module")
def door(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with gateway(stack, tmp_path_factory.mktemp("gateway")) as found:
        yield found


def reading(system: str, value: object = 1.0, **more: object) -> dict[str, object]:
    return {"system": system, "metric": "m", "value": value, "time": "2026-11-23T10:00:00Z", **more}


def canonical(system: str, value: float = 1.0) -> bytes:
    return f'{{"system":"{system}","metric":"m","value":{value},"time":"2026-11-23T10:00:00.000Z"}}'.encode()


def test_202_means_that_the_reading_is_on_the_topic_keyed_by_its_system(door: Door) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    status, body, _ = door.post(json.dumps(reading("PÇ-1", True, extra=[1])).encode(), traceparent=trace)
    assert (status, body) == (202, {"accepted": 1})
    (message,) = [one for one in read_all(door.settings, SENSOR_READINGS) if one.key() == "PÇ-1".encode()]
    assert message.value() == canonical("PÇ-1")
    assert message.partition() == partition_for("PÇ-1".encode(), 4)
    headers = message.headers()
    assert header(headers, "traceparent") == trace.encode()
    assert header(headers, "ce_type") == b"dev.tocsin.reading.received"
    assert header(headers, "ce_time") == b"2026-11-23T10:00:00.000Z"
    assert header(headers, "content-type") == b"application/json"


def test_reports_arrays_lines_and_gzip_are_taken(door: Door) -> None:
    report = {"system": "R", "time": 1, "readings": [{"metric": "a", "value": 1}, {"metric": "b", "value": 2}]}
    assert door.post(json.dumps(report).encode())[:2] == (202, {"accepted": 2})
    array = json.dumps([reading("A1"), report, reading("A2")]).encode()
    assert door.post(array)[:2] == (202, {"accepted": 4})
    lines = b"\n".join(json.dumps(reading(name)).encode() for name in ("L1", "L2"))
    assert door.post(lines, Content_Type=LINES)[:2] == (202, {"accepted": 2})
    assert door.post(lines)[:2] == (202, {"accepted": 2})
    assert door.post(gzip.compress(array), Content_Encoding="gzip")[:2] == (202, {"accepted": 4})
    assert door.post(b"[]")[:2] == (202, {"accepted": 0})
    keys = [key for key, _ in door.records()]
    assert [keys.count(name) for name in (b"R", b"A1", b"A2", b"L1", b"L2")] == [3, 2, 2, 2, 2]


def test_400_names_what_was_wrong_and_the_good_ones_are_kept(door: Door) -> None:
    report = b'{"system":"M3","time":1,"readings":[{"metric":"a","value":1},{"metric":"b","value":NaN}]}'
    body = b'[%s, {"system": "M2"}, %s, 7]' % (json.dumps(reading("M1")).encode(), report)
    status, answer, _ = door.post(body)
    assert status == 400
    assert answer["accepted"] == 2
    assert [(one["index"], one.get("reading"), one["field"], one["reason"]) for one in answer["rejected"]] == [
        (1, None, "metric", "missing"),
        (2, 1, "value", "not-finite"),
        (3, None, None, "not-an-object"),
    ]
    assert all(one["detail"] for one in answer["rejected"])
    kept = dict(door.records())
    assert kept[b"M1"] == canonical("M1")
    assert kept[b"M3"] == b'{"system":"M3","time":"1970-01-01T00:00:00.001Z","readings":[{"metric":"a","value":1.0}]}'


def test_the_answer_lists_the_first_thousand_and_counts_all(door: Door) -> None:
    status, answer, _ = door.post(b"[%s]" % b",".join([b"1"] * 1500))
    assert (status, answer["accepted"], answer["rejected_count"]) == (400, 0, 1500)
    assert [one["index"] for one in answer["rejected"]] == list(range(1000))


def test_what_is_refused_goes_untouched_to_the_topic_of_the_rejected(door: Door) -> None:
    poison = b'{"system": "\xff", "metric" : NaN}'
    assert door.post(b"[1, %s]" % poison)[0] == 400
    assert door.post(b"[[[[")[1]["rejected"][0]["reason"] == "not-json"
    found = {message.value(): message for message in read_all(door.settings, SENSOR_READINGS_REJECTED)}
    assert {b"1", poison, b"[[[["} <= found.keys()
    headers = found[poison].headers()
    assert header(headers, "reason") == b"bad-unicode"
    assert header(headers, "field") == b"system"
    assert header(headers, "source") == b"gateway"


def test_poison_of_every_kind_is_answered_and_the_next_reading_is_taken(door: Door) -> None:
    for number, poison in enumerate(
        (
            b"",
            b"\xff\xfe\x00",
            b"null",
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b'{"system": "' + b"x" * (2 << 20) + b'"}',
            b"[" + b'{"system": "' + b"x" * (5 << 20) + b'"}]',
            b'{"system": "\\ud800", "metric": "m", "value": 1, "time": 1}',
        )
    ):
        status, answer, _ = door.post(poison)
        assert (status, answer["accepted"]) == (400, 0), number
    assert door.post(json.dumps(reading("after")).encode())[0] == 202


@pytest.mark.parametrize("key", [None, "", "a-key-for-test", "another,a-key-for-tests", "wrong"])
def test_401_without_a_right_key(door: Door, key: str | None) -> None:
    status, answer, headers = door.post(json.dumps(reading("intruder")).encode(), key=key)
    assert (status, answer["error"]) == (401, "unauthorized")
    assert headers["www-authenticate"] == "Bearer"
    assert b"intruder" not in dict(door.records())


def test_a_key_may_come_as_bearer(door: Door) -> None:
    body = json.dumps(reading("bearer")).encode()
    assert door.post(body, key=None, Authorization=f"Bearer {KEY}")[0] == 202


def test_413_for_what_is_too_large_also_once_inflated(door: Door) -> None:
    assert door.post(b" " * (8 << 20) + b"1")[0] == 413
    bomb = gzip.compress(bytes(1 << 30), 9)
    assert len(bomb) < 2 << 20
    started = time.monotonic()
    assert door.post(bomb, Content_Encoding="gzip")[0] == 413
    assert time.monotonic() - started < 5


def test_bad_gzip_other_media_and_other_methods_are_refused(door: Door) -> None:
    assert door.post(b"no gzip", Content_Encoding="gzip")[:1] == (400,)
    assert door.post(b"{}", Content_Type="text/csv")[0] == 415
    assert door.post(b"{}", Content_Encoding="br")[0] == 415


def test_health_and_metrics_are_served_beside_the_readings(door: Door) -> None:
    assert json.loads(door.page("/-/healthy")) == {"status": "ok"}
    assert json.loads(door.page("/-/ready")) == {"status": "ok"}
    assert door.post(json.dumps(reading("counted")).encode())[0] == 202
    assert 'tocsin_ingest_readings_accepted_total{source="gateway"}' in door.page("/metrics")


def test_429_when_too_much_is_under_way_and_what_was_let_in_is_kept(stack: Stack, tmp_path: Path) -> None:
    with gateway(stack, tmp_path, TOCSIN_GATEWAY_MAX_IN_FLIGHT_REQUESTS="1") as door:
        # A request whose body does not come holds the one place there is.
        with socket.create_connection(("127.0.0.1", door.port)) as slow:
            body = json.dumps(reading("slow")).encode()
            head = f"POST /v1/readings HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Type: {JSON}\r\n"
            slow.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
            slow.settimeout(20)
            status, _, headers = eventually(lambda: _if_status(door.post(b"[]"), 429), within=10)
            assert (status, headers["retry-after"]) == (429, "1")
            slow.sendall(body)
            assert slow.recv(1000).startswith(b"HTTP/1.1 202")
        assert door.post(b"[]")[0] == 202
        assert dict(door.records()) == {b"slow": canonical("slow")}


def _if_status(answer: tuple[int, Any, Any], status: int) -> tuple[int, Any, Any] | None:
    return answer if answer[0] == status else None


def test_without_keys_it_starts_only_when_told_to_be_open(stack: Stack, tmp_path: Path) -> None:
    settings = with_topics(settings_for(stack.bootstrap_servers, tmp_path))
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "TOCSIN_STATE_DIR": str(tmp_path),
        "TOCSIN_GATEWAY_PORT": "0",
    }
    command = [*TOCSIN, "run", "gateway"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "TOCSIN_GATEWAY_API_KEYS" in done.stderr
    missing = {**environment, "TOCSIN_GATEWAY_OPEN": "true", "TOCSIN_TOPIC_PREFIX": settings.topic_prefix + "missing."}
    done = subprocess.run(command, env=missing, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "tocsin topics apply" in done.stderr
    assert "Traceback" not in done.stderr
    with gateway(stack, tmp_path, TOCSIN_GATEWAY_API_KEYS="", TOCSIN_GATEWAY_OPEN="true") as door:
        assert door.post(json.dumps(reading("anyone")).encode(), key=None)[0] == 202


@pytest.mark.slow
def test_503_while_the_broker_is_away_memory_stays_bounded_and_it_recovers_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)  # this one is stopped and started
    limits = {
        "TOCSIN_GATEWAY_DELIVERY_TIMEOUT": "2s",
        "TOCSIN_GATEWAY_MAX_IN_FLIGHT_BYTES": str(16 << 20),
    }
    own = Stack(tmp_path / "stack", with_redis=False, with_smtp=False)
    with own, gateway(own, tmp_path / "run", **limits) as door:
        one = json.dumps(reading("one")).encode()
        flood = json.dumps([reading("flood")] * 4000).encode()
        assert [door.post(body)[0] for body in (one, flood)] == [202, 202]

        own.suspend_kafka()
        status, answer, headers = door.post(one)
        assert (status, answer["error"], headers["retry-after"]) == (503, "not-acknowledged", "1")
        started = time.monotonic()
        statuses = _all_at_once(door, flood, 20)
        assert set(statuses) == {503}
        assert time.monotonic() - started < 20
        assert door.post(one, key="wrong")[0] == 401
        own.resume_kafka()
        eventually(lambda: door.post(flood)[0] == 202, within=60)

        own.kill_kafka()
        assert door.post(one)[0] == 503
        assert door.member.readiness() is not None
        own.restart_kafka()
        eventually(lambda: door.member.readiness() is None, within=60)
        assert door.post(json.dumps(reading("after")).encode())[0] == 202
        assert door.member.child.running
        assert dict(door.records())[b"after"] == canonical("after")


def _all_at_once(door: Door, body: bytes, clients: int) -> list[int]:
    """The statuses of so many requests under way together."""
    with ThreadPoolExecutor(clients) as pool:
        return [answer[0] for answer in pool.map(lambda _: door.post(body), range(clients))]


@pytest.mark.slow
def test_sigterm_answers_what_is_under_way_and_exits_0(stack: Stack, tmp_path: Path) -> None:
    with gateway(stack, tmp_path) as door, socket.create_connection(("127.0.0.1", door.port)) as client:
        body = json.dumps(reading("last")).encode()
        head = f"POST /v1/readings HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Type: {JSON}\r\n"
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
        in_flight = "tocsin_gateway"
        eventually(lambda: in_flight in door.page("/metrics"), within=10)
        os.kill(door.member.child.pid, signal.SIGTERM)
        eventually(lambda: door.member.readiness() is not None, within=10)
        client.settimeout(20)
        client.sendall(body)
        assert client.recv(1000).startswith(b"HTTP/1.1 202")
        eventually(lambda: not door.member.child.running, within=20)
        assert door.member.child.exit_code == 0
        assert dict(door.records()) == {b"last": canonical("last")}


def test_api_tokens_of_scope_ingest_are_keys_until_they_are_revoked(stack: Stack, tmp_path: Path) -> None:
    with gateway(stack, tmp_path, TOCSIN_GATEWAY_TOKENS="true", TOCSIN_GATEWAY_API_KEYS="") as door:
        store, now = Store(door.settings, "test"), SystemClock().now_ms()

        def token(name: str, scope: Any = "ingest", expires_at: int | None = None) -> Token:
            hashed = token_hash(f"tocsin_{name}")
            return Token(id=name, name=name, scope=scope, token_hash=hashed, hint="", expires_at=expires_at)

        def status(name: str) -> int:
            return door.post(json.dumps(reading("T")).encode(), key=f"tocsin_{name}")[0]

        assert status("agent") == 401
        given = [token("agent"), token("viewer", "viewer"), token("old", expires_at=now - 1)]
        store.write(lambda state: [Put(one, 0) for one in given])
        eventually(lambda: status("agent") == 202)
        assert (status("viewer"), status("old"), status("unknown")) == (401, 401, 401)
        assert door.post(b"{}", key=None)[0] == 401
        store.write(lambda state: [Delete("agent", None)])
        eventually(lambda: status("agent") == 401)
