"""The local stack: Kafka, a mail sink, and Redis where there is one, all on 127.0.0.1."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import IO

from tocsin.deploy.processes import Child, ProcessRef, Supervisor
from tocsin.deploy.stack.errors import StackError
from tocsin.deploy.stack.info import (
    STACK_FILE,
    StackInfo,
    find_processes,
    find_running,
    forget_info,
    is_damaged,
    read_info,
)
from tocsin.deploy.stack.jars import Say
from tocsin.deploy.stack.kafka import Kafka, cluster_id
from tocsin.deploy.stack.ports import HOST, answers, free_port, wait_until
from tocsin.deploy.stack.redis import start_redis
from tocsin.shared.settings import KafkaSettings

GIVEN_BROKER = "KAFKA_BOOTSTRAP_SERVERS"
GIVEN_BROKER_TIMEOUT = timedelta(seconds=10)
SMTP_TIMEOUT = timedelta(seconds=20)


class Stack:
    """One stack in one state folder.

    Its processes end with this one, in whatever way this one ends, unless `lasting`: then they stay until `down`,
    which any process may call. Kafka's data and the mails stay in the folder either way. A broker given here or in
    KAFKA_BOOTSTRAP_SERVERS is used as it is, and no Kafka is started.
    """

    def __init__(  # noqa: PLR0913 - each is a choice of its own, and each has its default
        self,
        state_dir: Path,
        *,
        kafka_port: int | None = None,
        with_redis: bool = True,
        with_smtp: bool = True,
        broker_properties: Mapping[str, str] | None = None,
        bootstrap_servers: str | None = None,
        lasting: bool = False,
        say: Say = lambda _: None,
    ) -> None:
        self.state_dir = state_dir.absolute()
        self.mail_dir = self.state_dir / "mail"
        self.bootstrap_servers = ""
        self.redis_url: str | None = None
        self.smtp_port: int | None = None
        self._cluster_id = ""
        self._with_redis = with_redis
        self._with_smtp = with_smtp
        self._say = say
        self._supervisor = Supervisor(lasting=lasting)
        self._children: dict[str, Child] = {}
        self._lock: IO[str] | None = None
        self._kafka: Kafka | None = None
        self._given = bootstrap_servers or os.environ.get(GIVEN_BROKER) or None
        if self._given is None:
            self._kafka = Kafka(
                self.state_dir / "kafka", self._supervisor, port=kafka_port, properties=broker_properties, say=say
            )

    def up(self, meanwhile: Callable[[], object] = lambda: None) -> StackInfo:
        """Start everything and return when all of it answers; on an error nothing stays behind.

        `meanwhile` is called as soon as stack.json says where everything will answer, while the broker still boots;
        once more when the broker had to take another port.
        """
        self._take_lock()
        try:
            self._refuse_or_clear_what_is_there()
            info = self._start_all(meanwhile)
        except BaseException:
            self._stop_all()
            raise
        if self._supervisor.lasting:
            self._supervisor.close()
            self._children.clear()  # from here on they are found by what is written down
            self._drop_lock()
        return info

    def down(self) -> bool:
        """Stop everything, whoever started it. False when there was nothing to stop."""
        if self._children:
            self._stop_all()
            forget_info(self.state_dir)
            self._drop_lock()
            return True
        return self._stop_what_another_started()

    def status(self) -> StackInfo | None:
        """The stack of this folder, if it answers."""
        return find_running(self.state_dir)

    def restart_kafka(self, *, kill: bool = False) -> None:
        """Down and up again on the same port; with `kill` it gets no chance to say goodbye."""
        kafka = self._own_kafka()
        if kill:
            kafka.kill()
        self._say("Kafka: restarting ...")
        kafka.restart()
        assert kafka.child is not None
        self._children["kafka"] = kafka.child
        self._write_info()

    def kill_kafka(self) -> None:
        """kill -9; `restart_kafka` brings it back."""
        self._own_kafka().kill()

    def stop_kafka(self) -> None:
        """An orderly end; `restart_kafka` brings it back."""
        self._own_kafka().stop()

    def suspend_kafka(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        child = self._own_kafka().child
        assert child is not None
        child.suspend()

    def resume_kafka(self) -> None:
        child = self._own_kafka().child
        assert child is not None
        child.resume()

    def wait(self) -> None:
        """Return when one of the processes has ended by itself."""
        while all(child.running for child in self._children.values()):
            time.sleep(0.2)
        gone = next(child for child in self._children.values() if not child.running)
        raise StackError(f"{gone.name} has ended with {gone.exit_code}; its log is {gone.log_path}")

    def __enter__(self) -> Stack:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def _own_kafka(self) -> Kafka:
        if self._kafka is None:
            raise StackError("the broker was given from outside: it is not ours to stop or start")
        return self._kafka

    def _take_lock(self) -> None:
        try:
            self.state_dir.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.state_dir / ".lock", "w")  # noqa: SIM115 - held until down
        except OSError as error:
            raise StackError(
                f"{self.state_dir} can't be used as state folder ({error.strerror}): set TOCSIN_STATE_DIR"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._drop_lock()
            raise StackError(
                f"another process is running a stack in {self.state_dir}: end it (Ctrl-C in its terminal), "
                "or set TOCSIN_STATE_DIR to another folder for one of your own"
            ) from None

    def _drop_lock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _refuse_or_clear_what_is_there(self) -> None:
        if find_running(self.state_dir) is not None:
            raise StackError(f"a stack is already running in {self.state_dir}: `tocsin stack down` stops it")
        self._stop_recorded()  # half a stack: something of it was killed

    def _stop_what_another_started(self) -> bool:
        # Who runs a stack in the foreground holds the lock as long as it lives.
        self._take_lock()
        try:
            return self._stop_recorded()
        finally:
            self._drop_lock()

    def _stop_recorded(self) -> bool:
        info = read_info(self.state_dir)
        alive = [process for process in info.processes.values() if process.find()] if info is not None else []
        if is_damaged(self.state_dir):
            alive = find_processes(self.state_dir)
            self._say(f"{self.state_dir / STACK_FILE} is damaged; its processes are found without it: {len(alive)}")
        for process in alive:
            process.stop()
        forget_info(self.state_dir)
        return bool(alive)

    def _start_all(self, meanwhile: Callable[[], object]) -> StackInfo:
        if self._with_smtp:
            self._start_smtp()  # looked at last: it boots beside Kafka
        if self._with_redis:
            self._start_redis()
        try:
            self._start_kafka(meanwhile)
            self._wait_for_smtp()
        except BaseException:
            forget_info(self.state_dir)
            raise
        return self._write_info()

    def _write_info(self) -> StackInfo:
        info = self._describe()
        info.write(self.state_dir)
        return info

    def _start_kafka(self, meanwhile: Callable[[], object]) -> None:
        if self._kafka is None:
            assert self._given is not None
            # With the user's own client settings: a given broker may want a password.
            settings = KafkaSettings.from_environment({**os.environ, GIVEN_BROKER: self._given}, self.state_dir)
            found = cluster_id(self._given, GIVEN_BROKER_TIMEOUT, settings.properties)
            if found is None:
                raise StackError(f"no Kafka broker answers at {self._given}: start it, or unset {GIVEN_BROKER}")
            self.bootstrap_servers, self._cluster_id = self._given, found
            self._write_info()
            meanwhile()
            return
        started, kafka = time.monotonic(), self._kafka

        def launched() -> None:
            assert kafka.child is not None
            self._children["kafka"] = kafka.child
            self.bootstrap_servers, self._cluster_id = kafka.bootstrap_servers, kafka.cluster_id
            self._write_info()
            meanwhile()

        kafka.start(launched)
        self._say(f"Kafka: {self.bootstrap_servers}, in {time.monotonic() - started:.1f} s")

    def _start_redis(self) -> None:
        started = start_redis(self.state_dir / "redis", self._supervisor)
        if started is not None:
            self._children["redis"], port = started
            self.redis_url = f"redis://{HOST}:{port}/0"
            self._say(f"Redis: {self.redis_url}")

    def _start_smtp(self) -> None:
        self.smtp_port = free_port()
        argv = [sys.executable, "-m", "tocsin.deploy.stack.mail"]
        options = ["--directory", str(self.mail_dir), "--port", str(self.smtp_port)]
        log_path = self.state_dir / "smtp.log"
        self._children["smtp"] = self._supervisor.start("smtp", [*argv, *options], log_path=log_path)

    def _wait_for_smtp(self) -> None:
        child, port = self._children.get("smtp"), self.smtp_port
        if child is None or port is None:
            return
        if not wait_until(lambda: not child.running or answers(port), SMTP_TIMEOUT) or not child.running:
            raise StackError(f"the mail sink did not start; its log is {child.log_path}")
        self._say(f"Mail:  {HOST}:{port}, kept in {self.mail_dir}")

    def _describe(self) -> StackInfo:
        return StackInfo(
            bootstrap_servers=self.bootstrap_servers,
            cluster_id=self._cluster_id,
            redis_url=self.redis_url,
            smtp_port=self.smtp_port,
            mail_dir=str(self.mail_dir) if self._with_smtp else None,
            processes={name: ProcessRef.of(child.pid) for name, child in self._children.items()},
        )

    def _stop_all(self) -> None:
        for child in reversed(self._children.values()):
            child.ask_to_stop()
        for child in reversed(self._children.values()):
            child.stop()
        self._supervisor.stop_all()  # what had started but isn't in the table yet
        self._children.clear()
        self._supervisor.close()
        self._drop_lock()
