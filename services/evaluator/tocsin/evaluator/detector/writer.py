"""The writing thread: one transaction at a time, then its tallies, while the worker goes on judging.

A transaction commits only after the tallies of the one before are acknowledged.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tocsin.evaluator.detector.engine import Counts
from tocsin.evaluator.detector.output import Output
from tocsin.evaluator.detector.settings import DetectorSettings
from tocsin.evaluator.detector.tallies import TallySender
from tocsin.evaluator.detector.transactions import Transactions
from tocsin.shared.clock import Clock
from tocsin.shared.errors import BrokerError
from tocsin.shared.schemas.tally import Tally
from tocsin.shared.telemetry import metrics


@dataclass(frozen=True)
class Job:
    """What is committed together, and what may be said once it is."""

    output: Output
    metadata: Any  # the group's
    tallies: list[Tally] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    taken_at: float | None = None  # monotonic: when its first reading was taken from the broker


class Writer:
    """After a failure nobody knows what counts: whoever submits or waits next gets it raised, and begins anew."""

    def __init__(
        self, settings: DetectorSettings, clock: Clock, give_up: Callable[[], bool], at: Callable[[str], None]
    ) -> None:
        self._clock = clock
        self._give_up = give_up
        self._transactions = Transactions(settings, at)
        self._sender = TallySender(settings)
        self._jobs: queue.Queue[Job] = queue.Queue(1)
        self._idle = threading.Event()
        self._idle.set()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="write", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def idle(self) -> bool:
        return self._idle.is_set()

    def renew(self) -> None:
        """A usable producer, the open ends of the one before settled. Only when idle. Raises KafkaException."""
        if not self._transactions.usable:
            self._transactions.renew()

    def submit(self, job: Job) -> None:
        """Waits for the job before. Raises its failure: KafkaException, BrokerError."""
        self.wait()
        self._idle.clear()
        self._jobs.put(job)

    def wait(self) -> None:
        """Until all is written. Raises the failure: KafkaException, BrokerError."""
        self._idle.wait()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def close(self) -> None:
        if self.idle:
            self._sender.close()

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                self._write(job)
            except BaseException as error:  # noqa: BLE001  the worker raises it
                self._transactions.drop()
                self._failure = error
            finally:
                self._idle.set()

    def _write(self, job: Job) -> None:
        if not job.output.empty:
            # Tallies of the one before are on their way while this one's records are handed to the client.
            self._transactions.write(job.output, job.metadata, self._settle)
            self._observe(job)
        if job.tallies:
            self._sender.send(job.tallies)

    def _settle(self) -> None:
        if not self._sender.settle(self._give_up):
            raise BrokerError("tallies were not acknowledged")

    def _observe(self, job: Job) -> None:
        metrics.READINGS_EVALUATED.inc(job.counts.evaluated)
        metrics.READINGS_LATE.inc(job.counts.late)
        metrics.READINGS_REPEATED.inc(job.counts.repeated)
        metrics.READINGS_AHEAD.inc(job.counts.ahead)
        for _, rejections in job.output.rejected:
            for rejection in rejections:
                metrics.READINGS_REJECTED.labels(rejection.reason).inc()
        for state, count in Counter(change.state for change in job.output.changes).items():
            metrics.SENSOR_CHANGES.labels(state).inc(count)
        if job.taken_at is not None:
            metrics.DETECTOR_BATCH_SECONDS.observe(self._clock.monotonic() - job.taken_at)
