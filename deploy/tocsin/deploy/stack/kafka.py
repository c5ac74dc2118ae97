"""One Apache Kafka broker, controller included, as a child process."""

from __future__ import annotations

import base64
import json
import logging
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tocsin.deploy.processes import GRACE, Child, Supervisor
from tocsin.deploy.stack.errors import StackError
from tocsin.deploy.stack.jars import Say, kafka_jars, kafka_version, read_sums
from tocsin.deploy.stack.java import archive_flags, find_java
from tocsin.deploy.stack.ports import HOST, answers, free_port, is_free

BOOT_TIMEOUT = timedelta(seconds=60)  # 2 s as a rule; a machine under load takes its time
PORT_ATTEMPTS = 3  # a free port can be lost to another process before the broker has bound it

# The first compiler only: the second takes a third of the processor for the first minutes, and what it makes is no
# quicker for a broker that mostly hands bytes on. One small broker needs no parallel collector either.
JVM_FLAGS = (
    "-Xmx512m",
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Djava.awt.headless=true",
    "-Dfile.encoding=UTF-8",
)

BROKER_PROPERTIES: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listener.security.protocol.map": "CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "CLIENTS",
    "controller.listener.names": "CONTROLLER",
    # There is one broker, so everything exists once.
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # Small on disk, quick to create: Kafka's 50 partitions are meant for clusters.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "4",
    "offsets.topic.segment.bytes": "10485760",
    "transaction.state.log.segment.bytes": "10485760",
    "log.index.size.max.bytes": "1048576",
    # Kafka's 128 MB are for disks of terabytes.
    "log.cleaner.dedupe.buffer.size": "16777216",
    # A reading may have 1 MiB, with headers and batch around it; and what is larger must reach us to be rejected.
    "message.max.bytes": "4194304",
    "replica.fetch.max.bytes": "4194304",
    # Topics are made by `tocsin topics apply` with their settings, never by a typing error.
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    # What a killed producer left open is looked for this often; a reader of committed records waits no longer.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    # After kill -9 the controller takes the old broker for alive this long, and lets no new one in.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}

LOG4J_PROPERTIES = """\
appender.file.type=RollingFile
appender.file.name=file
appender.file.fileName={log}
appender.file.filePattern={log}.%i
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d{{ISO8601}} %p %m (%c{{1}})%n
appender.file.policies.type=SizeBasedTriggeringPolicy
appender.file.policies.size=20MB
appender.file.strategy.type=DefaultRolloverStrategy
appender.file.strategy.max=1
rootLogger.level=INFO
rootLogger.appenderRef.file.ref=file
"""

_silent = logging.getLogger("tocsin.deploy.stack.kafka.client")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


def cluster_id(
    bootstrap_servers: str,
    timeout: timedelta = timedelta(seconds=2),
    client_properties: Mapping[str, str] | None = None,
) -> str | None:
    """The id of the cluster that answers there, once it leads all its partitions; None when none answers in time."""
    # A client of its own each time: one that has failed waits longer and longer before it tries again.
    admin = AdminClient({**(client_properties or {}), "bootstrap.servers": bootstrap_servers}, logger=_silent)
    try:
        cluster = admin.list_topics(timeout=timeout.total_seconds())
    except KafkaException:
        return None
    led = all(part.leader >= 0 for topic in cluster.topics.values() for part in topic.partitions.values())
    return str(cluster.cluster_id) if cluster.brokers and led else None


@dataclass(frozen=True, slots=True)
class Marker:
    """What a state folder says about the data in it."""

    kafka: str
    cluster_id: str

    @classmethod
    def read(cls, path: Path) -> Marker:
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def write(self, path: Path) -> None:
        path.write_text(json.dumps({"kafka": self.kafka, "cluster_id": self.cluster_id}) + "\n", encoding="utf-8")


def _reason(said: str) -> str:
    """The line of a Java program's output that tells most."""
    lines = said.strip().splitlines()
    telling = [line for line in lines if " ERROR " in line or " FATAL " in line or "Exception: " in line]
    return (telling or lines or ["it said nothing"])[0][:300]


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


class Kafka:
    """The broker of one folder. The port stays the same over restarts, and over runs where it is still free."""

    def __init__(
        self,
        folder: Path,
        supervisor: Supervisor,
        *,
        port: int | None = None,
        properties: Mapping[str, str] | None = None,
        jvm_flags: Sequence[str] = (),
        say: Say = lambda _: None,
    ) -> None:
        self.folder = folder
        self.child: Child | None = None
        self.port = 0
        self.cluster_id = ""  # given before the first start, it is of the cluster that this broker joins
        self.log_path = folder / "broker.log"
        self._supervisor = supervisor
        self._wanted_port = port
        self._extra = dict(properties or {})
        self._jvm_flags = tuple(jvm_flags)
        self._say = say
        self._command: tuple[str | Path, ...] = ()

    @property
    def bootstrap_servers(self) -> str:
        return f"{HOST}:{self.port}"

    def start(self, launched: Callable[[], object] = lambda: None) -> None:
        """Format the folder where it is new, boot, and return when clients can work.

        `launched` is called while it boots; once more when it has lost its port and boots on another one.
        """
        self._command = self._java_command(kafka_jars(self._say))
        if self._wanted_port is not None and not is_free(self._wanted_port):
            raise StackError(f"port {self._wanted_port} for Kafka is taken by another process")
        self._format()
        attempts = 1 if self._wanted_port is not None else PORT_ATTEMPTS
        for attempt in range(attempts):
            self._choose_ports(keep=attempt == 0)
            if self._boot(launched):
                return
        raise StackError(f"Kafka found no port it could keep in {attempts} attempts")

    def stop(self, grace: timedelta = GRACE) -> None:
        if self.child is not None:
            self.child.stop(grace)

    def kill(self) -> None:
        if self.child is not None:
            self.child.kill()

    def restart(self) -> None:
        """Boot again on the same port, whatever way it ended."""
        self.stop()
        if not self._boot():
            raise StackError(f"port {self.port} was taken while Kafka was down")

    def _java_command(self, jars: Path) -> tuple[str | Path, ...]:
        class_path = ":".join(str(jars / jar.name) for jar in read_sums())
        self.folder.mkdir(parents=True, exist_ok=True)
        log4j = "log4j2.properties"
        (self.folder / log4j).write_text(LOG4J_PROPERTIES.format(log=self.log_path.name), encoding="utf-8")
        # Kafka's own shell scripts would read KAFKA_HEAP_OPTS and others; here a given environment changes nothing.
        java = find_java()
        flags = (*JVM_FLAGS, *(self._jvm_flags or archive_flags(java, jars)))
        return (java, *flags, f"-Dlog4j2.configurationFile={log4j}", "-cp", class_path)

    def _format(self) -> None:
        data, marker_path, version = self.folder / "data", self.folder / "marker.json", kafka_version(read_sums())
        if data.is_dir() and marker_path.exists():
            self.cluster_id = self._checked(marker_path, version).cluster_id
            return
        if data.exists():
            raise self._unusable("has Kafka data but not what belongs to it")
        # Under another name until it is complete: a format that was cut short is simply done again.
        unfinished = self.folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        properties = self._write_properties("format.properties", unfinished.name, 9092, 9093)
        # Kafka's uuids: 22 characters of URL-safe base64; a leading "-" would look like an option.
        new_id = self.cluster_id or "T" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
        command = [*self._command, "kafka.tools.StorageTool", "format", "-t", new_id, "-c", properties]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, cwd=self.folder
        )
        if done.returncode != 0:
            reason = _reason(done.stderr + done.stdout)
            raise StackError(f"Kafka's storage can't be made in {self.folder}: {reason}")
        Marker(version, new_id).write(marker_path)
        unfinished.rename(data)
        self.cluster_id = new_id

    def _checked(self, marker_path: Path, version: str) -> Marker:
        try:
            marker = Marker.read(marker_path)
        except (ValueError, TypeError):
            raise self._unusable("is damaged (its marker can't be read)") from None
        if _release(marker.kafka) > _release(version):
            raise self._unusable(f"was written by Kafka {marker.kafka}, and this is {version}")
        if marker.kafka != version:
            Marker(version, marker.cluster_id).write(marker_path)
        return marker

    def _unusable(self, why: str) -> StackError:
        return StackError(
            f"{self.folder} {why}: remove that folder to start anew without its data, "
            "or choose another state folder with TOCSIN_STATE_DIR"
        )

    def _choose_ports(self, *, keep: bool) -> None:
        """The ports of the last run, so that clients find it again, unless somebody has them now."""
        remembered = self.folder / "ports.json"
        client, controller = None, None
        if keep and remembered.exists():
            with suppress(ValueError, TypeError):  # only a convenience
                client, controller = json.loads(remembered.read_text(encoding="utf-8"))
        self.port = self._wanted_port or free_port(client)
        controller = free_port(controller)
        remembered.write_text(json.dumps([self.port, controller]), encoding="utf-8")
        self._write_properties("server.properties", "data", self.port, controller)

    def _write_properties(self, name: str, data: str, client: int, controller: int) -> str:
        """Kafka runs in the folder: in its settings no path has to be spelled, whatever letters or commas are in it."""
        properties = {
            **BROKER_PROPERTIES,
            "listeners": f"CLIENTS://{HOST}:{client},CONTROLLER://{HOST}:{controller}",
            "advertised.listeners": f"CLIENTS://{HOST}:{client}",
            "controller.quorum.voters": f"1@{HOST}:{controller}",
            "log.dirs": data,
            **self._extra,
        }
        # In a properties file a backslash starts an escape.
        lines = (f"{key}={value}\n".replace("\\", "\\\\") for key, value in properties.items())
        (self.folder / name).write_text("".join(lines), encoding="utf-8")
        return name

    def _boot(self, launched: Callable[[], object] = lambda: None) -> bool:
        """False when somebody else was quicker to take a port; StackError when it can't run at all."""
        log_starts = self.log_path.stat().st_size if self.log_path.exists() else 0
        console = self.folder / "console.log"
        console.unlink(missing_ok=True)
        argv = [*self._command, "kafka.Kafka", "server.properties"]
        self.child = self._supervisor.start("kafka", argv, log_path=console, cwd=self.folder)
        launched()
        deadline = time.monotonic() + BOOT_TIMEOUT.total_seconds()
        while time.monotonic() < deadline:
            if not self.child.running:
                said = self._said_since(log_starts)
                if "Address already in use" in said:
                    return False
                raise StackError(self._why_it_ended(said))
            if answers(self.port) and cluster_id(self.bootstrap_servers) == self.cluster_id:
                return True
            time.sleep(0.03)
        self.child.kill()
        raise StackError(f"Kafka did not answer within {BOOT_TIMEOUT.seconds} s; its log is {self.log_path}")

    def _said_since(self, position: int) -> str:
        said = self.child.log_tail() if self.child is not None else ""
        if self.log_path.exists():
            with open(self.log_path, "rb") as log:
                size = log.seek(0, 2)
                log.seek(position if position <= size else 0)
                said += "\n" + log.read().decode(errors="replace")
        return said

    def _why_it_ended(self, said: str) -> str:
        return (
            f"Kafka ended while it started: {_reason(said)}. Its log is {self.log_path}. If the data are damaged, "
            f"remove {self.folder} to start anew, or choose another state folder with TOCSIN_STATE_DIR"
        )
