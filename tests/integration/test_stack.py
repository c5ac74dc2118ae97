"""The local stack with a real broker: it boots, keeps its data, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from support import becomes_true, is_running
from tocsin.deploy.stack import Stack, StackError, find_running
from tocsin.deploy.stack.cli import stack as stack_command
from tocsin.deploy.stack.jars import kafka_jars
from tocsin.deploy.stack.java import archive_of, find_java

pytestmark = pytest.mark.kafka


@pytest.fixture(autouse=True)
def no_given_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)


def create_topic(bootstrap_servers: str, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(10)


def produce(bootstrap_servers: str, topic: str, *values: bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap_servers, "message.max.bytes": 4_000_000, "acks": "all"})
    failed: list[object] = []
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _message: failed.append(error) if error else None)
    assert producer.flush(20) == 0
    assert failed == []


def consume(bootstrap_servers: str, topic: str, count: int) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "reader", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        messages = consumer.consume(count, timeout=20)
        return [message.value() or b"" for message in messages]
    finally:
        consumer.close()


def test_the_shared_stack_takes_a_reading_of_one_mebibyte_and_more(stack: Stack) -> None:
    create_topic(stack.bootstrap_servers, "stack-large")
    produce(stack.bootstrap_servers, "stack-large", b"x" * 1_048_576, b"y" * 3_000_000)
    assert [len(value) for value in consume(stack.bootstrap_servers, "stack-large", 2)] == [1_048_576, 3_000_000]


def test_the_shared_stack_commits_a_transaction(stack: Stack) -> None:
    create_topic(stack.bootstrap_servers, "stack-transactions")
    producer = Producer({"bootstrap.servers": stack.bootstrap_servers, "transactional.id": "stack-test"})
    producer.init_transactions(30)
    for outcome in (producer.abort_transaction, producer.commit_transaction):
        producer.begin_transaction()
        producer.produce("stack-transactions", outcome.__name__)
        producer.flush(10)
        outcome(10)
    assert consume(stack.bootstrap_servers, "stack-transactions", 1) == [b"commit_transaction"]


def test_the_shared_stack_takes_mail(stack: Stack) -> None:
    assert stack.smtp_port is not None
    with smtplib.SMTP("127.0.0.1", stack.smtp_port, timeout=5) as client:
        client.sendmail("tocsin@example.com", ["oncall@example.com"], "Subject: stack test\r\n\r\nhello\r\n")
    index = (stack.mail_dir / "index.jsonl").read_text().splitlines()
    # Last: other tests that share the stack may have sent some before.
    assert json.loads(index[-1])["subject"] == "stack test"


@pytest.fixture
def foreground(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """`tocsin stack up --foreground` in a process of its own, up."""
    state_dir = tmp_path / "state"
    command = [sys.executable, "-m", "tocsin.deploy.stack", "up", "--foreground", "--state-dir", str(state_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Ctrl-C"):
                break
        yield process, state_dir
        if process.poll() is None:
            process.kill()


def test_after_kill_9_nothing_remains_and_the_data_are_there_again(
    foreground: tuple[subprocess.Popen[str], Path],
) -> None:
    process, state_dir = foreground
    running = find_running(state_dir)
    assert running is not None
    family = [child.pid for child in psutil.Process(process.pid).children()]
    assert {"kafka", "smtp"} <= set(running.processes)
    assert set(family) >= {one.pid for one in running.processes.values()}
    create_topic(running.bootstrap_servers, "kept")
    produce(running.bootstrap_servers, "kept", b"before the kill")

    os.kill(process.pid, signal.SIGKILL)
    assert becomes_true(lambda: not any(is_running(pid) for pid in family))
    assert find_running(state_dir) is None

    with Stack(state_dir) as again:
        assert again.bootstrap_servers == running.bootstrap_servers
        assert consume(again.bootstrap_servers, "kept", 1) == [b"before the kill"]
        with pytest.raises(StackError, match="another process is running a stack"):
            Stack(state_dir).up()

        again.restart_kafka(kill=True)
        produce(again.bootstrap_servers, "kept", b"after the restart")
        assert again.bootstrap_servers == running.bootstrap_servers
        assert consume(again.bootstrap_servers, "kept", 2) == [b"before the kill", b"after the restart"]
    assert not (state_dir / "stack.json").exists()


def test_ctrl_c_stops_a_stack_in_the_foreground(foreground: tuple[subprocess.Popen[str], Path]) -> None:
    process, _state_dir = foreground
    family = [child.pid for child in psutil.Process(process.pid).children()]
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert not any(is_running(pid) for pid in family)


def test_up_status_and_down_from_the_command_line(tmp_path: Path) -> None:
    folder = ["--state-dir", str(tmp_path)]
    up = CliRunner().invoke(stack_command, ["up", *folder, "--property", "num.partitions=3"])
    try:
        assert up.exit_code == 0, up.output
        status = CliRunner().invoke(stack_command, ["status", *folder])
        assert status.exit_code == 0
        running = find_running(tmp_path)
        assert running is not None
        assert f"kafka  {running.bootstrap_servers}\n" in status.output
        assert "num.partitions=3\n" in (tmp_path / "kafka" / "server.properties").read_text()
        again = CliRunner().invoke(stack_command, ["up", *folder])
        assert (again.exit_code, again.output) == (0, status.output)
    finally:
        down = CliRunner().invoke(stack_command, ["down", *folder])
    assert down.output == f"stopped; the data stay in {tmp_path}\n"
    assert not any(is_running(process.pid) for process in running.processes.values())


def test_a_folder_of_a_newer_kafka_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "kafka" / "data").mkdir(parents=True)
    (tmp_path / "kafka" / "marker.json").write_text('{"kafka": "99.0.0", "cluster_id": "x"}')
    with pytest.raises(StackError, match=r"written by Kafka 99\.0\.0.*remove that folder.*TOCSIN_STATE_DIR"):
        Stack(tmp_path, with_redis=False, with_smtp=False).up()


def test_damaged_data_are_told_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "kafka" / "data").mkdir(parents=True)
    (tmp_path / "kafka" / "marker.json").write_text('{"kafka": "4.4.0", "cluster_id": "x"}')
    (tmp_path / "kafka" / "data" / "meta.properties").write_text("version=1\nnode.id=77\n")
    with pytest.raises(
        StackError, match=r"Kafka ended while it started: .*meta\.properties.*remove .*TOCSIN_STATE_DIR"
    ):
        Stack(tmp_path, with_redis=False, with_smtp=False).up()


def test_a_wrong_broker_setting_is_told_with_kafkas_own_words(tmp_path: Path) -> None:
    broken = Stack(tmp_path, with_redis=False, with_smtp=False, broker_properties={"log.retention.hours": "soon"})
    with pytest.raises(StackError, match=r"log\.retention\.hours"):
        broken.up()


def test_a_taken_port_is_told(tmp_path: Path, stack: Stack) -> None:
    taken = int(stack.bootstrap_servers.rpartition(":")[2])
    with pytest.raises(StackError, match=f"port {taken} for Kafka is taken"):
        Stack(tmp_path, kafka_port=taken, with_redis=False, with_smtp=False).up()


def test_a_given_broker_is_used_and_left_alone(tmp_path: Path, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", stack.bootstrap_servers)
    with Stack(tmp_path, with_redis=False) as given:
        assert given.bootstrap_servers == stack.bootstrap_servers
        assert not (tmp_path / "kafka").exists()
        with pytest.raises(StackError, match="not ours"):
            given.restart_kafka()
    assert stack.status() is not None


def test_a_given_broker_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.deploy.stack.local.GIVEN_BROKER_TIMEOUT", timedelta(seconds=1))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    with pytest.raises(StackError, match=r"no Kafka broker answers at 127\.0\.0\.1:1"):
        Stack(tmp_path, with_redis=False).up()


REDIS = """#!{python}
import socketserver, sys
class Pong(socketserver.StreamRequestHandler):
    def handle(self):
        while self.rfile.readline():
            self.wfile.write(b"+PONG\\r\\n")
port = int(sys.argv[sys.argv.index("--port") + 1])
assert sys.argv[sys.argv.index("--save") + 1] == "" and sys.argv[sys.argv.index("--appendonly") + 1] == "no"
socketserver.ThreadingTCPServer(("127.0.0.1", port), Pong).serve_forever()
"""


def test_redis_is_started_where_there_is_one(tmp_path: Path, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "redis-server"
    program.parent.mkdir()
    program.write_text(REDIS.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    with Stack(tmp_path / "state", with_smtp=False, bootstrap_servers=stack.bootstrap_servers) as with_redis:
        assert with_redis.redis_url is not None
        assert with_redis.redis_url.startswith("redis://127.0.0.1:")
        assert "redis" in (find_running(tmp_path / "state") or with_redis.up()).processes


def test_a_folder_with_any_letters_serves_and_its_stack_is_stopped_even_when_stack_json_is_damaged(
    tmp_path: Path,
) -> None:
    state_dir = tmp_path / "jürgen's, the second"
    running = Stack(state_dir, with_redis=False, lasting=True).up()
    assert [entry.name for entry in tmp_path.iterdir()] == [state_dir.name]
    create_topic(running.bootstrap_servers, "here")
    (state_dir / "stack.json").write_text('{"bootstrap_servers": "x", "pids": [1, 2], "started": {}')
    said: list[str] = []
    assert Stack(state_dir, say=said.append).down()
    assert becomes_true(lambda: not any(is_running(process.pid) for process in running.processes.values()))
    assert any("is damaged" in line for line in said)


def test_a_damaged_class_archive_does_not_keep_kafka_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jars = kafka_jars()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / jars.name).symlink_to(jars)
    monkeypatch.setenv("TOCSIN_CACHE_DIR", str(tmp_path / "cache"))
    archive_of(find_java(), kafka_jars()).write_bytes(b"not an archive" * 1000)
    with Stack(tmp_path / "state", with_redis=False, with_smtp=False) as local:
        assert local.status() is not None
