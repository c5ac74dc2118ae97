"""A console that is killed while it writes: each write is whole or absent, and a repeat of it does it once."""

from __future__ import annotations

import http.client
import json
import os
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import killed_console
from console_process import ConsoleProcess
from consoling import Answer, console_settings, with_accounts
from support import read_all
from tocsin.console.settings import ConsoleSettings
from tocsin.console.store import Store
from tocsin.deploy.processes import Supervisor
from tocsin.deploy.stack import Stack
from tocsin.shared.configuration.records import Notification, Recipient
from tocsin.shared.topics import CONFIGURATION_AUDIT

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(400)]

FULL = os.environ.get("TOCSIN_FAULTS") == "full"
AT_RANDOM = 20 if FULL else 3
WRITERS = 4
ROUNDS = 3
"""Of each writer: every one creates, changes twice, pauses and deletes a recipient, and leaves another."""

SENSOR = {"name": "CPU busy", "metric": "cpu.percent", "trigger": "> 90"}


class Writer:
    """One client: each write has a key of its own and is sent again until it is answered."""

    def __init__(self, console: ConsoleProcess, number: int) -> None:
        self._console = console
        self._name = f"Writer {number}"
        self._keys = 0
        self.answered: list[tuple[tuple[Any, ...], dict[str, str], Answer]] = []
        self.left: dict[str, dict[str, Any]] = {}  # by id, what stands at the end
        self.gone: list[str] = []

    def write(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        self._keys += 1
        headers["Idempotency_Key"] = f"{self._name} {self._keys}"
        until = time.monotonic() + 120
        while True:
            try:
                answer = self._console.client("editor")(method, path, body, **headers)
            except (OSError, http.client.HTTPException):  # it is dead, or died before it had answered
                answer = None
            if answer is not None and answer.status != 503:
                self.answered.append(((method, path, body), headers, answer))
                return answer
            assert time.monotonic() < until, (method, path, answer)
            time.sleep(0.1)

    def work(self) -> None:
        for turn in range(ROUNDS):
            for stays in (False, True):
                document = {
                    "name": f"{self._name} recipient {turn} {stays}",
                    "type": "distribution-list",
                    "email": "a@example.com",
                }
                made = self.write("POST", "/api/v1/recipients", document)
                assert made.status == 201, made.text
                path = f"/api/v1/recipients/{made.json()['id']}"
                changed = self.write("PUT", path, {**document, "description": "one"}, If_Match=made.headers["ETag"])
                assert changed.status == 200, changed.text
                again = self.write("PUT", path, {**document, "description": "two"}, If_Match=changed.headers["ETag"])
                assert again.status == 200, again.text
                paused = self.write("POST", f"{path}/pause")
                assert paused.status == 200, paused.text
                notification = {
                    "name": f"{self._name} notification {turn} {stays}",
                    "sensors": ["CPU busy"],
                    "threshold": 1,
                    "recipients": [document["name"], "Everybody"],
                }
                told = self.write("POST", "/api/v1/notifications", notification)
                assert told.status == 201, told.text
                if stays:
                    self.left[made.json()["id"]] = paused.json()
                else:
                    gone = self.write("DELETE", path, If_Match=paused.headers["ETag"])  # leaves its notification, too
                    assert gone.status == 204, gone.text
                    self.gone.append(made.json()["id"])


@pytest.fixture
def console(stack: Stack, tmp_path: Path) -> Iterator[ConsoleProcess]:
    settings = console_settings(stack, tmp_path)
    with_accounts(settings)
    supervisor = Supervisor()
    try:
        yield ConsoleProcess(settings, tmp_path, supervisor)
    finally:
        supervisor.close()


def test_every_write_is_whole_or_absent_and_done_once_however_often_the_console_is_killed(
    console: ConsoleProcess,
) -> None:
    console.start()
    beginning = Writer(console, 99)
    assert beginning.write("POST", "/api/v1/sensors", SENSOR).status == 201
    everybody = {"name": "Everybody", "type": "distribution-list", "email": "all@example.com"}
    assert beginning.write("POST", "/api/v1/recipients", everybody).status == 201
    console.kill()
    writers = [Writer(console, number) for number in range(WRITERS)]
    dice = random.Random(int(os.environ.get("SEED", "1")))
    with ThreadPoolExecutor(WRITERS) as pool:
        jobs = [pool.submit(one.work) for one in writers]
        for point in killed_console.POINTS:
            for number in (1, 4):
                console.start(point, number)
                console.dies()
                whole(console.settings)
        console.start()
        for _ in range(AT_RANDOM):
            if all(job.done() for job in jobs):
                break
            threading.Event().wait(dice.uniform(0.05, 1.5))  # whatever it is doing then
            console.kill()
            whole(console.settings)
            console.start()
        for job in jobs:
            job.result()
    console.kill()
    console.start()
    for writer in writers:
        check(console, writer)
    whole(console.settings)
    audited_once(console.settings, writers)


def whole(settings: ConsoleSettings) -> None:
    """What the topic says is one change after the other, each of them complete."""
    state = Store(settings, "test").read()
    assert not state.unreadable
    for record in state.of_kind(Notification.kind):
        assert isinstance(record, Notification)
        gone = [one for one in record.recipient_ids if state.by_id(one) is None]
        assert not gone, "a recipient was deleted, and this notification still names it"


def check(console: ConsoleProcess, writer: Writer) -> None:
    """Everything that was answered is there; sent again after a restart, each write gets the answer that it got."""
    client = console.client("editor")
    state = Store(console.settings, "test").read()
    for id_, shown in writer.left.items():
        assert client.get(f"/api/v1/recipients/{id_}").json() == shown
        record = state.by_id(id_)
        assert isinstance(record, Recipient)
        assert (record.description, record.paused) == ("two", True)
    for id_ in writer.gone:
        assert client.get(f"/api/v1/recipients/{id_}").status == 404
        assert state.by_id(id_) is None
    for (method, path, body), headers, answer in writer.answered[-6:]:
        again = client(method, path, body, **headers)
        assert again.status == answer.status, (method, path, again.text)
    # Nothing of that was done again.
    assert Store(console.settings, "test").read().change == state.change


def audited_once(settings: ConsoleSettings, writers: list[Writer]) -> None:
    done: dict[str, list[str]] = {}
    for message in read_all(settings, CONFIGURATION_AUDIT):
        record = json.loads(message.value() or b"")
        if record["kind"] == "recipient" and record["name"].startswith("Writer"):
            done.setdefault(record["record_id"], []).append(record["action"])
    changes = ["created", "changed", "changed", "changed"]
    expected = {id_: changes for writer in writers for id_ in writer.left}
    expected |= {id_: [*changes, "deleted"] for writer in writers for id_ in writer.gone}
    assert done == expected
