"""Any combination of a notification's options over any course of its counts: as the slow model says."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import example, given, settings
from hypothesis import strategies as st

from notification_model import MINUTE, Model, Options
from tocsin.evaluator.core.activation import Place, step
from tocsin.evaluator.core.activation_row import Pending, Row, decode_row, encode_row
from tocsin.evaluator.core.notification import Population, Rulebook
from tocsin.evaluator.core.rehearsal import Rehearsal
from tocsin.shared.configuration.condition import parse_condition
from tocsin.shared.configuration.records import (
    Matcher,
    Notification,
    Schedule,
    Sensor,
    SensorUse,
    Silence,
    ThresholdSpec,
)
from tocsin.shared.configuration.schedules import parse_week
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.schemas.event import NotificationEvent
from tocsin.shared.schemas.tally import Tally, Tick

BEGINS = {
    "Berlin, clocks go forward": (1_774_742_400_000, "Europe/Berlin"),  # 2026-03-29T00:00Z; forward at 01:00Z
    "Berlin, clocks go back": (1_792_886_400_000, "Europe/Berlin"),  # 2026-10-25T00:00Z; back at 01:00Z
    "Lord Howe, half an hour": (1_775_309_400_000, "Australia/Lord_Howe"),  # 2026-04-04T13:30Z; back at 15:00Z
    "Kathmandu, a quarter off": (1_764_000_000_000, "Asia/Kathmandu"),
    "UTC, over midnight": (1_764_021_600_000 - 7_200_000, "UTC"),
}
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def slot(number: int) -> str:
    return f"{number // 2:02d}:{number % 2 * 30:02d}"


ranges = st.tuples(st.integers(0, 47), st.integers(1, 8)).map(
    lambda pair: f"{slot(pair[0])}-{slot(min(48, pair[0] + pair[1]))}"
)
weeks = st.one_of(
    st.none(),
    st.lists(ranges, max_size=4).map(lambda texts: dict.fromkeys(DAYS, texts)),
    st.dictionaries(st.sampled_from(DAYS), st.lists(ranges, min_size=1, max_size=3), max_size=7),
)
silences = st.lists(st.tuples(st.integers(-5, 200), st.integers(1, 60)), max_size=3).map(
    lambda found: tuple((start, start + length) for start, length in found)
)
options = st.builds(
    Options,
    for_=st.sampled_from((0, 0, 1, 2, 5, 20)),
    remind_every=st.sampled_from((0, 1, 3, 7, 30)),
    cooldown=st.sampled_from((0, 0, 1, 10, 45)),
    silences=silences,
    slots=weeks,
)
runs = st.lists(st.integers(1, 40), min_size=1, max_size=14)  # minutes not reached, reached, not reached …


def course(lengths: list[int]) -> list[bool]:
    return [at % 2 == 1 for at, length in enumerate(lengths) for _ in range(length)]


def book_of(given: Options, zone: str, begin: int) -> Rulebook:
    notification = Notification(
        id="n",
        name="N",
        sensors=(SensorUse(sensor_id="s"),),
        threshold=ThresholdSpec(value=Decimal(1), is_percent=False),
        recipient_ids=(),
        for_=given.for_ * MINUTE,
        remind_every=given.remind_every * MINUTE,
        cooldown=given.cooldown * MINUTE,
        schedule_id=None if given.slots is None else "w",
    )
    quiet = [
        Silence(
            id=f"q{number}",
            name=f"q{number}",
            matchers=(Matcher(field="notification", pattern="n*"),),
            starts_at=begin + start * MINUTE,
            until=begin + until * MINUTE,
        )
        for number, (start, until) in enumerate(given.silences)
    ]
    schedules = {}
    if given.slots is not None:
        schedules["w"] = Schedule(id="w", name="W", time_zone=zone, slots=parse_week(given.slots))
    return Rulebook.of(
        Configuration(
            change=1,
            sensors={"s": Sensor(id="s", name="S", metric="m", trigger=parse_condition("> 1"))},
            notifications={"n": notification},
            schedules=schedules,
            silences={one.id: one for one in quiet},
        ),
        "",
    )


def expected(given: Options, zone: str, begin: int, reached: list[bool]) -> list[tuple[int, str, int | None]]:
    given = Options(**{**given.__dict__, "zone": zone})
    return Model(given, begin).run(reached)


@given(options, st.sampled_from(sorted(BEGINS)), runs, st.randoms(use_true_random=False))
@settings(max_examples=250, deadline=None)
def test_a_rehearsal_tells_what_the_model_tells(given: Options, where: str, lengths: list[int], dice: object) -> None:
    begin, zone = BEGINS[where]
    reached = course(lengths)
    rehearsal = Rehearsal(book_of(given, zone, begin).rules["n"])
    told = []
    for minute, now in enumerate(reached):
        last = minute == len(reached) - 1
        # Instants without news come too, some of them.
        if last or minute == 0 or reached[minute - 1] != now or dice.random() < 0.1:  # type: ignore[attr-defined]
            due = rehearsal.due()
            before = rehearsal.until(begin + minute * MINUTE)
            assert bool(before) <= (due is not None and due < begin + minute * MINUTE)
            told += before + rehearsal.at(begin + minute * MINUTE, Population(int(now), 5, ("a",) if now else ()))
    found = [((event.time - begin) // MINUTE, event.kind, event.reminder) for event in told]
    assert found == expected(given, zone, begin, reached)
    for event in told:
        assert (event.kind == "resolved") == (event.ended_at is not None)
        assert event.matched == int(event.kind != "resolved")


class Live:
    """The activator's row, fed as the log has it: a tally each minute, then the tick; killed now and then."""

    def __init__(self, rules: Rulebook) -> None:
        self.rules = rules
        self.row: Row | None = None
        self.offset = -1
        self.sent: list[Pending] = []

    def give(self, given: Tally | Tick, now: int, *, killed: bool = False) -> None:
        self.offset += 1
        more = True
        while more:
            taken = step(self.row, given, self.rules, Place(0, self.offset, now))
            self.row, more = taken.row, taken.more
            self.sent += taken.events
            if killed and self.row is not None:
                self.row = decode_row(encode_row(self.row))
                taken = step(self.row, given, self.rules, Place(0, self.offset, now))
                assert more or taken.row is self.row or isinstance(given, Tick), "a repeat changed something"

    def events(self) -> list[NotificationEvent]:
        return [NotificationEvent.decode(one.event.encode()) for one in self.sent if one.event]


def tally(rules: Rulebook, counter: int, now: int, matched: int) -> Tally:
    return Tally(
        notification_id="n",
        revision=rules.rules["n"].revision,
        partition=0,
        partitions=1,
        epoch=1,
        counter=counter,
        matched=matched,
        reporting=5,
        time=now,
        sent_at=now,
    )


@given(options, st.sampled_from(sorted(BEGINS)), runs, st.sets(st.integers(0, 300)))
@settings(max_examples=120, deadline=None)
@example(Options(remind_every=1, silences=((2, 9),)), "UTC, over midnight", [1, 30, 1], {0})
def test_the_activator_tells_what_the_model_tells(
    given: Options, where: str, lengths: list[int], kills: set[int]
) -> None:
    begin, zone = BEGINS[where]
    reached = course(lengths)
    rules = book_of(given, zone, begin)
    live = Live(rules)
    for minute, now in enumerate(reached):
        at = begin + minute * MINUTE
        live.give(tally(rules, minute, at, int(now)), at, killed=minute in kills)
        live.give(Tick(time=at), at, killed=minute in kills)
    last = begin + len(reached) * MINUTE
    live.give(Tick(time=last), last)  # what was due at the last minute has passed only now
    events = live.events()
    found = [((event.time - begin) // MINUTE, event.kind, event.reminder) for event in events]
    assert found == expected(given, zone, begin, reached)
    assert [event.ordinal for event in events] == list(range(1, len(events) + 1))
    assert len({event.id for event in events}) == len(events)
    places = [pending.place for pending in live.sent]
    assert places == list(range(1, len(places) + 1))
