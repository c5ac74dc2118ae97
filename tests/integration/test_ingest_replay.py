"""`tocsin replay` and `tocsin agent` before a real broker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message

from recordings import recordings
from support import eventually, read_all, settings_for, with_topics
from tocsin.deploy.fleet import TOCSIN, Fleet
from tocsin.deploy.processes import Supervisor
from tocsin.deploy.stack import Stack
from tocsin.deploy.stack.ports import free_port
from tocsin.shared.clock import SystemClock
from tocsin.shared.headers import header
from tocsin.shared.partitioning import partition_for
from tocsin.shared.readings import GoodReading, check
from tocsin.shared.settings import CommonSettings
from tocsin.shared.topics import SENSOR_READINGS

pytestmark = pytest.mark.kafka

HEADER = "time,system,metric,value,instance\n"
NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z


class Place:
    """Topics of one's own and commands that use them."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.settings: CommonSettings = with_topics(settings_for(stack.bootstrap_servers, folder))
        self.folder = folder
        self.environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
            "TOCSIN_STATE_DIR": str(folder),
            "TOCSIN_TOPIC_PREFIX": self.settings.topic_prefix,
            "TOCSIN_LOG_FORMAT": "json",
        }

    def file(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return str(self.folder / name)

    def replay(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*TOCSIN, "replay", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120, check=False)

    def messages(self) -> list[Message]:
        return read_all(self.settings, SENSOR_READINGS)

    def readings(self) -> list[GoodReading]:
        return [reading for message in self.messages() for reading in check(message.value()).good]


@pytest.fixture
def place(stack: Stack, tmp_path: Path) -> Place:
    return Place(stack, tmp_path)


def test_files_are_played_merged_by_time_and_moved_so_that_the_newest_is_now(place: Place) -> None:
    first = place.file(
        "first.csv",
        HEADER + "2026-01-01T12:00:02Z,PC,m,3,\n2026-01-01 12:00:00,PC,m,1,x\n2026-01-01T12:00:03Z,PC,m,5,\n",
    )
    report = {"system": "PC", "time": NOON + 2000, "readings": [{"metric": "m", "value": 4}], "tags": {"a": "b"}}
    second = place.file(
        "second.ndjson",
        json.dumps({"system": "PC", "metric": "m", "value": 2, "time": NOON + 1000}) + "\n" + json.dumps(report) + "\n",
    )
    before = SystemClock().now_ms()
    done = place.replay(first, second, "--speed", "max")
    after = SystemClock().now_ms()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("5 readings sent and acknowledged, 0 lines refused, in ")
    found = place.readings()
    assert [reading.value for reading in found] == [1, 2, 3, 4, 5]
    newest = found[-1].time
    assert before <= newest <= after
    assert [reading.time - newest for reading in found] == [-3000, -2000, -1000, -1000, 0]
    assert [reading.instance for reading in found] == ["x", None, None, None, None]
    assert found[3].tags == {"a": "b"}
    for message in place.messages():
        assert message.key() == b"PC"
        assert message.partition() == partition_for(b"PC", 4)
        assert header(message.headers(), "ce_source") == b"/tocsin/replay"


def test_at_a_speed_times_are_scaled_and_each_reading_is_sent_when_it_happens(place: Place) -> None:
    rows = "".join(f"{NOON + 60_000 * minute},PC,m,{minute},\n" for minute in range(4))
    done = place.replay(place.file("r.csv", HEADER + rows), "--speed", "60x")
    assert done.returncode == 0, done.stderr
    found = place.readings()
    assert [reading.time - found[0].time for reading in found] == [0, 1000, 2000, 3000]
    for message, reading in zip(place.messages(), found, strict=True):
        _, arrived = message.timestamp()
        assert -50 <= arrived - reading.time < 2000, "sent about when it is said to happen"


def test_kept_times_are_the_recorded_ones(place: Place) -> None:
    done = place.replay(place.file("r.csv", HEADER + f"{NOON},PC,m,1,\n"), "--speed", "max", "--keep-times")
    assert done.returncode == 0, done.stderr
    assert [reading.time for reading in place.readings()] == [NOON]


def test_bad_lines_are_named_counted_and_make_the_exit_code_1(place: Place) -> None:
    path = place.file("bad.csv", HEADER + f"{NOON},PC,m,1,\nyesterday,PC,m,2,\n{NOON},PC,m,nan,\n{NOON},PC,m,4,\n")
    done = place.replay(path, "--speed", "max")
    assert done.returncode == 1
    assert f"{path}:3: time: 'yesterday' is not an RFC 3339 time with zone" in done.stderr
    assert f"{path}:4: value: must be finite" in done.stderr
    assert done.stdout.startswith("2 readings sent and acknowledged, 2 lines refused, in ")
    assert [reading.value for reading in place.readings()] == [1, 4]


def test_strict_sends_nothing_when_a_line_is_bad(place: Place) -> None:
    path = place.file("bad.csv", HEADER + f"{NOON},PC,m,1,\n{NOON},PC,m,x,\n")
    done = place.replay(path, "--speed", "max", "--strict")
    assert done.returncode == 1
    assert f"{path}:3: value:" in done.stderr
    assert "Traceback" not in done.stderr
    assert place.readings() == []


def test_wrong_uses_say_the_way_out(place: Place) -> None:
    foreign = place.file("foreign.csv", "timestamp,value\n2026-01-01 12:00:00,1\n")
    done = place.replay(foreign, "--speed", "max")
    assert (done.returncode, "--system" in done.stderr) == (1, True)
    done = place.replay(foreign, "--speed", "max", "--system", "{file}", "--metric", "m", "--loop")
    assert (done.returncode, "--loop needs a --speed" in done.stderr) == (1, True)
    done = place.replay(foreign, "--speed", "max", "--system", "{file}", "--metric", "m")
    assert done.returncode == 0, done.stderr
    assert [reading.system for reading in place.readings()] == ["foreign"]


def test_a_loop_goes_on_until_stopped_and_everything_sent_is_acknowledged(place: Place) -> None:
    path = place.file("r.csv", HEADER + "".join(f"{NOON + 1000 * second},PC,m,{second},\n" for second in range(10)))
    command = [*TOCSIN, "replay", path, "--speed", "50x", "--loop"]
    running = subprocess.Popen(command, env=place.environment, stdout=subprocess.PIPE, text=True)
    try:
        eventually(lambda: len(place.readings()) >= 25, within=60)
    finally:
        running.send_signal(signal.SIGTERM)
        output, _ = running.communicate(timeout=60)
    assert running.returncode == 0
    found = place.readings()
    assert output.startswith(f"{len(found)} readings sent and acknowledged")
    assert [reading.value for reading in found] == [number % 10 for number in range(len(found))]
    times = [reading.time for reading in found]
    assert times == sorted(times)


def test_recorded_data_arrives_whole(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    folder = recordings()
    if folder is None:
        with capsys.disabled():
            print("\nTOCSIN_RECORDINGS is not set: a generated recording stands in for the recorded ones")
        rows = "".join(f"2014-04-10 {at // 60:02}:{at % 60:02}:00,{at / 7}\n" for at in range(1440))
        paths, count = [place.file("generated.csv", "timestamp,value\n" + rows)], 1440
    else:
        paths, count = [str(folder / "nab" / "ec2_cpu_utilization_825cc2.csv")], 4032
    done = place.replay(*paths, "--speed", "max", "--system", "{file}", "--metric", "cpu.percent")
    assert done.returncode == 0, done.stderr
    assert len(place.readings()) == count


def reports(place: Place) -> list[dict[str, Any]]:
    return [json.loads(message.value() or b"") for message in place.messages()]


def metrics(place: Place) -> set[str]:
    return {reading["metric"] for report in reports(place) for reading in report["readings"]}


@pytest.mark.parametrize("through_the_gateway", [False, True])
def test_the_agent_publishes_this_host_until_sigterm(place: Place, through_the_gateway: bool) -> None:
    with Supervisor() as supervisor:
        fleet = Fleet(supervisor, place.folder, place.environment)
        more: dict[str, str] = {}
        arguments = ["agent", "--every", "200ms", "--system", "this host", "--tag", "site=Berlin"]
        if through_the_gateway:
            port = free_port()
            gateway = {"TOCSIN_GATEWAY_PORT": str(port), "TOCSIN_GATEWAY_API_KEYS": "k"}
            fleet.start("gateway", environment=gateway)
            fleet.wait_ready(60)
            more = {"TOCSIN_AGENT_API_KEY": "k", "KAFKA_BOOTSTRAP_SERVERS": ""}
            arguments += ["--url", f"http://127.0.0.1:{port}"]
        member = fleet.start_command("agent", arguments, environment=more)
        wanted = {"cpu.percent", "cpu.core.percent", "memory.percent", "process.count", "process.memory.bytes"}
        eventually(lambda: len(reports(place)) >= 3 and wanted <= metrics(place), within=60)
        assert member.child.running
        os.kill(member.child.pid, signal.SIGTERM)
        eventually(lambda: not member.child.running, within=30)
        assert member.child.exit_code == 0
    found = reports(place)
    assert {(report["system"], report["tags"]["site"]) for report in found} == {("this host", "Berlin")}
    times = [report["time"] for report in found]
    assert times == sorted(set(times))


def test_once_prints_a_report_and_needs_no_broker(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "TOCSIN_STATE_DIR": str(tmp_path)}
    done = subprocess.run(
        [*TOCSIN, "agent", "--once", "--every", "200ms"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    good, rejected = check(done.stdout.encode()).good, check(done.stdout.encode()).rejected
    assert rejected == []
    assert "cpu.percent" in {reading.metric for reading in good}
