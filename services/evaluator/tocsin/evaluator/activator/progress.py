"""Does the activator get on? Asked of the broker, past Faust, which can hang without an error.

Known hangs: a recovery that waits for a changelog record that never comes, and commits that stop. Ticks make every
owned partition grow once a second, so a commit that stands still is a hang.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from tocsin.evaluator.activator.offsets import TIMEOUT_S, LogView, Position
from tocsin.shared.clock import Clock

CHECK_EVERY_S = 3.0
JOINING = 2
"""Times the patience: a member that died holds up a join until its session has run out."""


class Progress:
    """Counts the time without progress; only time in which the broker answered. Pure."""

    def __init__(self, patience_s: float) -> None:
        self._patience = patience_s
        self._still: dict[int, float] = {}  # seconds without a move, by partition
        self._last: dict[int, int] = {}
        self._unassigned = 0.0
        self._step: int | None = None
        self._step_still = 0.0

    def observe(
        self,
        elapsed_s: float,
        working: bool,
        positions: Mapping[int, Position] | None,
        step: int | None = None,
    ) -> str | None:
        """Why it is stuck, or None. `positions` of the owned partitions; None: the broker did not answer.

        `step` changes whenever a recovery gets on; None: no recovery is under way.
        """
        if positions is None:
            return None
        # A suspended machine or a slow answer is not time in which anything could have moved.
        elapsed = min(elapsed_s, 2 * (CHECK_EVERY_S + TIMEOUT_S))
        still = step is not None and step == self._step
        self._step, self._step_still = step, self._step_still + elapsed if still else 0.0
        if self._step_still > self._patience:
            return f"recovery stands still for {self._step_still:.0f} s"
        self._unassigned = 0.0 if working or step is not None else self._unassigned + elapsed
        if self._unassigned > JOINING * self._patience:
            return f"no partitions assigned for {self._unassigned:.0f} s"
        for partition in set(self._last) - set(positions):
            del self._last[partition], self._still[partition]
        for partition, position in positions.items():
            moved = self._last.get(partition) != position.committed or position.committed >= position.end
            self._last[partition] = position.committed
            self._still[partition] = 0.0 if moved or not working else self._still.get(partition, 0.0) + elapsed
            if self._still[partition] > self._patience:
                behind = position.end - position.start
                return f"partition {partition} stands still for {self._still[partition]:.0f} s, {behind} behind"
        return None


class ProgressWatch:
    """Asks on a thread of its own until closed."""

    def __init__(
        self,
        view: LogView,
        progress: Progress,
        clock: Clock,
        *,
        owned: Callable[[], set[int] | None],
        step: Callable[[], int | None],
        stuck: Callable[[str], None],
    ) -> None:
        self.broker_answers = True
        self._view = view
        self._progress = progress
        self._clock = clock
        self._owned = owned  # None: joining or recovering
        self._step = step
        self._stuck = stuck
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join(3 * TIMEOUT_S)

    def _run(self) -> None:
        last = self._clock.monotonic()
        while not self._closing.wait(CHECK_EVERY_S):
            owned = self._owned()
            positions = self._view.positions(owned or set())
            self.broker_answers = positions is not None
            now = self._clock.monotonic()
            why = self._progress.observe(now - last, owned is not None, positions, self._step())
            last = now
            if why is not None and not self._closing.is_set():
                self._stuck(why)
