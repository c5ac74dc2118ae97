"""Detectors as processes of their own, on topics of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from detecting import reading
from support import produce, read_all
from tocsin.evaluator.detector.settings import DetectorSettings
from tocsin.shared import kafka
from tocsin.shared.schemas.change import SensorChange
from tocsin.shared.schemas.tally import Tally
from tocsin.shared.topics import NOTIFICATION_TALLIES, SENSOR_CHANGES, SENSOR_READINGS

COMMAND = (sys.executable, "-m", "tocsin.console.cli")


class Detectors:
    """Processes, and what they read and write."""

    def __init__(self, settings: DetectorSettings, folder: Path) -> None:
        self.settings = settings
        self.folder = folder
        self.producer = kafka.producer(settings.kafka)
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, instance: str = "1", **environment: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"detector-{len(self.running)}.log").open("wb") as log:
            process = subprocess.Popen(
                [*COMMAND, "run", "detector"],
                env={**self._environment(), "TOCSIN_INSTANCE": instance, "TOCSIN_LOG_FORMAT": "json", **environment},
                stderr=log,
            )
        self.running.append(process)
        return process

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = self._environment()
        return subprocess.run(
            [*COMMAND, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def _environment(self) -> dict[str, str]:
        known = {name: value for name, value in os.environ.items() if not name.startswith(("TOCSIN_", "KAFKA_"))}
        return {
            **known,
            "KAFKA_BOOTSTRAP_SERVERS": self.settings.kafka.bootstrap_servers,
            "TOCSIN_TOPIC_PREFIX": self.settings.topic_prefix,
            "TOCSIN_STATE_DIR": str(self.folder),
        }

    def send(self, *readings: tuple[str, str, float, int], **more: Any) -> None:
        values = [
            (system.encode(), reading(system, metric, value, at, **more)) for system, metric, value, at in readings
        ]
        produce(self.producer, self.settings.topic(SENSOR_READINGS), values)

    def changes(self) -> list[SensorChange]:
        return [SensorChange.decode(message.value()) for message in read_all(self.settings, SENSOR_CHANGES)]

    def tallies(self) -> dict[tuple[str, int], Tally]:
        """The newest of each notification and partition."""
        found: dict[tuple[str, int], Tally] = {}
        for message in read_all(self.settings, NOTIFICATION_TALLIES):
            tally = Tally.decode(message.value())
            last = found.get((tally.notification_id, tally.partition))
            if last is None or (tally.epoch, tally.counter) > (last.epoch, last.counter):
                found[tally.notification_id, tally.partition] = tally
        return found

    def log(self, number: int | None = None) -> str:
        """What the process wrote that was started as this one, from 0; or all of them."""
        which = "*" if number is None else str(number)
        return "\n".join(path.read_text() for path in sorted(self.folder.glob(f"detector-{which}.log")))

    def end(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.wait()
