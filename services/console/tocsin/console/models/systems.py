"""What systems have reported lately: the newest value of each series, and a short history of some.

Made from the end of `sensor-readings`, not from its beginning, and never at the price of the machine: when readings
come faster than this thread may read, it skips to the newest. So a system may be shown as heard a little earlier than
it was; what the detector knows is in `sensor-changes`.
"""

from __future__ import annotations

import threading
import time
import uuid
from array import array
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from confluent_kafka import Consumer, TopicPartition

from tocsin.dispatcher.reading import ends_of
from tocsin.shared import kafka
from tocsin.shared.clock import Clock
from tocsin.shared.readings import check
from tocsin.shared.settings import CommonSettings
from tocsin.shared.telemetry.logs import logger
from tocsin.shared.topics import SENSOR_READINGS

log = logger(__name__)

BACKLOG = 100_000
"""Readings of each partition that are looked at when the console starts."""
AT_ONCE = 2_000
QUEUED = {"queued_max_messages_kbytes": 2 << 10, "fetch_queue_backoff_ms": 20}
"""Of each partition, in the client: its own default would be 64 MB. Full, it would wait a second before it goes on."""

PAUSE_SECONDS = 0.1
"""Between batches: at most 20,000 messages a second, a fifth of one core."""
MAX_SYSTEMS = 500_000
MAX_SAME = 100_000
MAX_SERIES = 1_000_000
MAX_HISTORIES = 20_000
POINTS = 120
FORGOTTEN_AFTER_MS = 86_400_000
"""As long as readings are kept: what was not heard since would not be known after a restart either."""

FORGET_EVERY_SECONDS = 600.0
NOTICE_SECONDS = 2.0

T = TypeVar("T")

Series = tuple[str, str | None]
"""Metric and instance."""


class History:
    """The last points of a series, 16 bytes each."""

    __slots__ = ("_times", "_values")

    def __init__(self) -> None:
        self._times = array("q")
        self._values = array("d")

    def append(self, time: int, value: float) -> None:
        if len(self._times) == POINTS:
            del self._times[0], self._values[0]
        self._times.append(time)
        self._values.append(value)

    def points(self) -> list[tuple[int, float]]:
        """Oldest first."""
        return list(zip(self._times, self._values, strict=False))  # one more may come in between


@dataclass(slots=True)
class Latest:
    """The newest reading of one series, and some before it."""

    value: float
    time: int
    history: History | None = None


@dataclass(slots=True)
class SystemView:
    """One system as it was last heard."""

    heard: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    series: dict[Series, Latest] = field(default_factory=dict)


UNHEARD: Final = SystemView()
"""In the place of one that has been forgotten since its name was read."""


class Systems:
    """Filled by one thread, safe to read from any: what is handed out is not changed but for numbers in it."""

    def __init__(self) -> None:
        self.by_name: dict[str, SystemView] = {}
        self.metrics: dict[str, int] = {}  # how many series each has
        self._histories = 0
        self._series = 0
        self._names: tuple[list[str], list[str]] = ([], [])  # sorted, and each of them folded
        self._new: list[str] = []
        self._same: dict[Hashable, Any] = {}  # one object for equal names of series, and for equal tags
        self._sorting = threading.Lock()

    def take(self, payload: bytes | None) -> str | None:
        """One message; the system it was of."""
        system = None
        for reading in check(payload or b"").good:
            system = reading.system
            view = self.by_name.get(system)
            if view is None:
                if len(self.by_name) >= MAX_SYSTEMS:
                    return None
                view = self.by_name[system] = SystemView()
                with self._sorting:
                    self._new.append(system)
            if reading.time >= view.heard:
                view.heard = reading.time
                if reading.tags:
                    view.tags = self._one(tuple(reading.tags.items()), reading.tags)
            self._note(view, (reading.metric, reading.instance), reading.time, reading.value)
        return system

    def _one(self, key: Hashable, value: T) -> T:
        if len(self._same) > MAX_SAME:
            self._same.clear()
        found: T = self._same.setdefault(key, value)
        return found

    def _note(self, view: SystemView, series: Series, time: int, value: float) -> None:
        latest = view.series.get(series)
        if latest is None:
            if self._series >= MAX_SERIES:
                return
            history = History() if self._histories < MAX_HISTORIES else None
            self._histories += history is not None
            self._series += 1
            self.metrics[series[0]] = self.metrics.get(series[0], 0) + 1
            latest = view.series[self._one(series, series)] = Latest(value, time, history)
        elif time > latest.time:
            latest.value, latest.time = value, time
        else:
            return
        if latest.history is not None:
            latest.history.append(time, value)

    def forget(self, before: int) -> int:
        """Systems not heard since then; how many those were. By the thread that fills."""
        gone = [name for name, view in self.by_name.items() if view.heard < before]
        for name in gone:
            view = self.by_name.pop(name)
            for (metric, _), latest in view.series.items():
                self._series -= 1
                self._histories -= latest.history is not None
                self.metrics[metric] -= 1
                if not self.metrics[metric]:
                    del self.metrics[metric]
        if gone:
            with self._sorting:
                names = sorted(self.by_name)
                self._new, self._names = [], (names, [name.casefold() for name in names])
        return len(gone)

    def names(self, search: str = "") -> list[str]:
        """All of them, or those that hold this text, however it is written; sorted. Not to be changed."""
        with self._sorting:
            new, self._new = self._new, []
            if new:
                names = sorted([*self._names[0], *new])  # nearly sorted already: soon done
                self._names = names, [name.casefold() for name in names]
            names, folded = self._names
        wanted = search.casefold()
        return [name for name, text in zip(names, folded, strict=True) if wanted in text] if wanted else names

    def reporting(self, now: int, within: int) -> int:
        return sum(view.heard > now - within for view in list(self.by_name.values()))


class SystemsFeed:
    """Fills Systems on a thread of its own."""

    def __init__(
        self, settings: CommonSettings, systems: Systems, clock: Clock, changed: Callable[[set[str]], None]
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._systems = systems
        self._changed = changed
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="systems", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._follow()
            except Exception:
                log.exception("what systems report cannot be read; trying again")
                self._closing.wait(5.0)

    def _follow(self) -> None:
        topic = self._settings.topic(SENSOR_READINGS)
        count = kafka.check_topics(self._settings, [SENSOR_READINGS])[SENSOR_READINGS]
        found = ends_of(self._settings, [(topic, number) for number in range(count)])
        reader = kafka.consumer(
            self._settings.kafka,
            f"tocsin-console-{uuid.uuid4()}",
            fetch_wait_max_ms=200,
            **QUEUED,
        )
        try:
            places = [TopicPartition(*place, max(first, end - BACKLOG)) for place, (first, end) in found.items()]
            reader.assign(places)
            self._read(reader)
        finally:
            reader.close()

    def _read(self, reader: Consumer) -> None:
        touched: set[str] = set()
        batches = 0
        forget_at = time.monotonic() + FORGET_EVERY_SECONDS
        while not self._closing.is_set():
            messages = reader.consume(AT_ONCE, PAUSE_SECONDS)
            for message in messages:
                if message.error() is None and (system := self._systems.take(message.value())) is not None:
                    touched.add(f"system:{system}")
            batches += 1
            if touched and batches * PAUSE_SECONDS >= NOTICE_SECONDS:
                self._changed({"systems", *list(touched)[:500]})
                touched, batches = set(), 0
            if time.monotonic() >= forget_at:
                forget_at = time.monotonic() + FORGET_EVERY_SECONDS
                self._systems.forget(self._clock.now_ms() - FORGOTTEN_AFTER_MS)
            if len(messages) == AT_ONCE:
                self._closing.wait(PAUSE_SECONDS)
                self._skip(reader)

    def _skip(self, reader: Consumer) -> None:
        """To the newest, where more waits than can be caught up with."""
        for place in reader.position(reader.assignment()):
            _, end = reader.get_watermark_offsets(place, cached=True)
            if place.offset >= 0 and end - place.offset > 2 * BACKLOG:
                reader.seek(TopicPartition(place.topic, place.partition, end - AT_ONCE))
