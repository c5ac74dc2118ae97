"""How much may be in the gateway at once, so that memory stays bounded while the broker is slow or away."""

from __future__ import annotations

from dataclasses import dataclass

MESSAGE_BYTES = 1024
"""What a small message costs in the client's queue beside its content: its headers, its record, its callback."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of all requests together."""

    requests: int
    size: int  # bytes


class Admission:
    """Counts what has been let in. Not for several threads."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.requests = 0
        self.size = 0

    def enter(self) -> Lease | None:
        """A place for one request, or None when there are too many."""
        if self.requests >= self.limits.requests:
            return None
        self.requests += 1
        return Lease(self)


class Lease:
    """What one request holds. Give it back exactly when its messages are settled."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.size = 0

    def take(self, size: int) -> bool:
        """More bytes for this request; False, and nothing taken, when they do not fit now."""
        if self._admission.size + size > self._admission.limits.size:
            return False
        self._admission.size += size
        self.size += size
        return True

    def put_back(self, size: int) -> None:
        """Of what was taken, this much is not needed after all."""
        self._admission.size -= size
        self.size -= size

    def give_back(self) -> None:
        """All of it, and the place."""
        self._admission.size -= self.size
        self._admission.requests -= 1
        self.size = 0
