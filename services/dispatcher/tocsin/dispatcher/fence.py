"""A process cut off from the broker stops sending by itself: by then somebody else may own its partitions."""

from __future__ import annotations

from tocsin.shared.clock import Clock
from tocsin.shared.kafka import SESSION_TIMEOUT_MS
from tocsin.shared.telemetry import metrics


class Fence:
    """Closed while results wait for the broker longer than a session lasts.

    Without results waiting there is nothing to tell by; then the client itself gives the partitions up after its
    session timeout, and nothing of them is started any more.
    """

    def __init__(self, clock: Clock, after_s: float = SESSION_TIMEOUT_MS / 1000) -> None:
        self._clock = clock
        self._after = after_s
        self._waiting_since: float | None = None

    def waiting(self) -> None:
        """A transaction has begun, or begins anew after a failure."""
        if self._waiting_since is None:
            self._waiting_since = self._clock.monotonic()

    def confirmed(self) -> None:
        """The broker has committed it: the partitions are ours."""
        self._waiting_since = None
        metrics.SENDING_FENCED.set(0)

    @property
    def closed(self) -> bool:
        since = self._waiting_since
        if since is None or self._clock.monotonic() - since < self._after:
            return False
        metrics.SENDING_FENCED.set(1)
        return True
