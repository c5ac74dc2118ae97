"""What every process does alike: partition its keys, stop in order, say how it is."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request

import pytest
from confluent_kafka import Producer

from tocsin.shared.errors import SettingsError
from tocsin.shared.lifecycle import Lifecycle
from tocsin.shared.partitioning import PARTITIONER, murmur2, partition_for
from tocsin.shared.telemetry import metrics
from tocsin.shared.telemetry.health import Health, HealthServer


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        # Kafka's own UtilsTest.testMurmur2
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ],
)
def test_murmur2_is_kafkas_own(key: str, expected: int) -> None:
    assert murmur2(key.encode()) == expected & 0xFFFFFFFF


def test_the_client_puts_keys_where_this_says() -> None:
    producer = Producer({"test.mock.num.brokers": 1, "test.mock.broker.rtt": 0, "partitioner": PARTITIONER})
    placed: dict[bytes, int] = {}

    def delivered(error: object, message: object) -> None:
        placed[message.key()] = message.partition()  # type: ignore[attr-defined]

    keys = [f"PC-{number}".encode() for number in range(50)] + ["Büro-7".encode(), b"\x00\xff", b"x" * 256]
    for key in keys:
        producer.produce("t", key=key, value=b"v", on_delivery=delivered)
    assert producer.flush(10) == 0
    partitions = len(producer.list_topics("t").topics["t"].partitions)
    assert partitions > 1
    assert placed == {key: partition_for(key, partitions) for key in keys}


def test_teardown_runs_last_in_first_out_and_one_that_fails_keeps_nothing_from_running() -> None:
    done: list[str] = []

    def fail() -> None:
        done.append("second")
        raise RuntimeError("broken")

    with Lifecycle() as lifecycle:
        lifecycle.add("first", lambda: done.append("first"))
        lifecycle.add("second", fail)
        lifecycle.add("third", lambda: done.append("third"))
    assert done == ["third", "second", "first"]
    lifecycle.close()
    assert len(done) == 3, "closing twice does nothing"


def test_the_wish_to_stop_is_told_once() -> None:
    told: list[str] = []
    lifecycle = Lifecycle()
    lifecycle.on_stop(lambda: told.append("stop"))
    lifecycle.stop()
    lifecycle.stop()
    assert told == ["stop"]
    assert lifecycle.stopping.is_set()


def get(port: int, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_health_says_what_is_in_the_way() -> None:
    health = Health("configuration", "broker")
    server = HealthServer(health, "127.0.0.1", 0)
    try:
        assert get(server.port, "/-/healthy")[0] == 200
        status, body = get(server.port, "/-/ready")
        assert (status, json.loads(body)["because"]) == (503, {"configuration": "starting", "broker": "starting"})
        health.ready("configuration")
        health.ready("broker")
        assert get(server.port, "/-/ready?x=y") == (200, b'{"status": "ok"}')
        health.failed("commits", "not moving")
        assert get(server.port, "/-/healthy")[0] == 503
        assert get(server.port, "/-/ready")[0] == 503
        health.recovered("commits")
        assert get(server.port, "/-/healthy")[0] == 200
        metrics.CONFIGURATION_CHANGE.set(7)
        assert b"tocsin_configuration_change 7.0" in get(server.port, "/metrics")[1]
        assert get(server.port, "/table")[0] == 404
    finally:
        server.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "health" and thread.is_alive()]


def test_a_taken_port_is_told_with_the_settings_that_choose_another() -> None:
    first = HealthServer(Health(), "127.0.0.1", 0)
    with pytest.raises(SettingsError, match=rf"cannot listen on 127\.0\.0\.1:{first.port}.*TOCSIN_HTTP_PORT"):
        HealthServer(Health(), "127.0.0.1", first.port)
    first.close()
