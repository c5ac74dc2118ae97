"""What systems have reported lately: the newest value of each series, and a short history of some.

Made from the end of `sensor-readings`, not from its beginning, and never at the price of the machine: when readings
come faster than this thread may read, it skips to the newest. So a system may be shown as heard a little earlier than
it was; what the detector knows is in `sensor-changes`.
"""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from confluent_kafka import Consumer, TopicPartition

from tocsin.dispatcher.reading import ends_of
from tocsin.shared import kafka
from tocsin.shared.readings import check
from tocsin.shared.settings import CommonSettings
from tocsin.shared.telemetry.logs import logger
from tocsin.shared.topics import SENSOR_READINGS

log = logger(__name__)

BACKLOG = 100_000
"""Readings of each partition that are looked at when the console starts."""
AT_ONCE = 2_000
PAUSE_SECONDS = 0.1
"""Between batches: at most 20,000 messages a second, a fifth of one core."""
MAX_SERIES = 1_000_000
MAX_HISTORIES = 20_000
POINTS = 120
NOTICE_SECONDS = 2.0

Series = tuple[str, str | None]
"""Metric and instance."""


@dataclass(slots=True)
class Latest:
    """The newest reading of one series, and some before it."""

    value: float
    time: int
    history: deque[tuple[int, float]] | None = None


@dataclass(slots=True)
class SystemView:
    """One system as it was last heard."""

    heard: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    series: dict[Series, Latest] = field(default_factory=dict)


class Systems:
    """Safe to read from any thread: what is handed out is not changed but for numbers in it."""

    def __init__(self) -> None:
        self.by_name: dict[str, SystemView] = {}
        self.metrics: dict[str, int] = {}  # how many series each has
        self._histories = 0
        self._series = 0
        self._sorted: list[str] = []

    def take(self, payload: bytes | None) -> str | None:
        """One message; the system it was of."""
        system = None
        for reading in check(payload or b"").good:
            system = reading.system
            view = self.by_name.get(system)
            if view is None:
                view = self.by_name[system] = SystemView()
            if reading.time >= view.heard:
                view.heard = reading.time
                if reading.tags:
                    view.tags = reading.tags
            self._note(view, (reading.metric, reading.instance), reading.time, reading.value)
        return system

    def _note(self, view: SystemView, series: Series, time: int, value: float) -> None:
        latest = view.series.get(series)
        if latest is None:
            if self._series >= MAX_SERIES:
                return
            history = deque[tuple[int, float]](maxlen=POINTS) if self._histories < MAX_HISTORIES else None
            self._histories += history is not None
            self._series += 1
            self.metrics[series[0]] = self.metrics.get(series[0], 0) + 1
            latest = view.series[series] = Latest(value, time, history)
        elif time > latest.time:
            latest.value, latest.time = value, time
        else:
            return
        if latest.history is not None:
            latest.history.append((time, value))

    def names(self) -> list[str]:
        """All of them, sorted."""
        if len(self._sorted) != len(self.by_name):
            self._sorted = sorted(self.by_name)
        return self._sorted

    def reporting(self, now: int, within: int) -> int:
        return sum(view.heard > now - within for view in list(self.by_name.values()))


class SystemsFeed:
    """Fills Systems on a thread of its own."""

    def __init__(self, settings: CommonSettings, systems: Systems, changed: Callable[[set[str]], None]) -> None:
        self._settings = settings
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
        reader = kafka.consumer(self._settings.kafka, f"tocsin-console-{uuid.uuid4()}", fetch_wait_max_ms=200)
        try:
            places = [TopicPartition(*place, max(first, end - BACKLOG)) for place, (first, end) in found.items()]
            reader.assign(places)
            self._read(reader)
        finally:
            reader.close()

    def _read(self, reader: Consumer) -> None:
        touched: set[str] = set()
        batches = 0
        while not self._closing.is_set():
            messages = reader.consume(AT_ONCE, PAUSE_SECONDS)
            for message in messages:
                if message.error() is None and (system := self._systems.take(message.value())) is not None:
                    touched.add(f"system:{system}")
            batches += 1
            if touched and batches * PAUSE_SECONDS >= NOTICE_SECONDS:
                self._changed({"systems", *list(touched)[:500]})
                touched, batches = set(), 0
            if len(messages) == AT_ONCE:
                self._closing.wait(PAUSE_SECONDS)
                self._skip(reader)

    def _skip(self, reader: Consumer) -> None:
        """To the newest, where more waits than can be caught up with."""
        for place in reader.position(reader.assignment()):
            _, end = reader.get_watermark_offsets(place, cached=True)
            if place.offset >= 0 and end - place.offset > 2 * BACKLOG:
                reader.seek(TopicPartition(place.topic, place.partition, end - AT_ONCE))
