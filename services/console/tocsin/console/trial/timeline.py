"""A run for people: what happened when, and the figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tocsin.console.table import render_table
from tocsin.evaluator.backtest.events import Event, NotificationEvent, SensorEvent
from tocsin.evaluator.backtest.summary import Span, Summary, sparkline
from tocsin.shared.times import format_duration, format_rfc3339

SHOWN_SYSTEMS = 5
_DAY = len("2026-11-23")


class Timeline:
    """Lines of events; the day is written only when it changes. `most`: 0 for all."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._day = ""
        self.count = 0

    def lines(self, event: Event) -> Iterator[str]:
        self.count += 1
        if self._most and self.count > self._most:
            return
        text = format_rfc3339(event.time).removesuffix("Z").replace(".000", "")
        if text[:_DAY] != self._day:
            self._day = text[:_DAY]
            yield f"{self._day} (UTC)"
        yield f"  {text[_DAY + 1 :]:<12}  {_what(event)}"

    @property
    def left_out(self) -> int:
        return max(0, self.count - self._most) if self._most else 0


def _what(event: Event) -> str:
    match event:
        case SensorEvent():
            where = event.system if event.instance is None else f"{event.system} ({event.instance})"
            state = event.state if event.level is None else f"{event.state} ({event.level})"
            value = "" if event.value is None else f" at {event.value:.6g}"
            return _printable(f"sensor        {event.sensor}: {state} on {where}{value}")
        case NotificationEvent():
            shown = ", ".join(event.systems[:SHOWN_SYSTEMS])
            more = f" and {event.matched - SHOWN_SYSTEMS} more" if event.matched > SHOWN_SYSTEMS else ""
            counts = f"{event.matched} of {event.reporting} reporting"
            systems = f" ({shown}{more})" if shown else ""
            return _printable(f"notification  {event.notification}: {event.state}, {counts}{systems}")


def summary_lines(summary: Summary, span: Span | None) -> Iterator[str]:
    """Tables of sensors and notifications. No span: there was no reading."""
    if span is None:
        yield "There was no reading."
        return
    rows = [
        [
            one.name,
            str(len(one.times)) + (f" ({one.open} still)" if one.open else ""),
            _length(one.total),
            f"{100 * one.share:.2f} %",
            _length(one.longest),
            ", ".join(f"{system} {count}" for system, count in one.noisiest()),
            sparkline(one.times, span),
        ]
        for one in summary.sensors.values()
    ]
    yield from _table(["sensor", "triggered", "for", "share of time", "longest", "noisiest systems", "when"], rows)
    for one in summary.sensors.values():
        if not one.series:
            yield _printable(f"No reading has the metric of sensor {one.name}.")
    if summary.notifications:
        yield ""
        rows = [
            [
                one.name,
                str(len(one.times)) + (" (1 still)" if one.open else ""),
                _length(one.total),
                f"{100 * one.total / span.length:.2f} %" if span.length else "",
                _length(one.longest),
                sparkline(one.times, span),
            ]
            for one in summary.notifications.values()
        ]
        yield from _table(["notification", "activated", "for", "share of time", "longest", "when"], rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield from render_table(header, rows)


def _length(milliseconds: int) -> str:
    """Short: two units."""
    if not milliseconds:
        return "-"
    if milliseconds >= 86_400_000:
        return format_duration(milliseconds // 3_600_000 * 3_600_000)
    if milliseconds >= 3_600_000:
        return format_duration(milliseconds // 60_000 * 60_000)
    return format_duration(milliseconds // 1000 * 1000) if milliseconds >= 1000 else format_duration(milliseconds)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
