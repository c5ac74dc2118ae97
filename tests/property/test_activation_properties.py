"""Whatever is repeated, stale or killed: the events, folded by id, are those of the log read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.evaluator.core.activation import Place
from tocsin.evaluator.core.activation_partition import TICK_KEY, Record, Taken, take
from tocsin.evaluator.core.activation_row import Pending, Row, decode_row, encode_row
from tocsin.evaluator.core.lifecycle import State
from tocsin.evaluator.core.notification import Rulebook, reached
from tocsin.shared.configuration.condition import parse_condition
from tocsin.shared.configuration.records import (
    Matcher,
    Notification,
    Sensor,
    SensorUse,
    Settings,
    Silence,
    ThresholdSpec,
)
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.schemas.tally import Tally, Tick

NOTIFICATIONS = ("n1", "n2")
INPUTS = 2
T0 = 1_764_000_000_000
THRESHOLDS = (ThresholdSpec(value=Decimal(2), is_percent=False), ThresholdSpec(value=Decimal(50), is_percent=True))


def book(change: int, threshold: ThresholdSpec, **options: int) -> Rulebook:
    notifications = {
        name: Notification(
            id=name, name=name, sensors=(SensorUse(sensor_id="s"),), threshold=threshold, recipient_ids=(), **options
        )
        for name in NOTIFICATIONS
    }
    silence = Silence(
        id="q",
        name="q",
        matchers=(Matcher(field="notification", pattern="n1"),),
        starts_at=T0 + 3_000,
        until=T0 + 8_100,
    )
    sensor = Sensor(id="s", name="S", metric="m", trigger=parse_condition("> 1"))
    return Rulebook.of(
        Configuration(
            change=change,
            sensors={"s": sensor},
            notifications=notifications,
            silences={"q": silence} if options else {},
            settings=Settings(id="d", name="deployment", tenant_id="t"),
        ),
        "http://console",
    )


BOOKS = (book(1, THRESHOLDS[0]), book(2, THRESHOLDS[1]))
WITH_OPTIONS = book(1, THRESHOLDS[0], for_=600, remind_every=90, cooldown=1_700)
"""Reminders faster than the log: more of them fall due at once than may go out at once."""


@dataclass(frozen=True)
class Line:
    """What a generated log is made of; its place gives the version and the time."""

    notification: str | None  # None: a tick
    partition: int = 0
    matched: int = 0
    more: int = 0  # reporting, but not matched
    book: int = 0


lines = st.lists(
    st.one_of(
        st.just(Line(None)),
        st.builds(
            Line,
            st.sampled_from(NOTIFICATIONS),
            st.integers(0, INPUTS - 1),
            st.integers(0, 3),
            st.integers(0, 3),
            st.just(0),
        ),
    ),
    max_size=40,
)


def records(log: Sequence[Line], rules: Rulebook = BOOKS[0]) -> list[Record]:
    return [record_of(line, offset, books=(rules,)) for offset, line in enumerate(log)]


def record_of(line: Line, offset: int, version: int | None = None, books: Sequence[Rulebook] = BOOKS) -> Record:
    now = T0 + offset * 500
    place = Place(0, offset, now)
    if line.notification is None:
        return Record(TICK_KEY, Tick(time=now).encode(), place)
    tally = Tally(
        notification_id=line.notification,
        revision=books[line.book].rules[line.notification].revision,
        partition=line.partition,
        partitions=INPUTS,
        epoch=1 + (offset if version is None else version) // 10,
        counter=offset if version is None else version,
        matched=line.matched,
        reporting=line.matched + line.more,
        systems=tuple(f"s{number}" for number in range(line.matched)),
        total=line.matched,
        time=now,
        sent_at=now,
    )
    return Record(line.notification.encode(), tally.encode(), place)


class Reader:
    """The activator without Kafka: rows that are written, events that are sent."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.sent: dict[str, int] = {}
        self.events: list[tuple[str, Pending]] = []

    def take(self, record: Record, rules: Rulebook, *, passes: int = 1_000, send: bool = True) -> None:
        """`passes`: killed after so many of those that the record needs, its last events out or not."""
        for at in range(passes):
            taken = take(record, 1, self.rows, self.sent, rules)
            assert isinstance(taken, Taken), taken
            for write in taken.writes:
                if write.row is None:
                    del self.rows[write.notification_id]
                else:
                    assert len(write.row.outbox) <= 12
                    self.rows[write.notification_id] = write.row
                for event in write.events if send or at + 1 < passes else ():
                    self.send(write.notification_id, event)
            if not taken.more:
                return

    def send(self, notification: str, event: Pending) -> None:
        self.events.append((notification, event))
        self.sent[notification] = max(event.place, self.sent.get(notification, 0))

    def recover(self) -> None:
        """As after `kill -9`: the rows from their bytes, and everything in an outbox once more."""
        self.rows = {name: decode_row(encode_row(row)) for name, row in self.rows.items()}
        self.sent = {}
        for name, row in self.rows.items():
            for event in row.outbox:
                self.send(name, event)

    def folded(self) -> list[tuple[str, str]]:
        """Event bytes by notification, each id where it first came."""
        first: dict[str, tuple[str, str]] = {}
        for notification, event in self.events:
            known = first.setdefault(event.id, (notification, event.event + event.activation))
            assert known == (notification, event.event + event.activation), "one id, two contents"
        return sorted(first.values(), key=lambda item: item[0])  # stable: order within a notification stays


def read_once(log: Sequence[Record], rules: Rulebook = BOOKS[0]) -> Reader:
    reader = Reader()
    for record in log:
        reader.take(record, rules)
    return reader


def essence(reader: Reader) -> dict[str, tuple[object, ...]]:
    return {name: (row.standing(), row.counts, row.opened, row.ordinal, row.time) for name, row in reader.rows.items()}


kills_of = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 3), st.booleans()), max_size=4)


@given(lines, kills_of, st.sampled_from([BOOKS[0], WITH_OPTIONS]))
@settings(max_examples=400, deadline=None)
def test_kills_and_replays_change_nothing(
    log: list[Line], kills: list[tuple[int, int, int, bool]], rules: Rulebook
) -> None:
    given_log = records(log, rules)
    expected = read_once(given_log, rules)
    reader = Reader()
    at, kill_list = 0, list(kills)
    while at < len(log):
        if kill_list and at >= kill_list[0][0]:
            _, back, passes, sends_last = kill_list.pop(0)
            # The row of the last record was written; its events may or may not have gone out.
            reader.take(given_log[at], rules, passes=passes, send=sends_last)
            reader.recover()
            at = max(0, at - back)  # the last committed offset
            continue
        reader.take(given_log[at], rules)
        at += 1
    assert reader.folded() == expected.folded()
    assert essence(reader) == essence(expected)


@given(lines, st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=10))
@settings(max_examples=200, deadline=None)
def test_stale_tallies_change_nothing(log: list[Line], repeats: list[tuple[int, int]]) -> None:
    """A paused detector that wakes up says again what it said, or something older of its own."""
    expected = read_once(records(log))
    reader = Reader()
    for offset, line in enumerate(log):
        reader.take(record_of(line, offset), BOOKS[0])
        for after, which in repeats:
            if after == offset and which <= offset and log[which].notification is not None:
                lying = Line(log[which].notification, log[which].partition, matched=3)
                reader.take(record_of(lying, offset, version=which), BOOKS[0])
    assert reader.folded() == expected.folded()
    assert essence(reader) == essence(expected)


@given(lines)
@settings(max_examples=200, deadline=None)
def test_what_stands_at_the_end_does_not_contradict_the_counts(log: list[Line]) -> None:
    reader = read_once(records(log))
    for name, row in reader.rows.items():
        newest = {line.partition: line for line in log if line.notification == name}
        if len(newest) == INPUTS:
            matched = sum(line.matched for line in newest.values())
            reporting = matched + sum(line.more for line in newest.values())
            assert (row.state is State.ACTIVE) == reached(THRESHOLDS[0], matched, reporting)
        else:
            assert row.state is State.IDLE


edited = st.lists(
    st.one_of(
        st.builds(Line, st.none(), book=st.integers(0, 1)),
        st.builds(
            Line,
            st.sampled_from(NOTIFICATIONS),
            st.integers(0, INPUTS - 1),
            st.integers(0, 3),
            st.integers(0, 3),
            st.integers(0, 1),
        ),
    ),
    max_size=40,
)


@given(edited, st.lists(st.sampled_from([*BOOKS, Rulebook(change=3)]), min_size=40, max_size=40))
@settings(max_examples=300, deadline=None)
def test_activations_never_overlap_whatever_the_configuration_does(log: list[Line], books: list[Rulebook]) -> None:
    reader = Reader()
    for offset, line in enumerate(log):
        reader.take(record_of(line, offset), books[offset])
    for name in NOTIFICATIONS:
        events = [event for notification, event in reader.events if notification == name]
        assert [event.ordinal for event in events] == list(range(1, len(events) + 1))
        assert all(event.kind == "activated" for event in events[::2])
        assert all(event.kind in ("resolved", "dismissed") for event in events[1::2])
        assert [event.activation_id for event in events[::2]][: len(events) // 2] == [
            event.activation_id for event in events[1::2]
        ]
