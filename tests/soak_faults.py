"""The faults of a soak, dealt from a shuffled deck, so that even a short run has each of them.

Some strike at a named point between two steps of a transaction, where one at random hardly ever would: the process
itself, a `failing_process`, ends there.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from tocsin.deploy.fleet import Fleet
from tocsin.deploy.stack import Stack
from tocsin.shared import kafka
from tocsin.shared.lifecycle import EXIT_RESTART
from tocsin.shared.settings import CommonSettings
from tocsin.shared.topics import ACTIVATOR_CHANGELOG

DETECTORS, ACTIVATORS = ("detector-a", "detector-b"), ("activator-a", "activator-b")
FROZEN_S = 12.0
"""Longer than a session: its partitions have another owner when it wakes up."""

REFUSED_S = 1.5
"""Longer than it takes the activator to commit its offsets."""

REACHED_WITHIN_S = 45.0
"""After the time is up: every point is passed once a session and a recovery are over."""

POINTS = {
    "before_commit": DETECTORS,  # all of a transaction is produced
    "committed": DETECTORS,  # its tallies are not sent
    "rows_written": ACTIVATORS,  # the events in their outboxes are not sent
    "events_sent": ACTIVATORS,  # the outboxes are full, and no offset is committed
}


class Faults:
    """Of one run, on its processes and its broker."""

    def __init__(self, stack: Stack, fleet: Fleet, settings: CommonSettings, rng: random.Random, folder: Path) -> None:
        self._stack = stack
        self._fleet = fleet
        self._settings = settings
        self._rng = rng
        self._folder = folder
        self._began = time.monotonic()
        self._thawing: dict[str, float] = {}
        self._then: dict[str, str] = {}  # the point at which a process ends once more after its next start
        self.reached: set[str] = set()
        folder.mkdir(parents=True)

    def deal(self, seconds: float) -> None:
        """So long, and until each point has been the end of a process."""
        until = time.monotonic() + seconds
        deck: list[tuple[str, Callable[[], None]]] = []
        while time.monotonic() < until:
            if not deck:
                deck = self._rng.sample(self._faults(), len(self._faults()))
            name, fault = deck.pop()
            self.say(name)
            fault()
            self._tend_until(min(time.monotonic() + self._rng.uniform(0.2, 3.0), until))
        self._reach_all()

    def _faults(self) -> list[tuple[str, Callable[[], None]]]:
        at_points = [
            (f"kill at the point {point}", lambda point=point: self._kill_at(point))  # type: ignore[misc]
            for point in POINTS
        ]
        return [
            *at_points,
            ("kill a detector", lambda: self._kill(DETECTORS)),
            ("kill an activator", lambda: self._kill(ACTIVATORS)),
            ("freeze a detector", lambda: self._freeze(DETECTORS)),
            ("freeze an activator", lambda: self._freeze(ACTIVATORS)),
            ("stop and start one", lambda: self._stop_and_start(DETECTORS + ACTIVATORS)),
            ("kill both detectors", self._kill_both_detectors),
            ("refuse the activators' rows, and kill both", self._refuse_rows),
            ("restart the broker", self._restart_broker),
        ]

    def tend(self) -> None:
        """Wake up what has been frozen long enough, and start again what has ended by itself, as a supervisor does."""
        for name, due in list(self._thawing.items()):
            if time.monotonic() >= due:
                self._thaw(name)
        for name, code in self._fleet.restart_ended():
            if code == -signal.SIGKILL and (point := self._point_of(name)):
                self.say(f"{name} ended at the point {point}")
                continue
            self.say(f"{name} had ended with {code}")
            tail = self._fleet.members[name].child.log_tail(30)
            print(tail, flush=True)
            assert code == EXIT_RESTART, f"{name} ended with {code}: {tail}"

    def cease(self) -> None:
        """No more of them."""
        self._then.clear()
        for path in self._folder.glob("*.point"):
            path.unlink(missing_ok=True)
        for name in list(self._thawing):
            self._thaw(name)
        self.tend()

    def say(self, what: str) -> None:
        print(f"{time.monotonic() - self._began:6.1f} s  {what}", flush=True)

    # --- at points ---

    def _kill_at(self, point: str) -> None:
        """A detector twice: the second time in the first transaction after its start, which is that of a backlog."""
        if POINTS[point] == ACTIVATORS:
            for name in ACTIVATORS:  # whichever has something to tell
                self._arm(name, point, 0)
        elif (victim := self._victim(DETECTORS)) is not None:
            self._then[victim] = point
            self._arm(victim, point, self._rng.randrange(3))

    def _arm(self, name: str, point: str, passed_before: int) -> None:
        whole = self._folder / f"{name}.new"
        whole.write_text(f"{point} {passed_before}")
        os.replace(whole, self._folder / f"{name}.point")

    def _point_of(self, name: str) -> str | None:
        """Where it has ended, if at a point."""
        try:
            point = (self._folder / f"{name}.ended").read_text()
        except FileNotFoundError:
            return None
        (self._folder / f"{name}.ended").unlink()
        self.reached.add(point)
        if (again := self._then.pop(name, None)) is not None:
            self._arm(name, again, 1)  # the very first one only says that the partitions are its own now
        return point

    def _reach_all(self) -> None:
        until = time.monotonic() + REACHED_WITHIN_S
        while missing := POINTS.keys() - self.reached:
            assert time.monotonic() < until, f"nobody came to {missing}"
            for point in missing:
                for name in POINTS[point]:
                    if not (self._folder / f"{name}.point").exists():
                        self._arm(name, point, 0)
            self._tend_until(time.monotonic() + 0.5)

    # --- at any time ---

    def _tend_until(self, until: float) -> None:
        while time.monotonic() < until:
            self.tend()
            time.sleep(0.1)

    def _victim(self, names: tuple[str, ...]) -> str | None:
        running = [name for name in names if name not in self._thawing and self._fleet.members[name].child.running]
        return self._rng.choice(running) if running else None

    def _kill(self, names: tuple[str, ...]) -> None:
        victim = self._victim(names)
        if victim is not None:
            self._fleet.members[victim].child.kill()
            time.sleep(self._rng.choice((0.0, 0.5, 2.0)))
            self._fleet.restart(victim)

    def _kill_both_detectors(self) -> None:
        for name in DETECTORS:
            self._kill((name,))

    def _freeze(self, names: tuple[str, ...]) -> None:
        victim = self._victim(names)
        if victim is not None:
            self._fleet.members[victim].child.suspend()
            self._thawing[victim] = time.monotonic() + self._rng.choice((2.0, FROZEN_S))

    def _thaw(self, name: str) -> None:
        del self._thawing[name]
        self._fleet.members[name].child.resume()

    def _stop_and_start(self, names: tuple[str, ...]) -> None:
        victim = self._victim(names)
        if victim is not None:
            code = self._fleet.members[victim].child.stop()
            self.say(f"{victim} stopped with {code}")
            self._fleet.restart(victim)

    def _restart_broker(self) -> None:
        self._stack.restart_kafka(kill=self._rng.random() < 0.7)

    def _refuse_rows(self) -> None:
        """Who committed a record before its rows were taken has lost it then."""
        self._replicas_wanted("2")
        self._tend_until(time.monotonic() + REFUSED_S)
        for name in ACTIVATORS:
            if name not in self._thawing:
                self._fleet.members[name].child.kill()
        self._replicas_wanted("1")
        for name in ACTIVATORS:
            if name not in self._thawing:
                self._fleet.restart(name)

    def _replicas_wanted(self, count: str) -> None:
        """More than there are: the broker takes no acknowledged record."""
        entry = ConfigEntry("min.insync.replicas", count, incremental_operation=AlterConfigOpType.SET)
        topic = ConfigResource(
            ResourceType.TOPIC, self._settings.topic(ACTIVATOR_CHANGELOG), incremental_configs=[entry]
        )
        for done in kafka.admin(self._settings.kafka).incremental_alter_configs([topic]).values():
            done.result(30)
