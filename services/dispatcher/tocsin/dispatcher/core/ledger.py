"""The proof that nobody was forgotten: every routed (delivery, replay) has one end, or still waits. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tocsin.shared.schemas.audit import TERMINAL

Key = tuple[str, int]
"""(delivery id, replay number)."""


@dataclass(slots=True)
class _Entry:
    routed_ms: int | None = None
    judged: bool = True  # routed early enough to be expected in the waiting records
    terminals: int = 0
    last_ms: int = 0


@dataclass(frozen=True)
class LedgerReport:
    """What the audit and the waiting records say together."""

    routed: int
    ended: dict[str, int]  # by terminal kind
    suppressed: int
    open: int
    oldest_open_ms: int | None  # when it was routed
    missing: tuple[Key, ...]  # routed, no end, and waiting nowhere
    doubled: tuple[Key, ...]  # more than one end
    unknown: tuple[Key, ...]  # an end, or a waiting record, but never routed
    attempts: dict[str, int] = field(default_factory=dict)  # by outcome

    @property
    def clean(self) -> bool:
        return not (self.missing or self.doubled or self.unknown)


class Ledger:
    """Fed with records in any order."""

    def __init__(self, since_ms: int = 0) -> None:
        """Deliveries routed before `since_ms` are left out."""
        self._since = since_ms
        self._entries: dict[Key, _Entry] = {}
        self._kinds: dict[Key, str] = {}
        self._suppressed = 0
        self._attempts: Counter[str] = Counter()

    def audited(self, key: Key, kind: str, time_ms: int, *, outcome: str | None = None, judged: bool = True) -> None:
        """`judged` is False for a record written after the waiting ones were looked at: it may wait unseen."""
        if kind == "suppressed":
            self._suppressed += time_ms >= self._since
            return
        if kind == "attempt":
            if time_ms >= self._since:
                self._attempts[outcome or "unknown"] += 1
            return
        entry = self._entries.setdefault(key, _Entry())
        entry.last_ms = max(entry.last_ms, time_ms)
        if kind == "routed":
            entry.routed_ms = time_ms if entry.routed_ms is None else min(entry.routed_ms, time_ms)
            entry.judged = judged
        elif kind in TERMINAL:
            entry.terminals += 1
            self._kinds[key] = kind

    def report(self, waiting: Iterable[Key]) -> LedgerReport:
        """`waiting` are the keys of all records in `deliveries`, retry topics or parked that are not settled."""
        still = set(waiting)
        ended: Counter[str] = Counter()
        missing: list[Key] = []
        doubled: list[Key] = []
        unknown: list[Key] = []
        routed = opened = 0
        oldest: int | None = None
        for key, entry in self._entries.items():
            if (entry.last_ms if entry.routed_ms is None else entry.routed_ms) < self._since:
                continue
            routed += entry.routed_ms is not None
            if entry.routed_ms is None:
                unknown.append(key)
            if entry.terminals > 1:
                doubled.append(key)
            if entry.terminals:
                ended[self._kinds[key]] += 1
            elif key in still or not entry.judged:
                opened += 1
                oldest = entry.routed_ms if oldest is None else min(oldest, entry.routed_ms or oldest)
            elif entry.routed_ms is not None:
                missing.append(key)
        unknown += [key for key in still if key not in self._entries] if not self._since else []
        return LedgerReport(
            routed=routed,
            ended=dict(sorted(ended.items())),
            suppressed=self._suppressed,
            open=opened,
            oldest_open_ms=oldest,
            missing=tuple(sorted(missing)),
            doubled=tuple(sorted(doubled)),
            unknown=tuple(sorted(unknown)),
            attempts=dict(sorted(self._attempts.items())),
        )
