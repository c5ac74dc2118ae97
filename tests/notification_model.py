"""The life of a notification, told slowly and obviously: minute by minute, nothing remembered but what is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = 60_000


@dataclass(frozen=True)
class Options:
    """In minutes."""

    for_: int = 0
    remind_every: int = 0
    cooldown: int = 0
    silences: tuple[tuple[int, int], ...] = ()  # from, until
    slots: Mapping[str, list[str]] | None = None  # ranges by day of the week; none: any time
    zone: str = "UTC"


@dataclass
class Model:
    """`begin` is when minute 0 is, epoch ms."""

    options: Options
    begin: int
    told: list[tuple[int, str, int | None]] = field(default_factory=list)  # minute, kind, number of a reminder
    since: int | None = None  # reached without a break
    opened: int | None = None
    announced: int | None = None
    resolved: int | None = None  # the last that had been announced
    owes_the_end: bool = False

    def run(self, reached: Sequence[bool]) -> list[tuple[int, str, int | None]]:
        """`reached` by minute."""
        for now, is_reached in enumerate(reached):
            self.live(now, is_reached)
            if self.may_send(now):
                self.tell(now)
        return self.told

    def live(self, now: int, is_reached: bool) -> None:
        if is_reached:
            self.since = now if self.since is None else self.since
            if self.opened is None and now - self.since >= self.options.for_:
                self.opened = now
            return
        if self.opened is not None and self.announced is not None:
            self.owes_the_end, self.resolved = True, now
        self.since = self.opened = self.announced = None

    def tell(self, now: int) -> None:
        if self.owes_the_end:
            self.told.append((now, "resolved", None))
            self.owes_the_end = False
        if self.opened is None:
            return
        if self.announced is None:
            if self.resolved is None or now >= self.resolved + self.options.cooldown:
                self.told.append((now, "activated", None))
                self.announced = now
        elif self.options.remind_every:
            number, rest = divmod(now - self.opened, self.options.remind_every)
            if rest == 0 and number > 0:
                self.told.append((now, "reminder", number))

    def may_send(self, minute: int) -> bool:
        if any(start <= minute < until for start, until in self.options.silences):
            return False
        if self.options.slots is None:
            return True
        at = datetime.fromtimestamp(self.begin / 1000, UTC) + timedelta(minutes=minute)
        local = at.astimezone(ZoneInfo(self.options.zone))
        clock = f"{local:%H:%M}"
        for given in self.options.slots.get(f"{local:%a}".lower(), []):
            start, _, end = given.partition("-")
            if start <= clock < end:
                return True
        return False
