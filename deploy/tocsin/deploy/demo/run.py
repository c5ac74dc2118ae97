"""One run of the demo: makes the load, follows the story, prints its lines."""

from __future__ import annotations

import platform
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from tocsin.deploy.demo.load import CpuLoad
from tocsin.deploy.demo.sources import LineTail, TopicTail, json_lines
from tocsin.deploy.demo.story import Line, Story
from tocsin.deploy.fleet import Fleet
from tocsin.deploy.stack.mail import read_index
from tocsin.shared.clock import SystemClock
from tocsin.shared.topics import DELIVERY_AUDIT, NOTIFICATION_EVENTS, SENSOR_CHANGES, SENSOR_READINGS

STORY_SECONDS = 60.0
QUIET_READINGS = 1
"""Readings shown before the load starts, so that one sees the value rise."""
QUIET_SECONDS = 5.0
RESOLVED_SECONDS = 8.0

_STYLES = {
    "reading": "dim",
    "sensor": "yellow",
    "notification": "bold red",
    "webhook": "green",
    "email": "green",
    "audit": "cyan",
    "load": "magenta",
}


class Run:
    """Single-threaded: each turn looks everywhere once."""

    def __init__(self, console: Console, fleet: Fleet, load: CpuLoad, tail: TopicTail, state_dir: Path) -> None:
        self._console = console
        self._fleet = fleet
        self._load = load
        self._tail = tail
        self._clock = SystemClock()
        self._receiver = LineTail(state_dir / "logs" / "receiver.log")
        self._mail_dir = state_dir / "mail"
        self._mails_known = len(read_index(self._mail_dir))
        self._story = Story(platform.node(), self._clock.now_ms())
        self._readings = 0
        self._show_readings = True

    def until_seen(self) -> list[str]:
        """What is missing when the time is up; nothing when all has been seen."""
        try:
            self._until_loaded()
            until = time.monotonic() + STORY_SECONDS
            while self._story.event_id is None and time.monotonic() < until:
                self._turn()
        finally:
            self._load.stop()
        self._print(Line(self._clock.now_ms(), "load", "stopped"))
        while self._story.missing() and time.monotonic() < until:
            self._turn()
        missing = self._story.missing()
        if not missing:
            self._until_resolved()
        return missing

    def forever(self, missing: list[str]) -> None:
        """Go on showing what happens, until interrupted; the readings no more: they come every second."""
        self._show_readings = False
        for part in missing:
            self._console.print(f"\nNot seen yet: {part}", style="bold yellow", markup=False)
        self._console.print("\nGoing on until Ctrl-C.")
        while True:
            self._turn()

    def _until_loaded(self) -> None:
        until = time.monotonic() + QUIET_SECONDS
        while self._readings < QUIET_READINGS and time.monotonic() < until:
            self._turn()
        processors = self._load.start()
        self._print(Line(self._clock.now_ms(), "load", f"{processors} processors busy from now on"))

    def _until_resolved(self) -> None:
        until = time.monotonic() + RESOLVED_SECONDS
        while not self._story.is_over and time.monotonic() < until:
            self._turn()
        if self._story.resolved_event_id is None:
            self._print(Line(self._clock.now_ms(), "load", "not resolved yet: something else keeps this host busy"))

    def _turn(self) -> None:
        for topic, time_ms, record in self._tail.take(0.1):
            for line in self._observe(topic, time_ms, record):
                self._print(line)
        for record in json_lines(self._receiver.take()):
            if "verified" in record:
                self._print(Line(self._clock.now_ms(), "webhook", self._story.webhook(record)))
        for mail in read_index(self._mail_dir)[self._mails_known :]:
            self._mails_known += 1
            text = self._story.mail(mail.message_id, ", ".join(mail.recipients), mail.subject)
            self._print(Line(mail.time_ms, "email", text))
        for name, code in self._fleet.restart_ended():
            self._print(Line(self._clock.now_ms(), "process", f"{name} ended with exit code {code}; started again"))

    def _observe(self, topic: str, time_ms: int, record: dict[str, Any]) -> list[Line]:
        story = self._story
        text: str | None = None
        stage = ""
        if topic == SENSOR_READINGS:
            stage, text = "reading", self._reading(record)
        elif topic == SENSOR_CHANGES:
            stage, text = "sensor", story.change(record)
        elif topic == NOTIFICATION_EVENTS:
            stage, text = "notification", story.event(record)
        elif topic == DELIVERY_AUDIT:
            stage, text = "audit", story.audit(record)
        return [] if text is None else [Line(time_ms, stage, text)]

    def _reading(self, record: dict[str, Any]) -> str | None:
        if record.get("system") != self._story.system:
            return None
        for reading in record.get("readings") or [record]:
            if reading.get("metric") == "cpu.percent" and reading.get("instance") is None:
                self._readings += 1
                text = self._story.reading(float(reading["value"]))
                return text if self._show_readings else None
        return None

    def _print(self, line: Line) -> None:
        at = datetime.fromtimestamp(line.time_ms / 1000).astimezone()
        text = f"{at:%H:%M:%S}.{line.time_ms % 1000:03d}  {line.stage:<13} {line.text}"
        self._console.print(text, style=_STYLES.get(line.stage), markup=False)
