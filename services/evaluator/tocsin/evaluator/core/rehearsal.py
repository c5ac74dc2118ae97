"""One notification in a back-test: counts at instants go in, what would have been told comes out. Pure, no Kafka.

For every instant at which its counts have changed, and for the last one of the run, in order of time:

    told += rehearsal.at(time, Population(matched, reporting, systems))

Timers that fell due before the instant fire first, in order, with the counts as they were; those due exactly at it
fire after its counts. `due()` says when the next timer falls due, `until(time)` lets those before it fire: a driver
that merges several notifications can keep to the order of time with them. What is due after the last instant never
happens.
"""

from __future__ import annotations

from dataclasses import dataclass

from tocsin.evaluator.core import lifecycle
from tocsin.evaluator.core.lifecycle import (
    Announced,
    Ended,
    EndTold,
    Moved,
    Opened,
    Reminded,
    Standing,
)
from tocsin.evaluator.core.notification import Population, Rule
from tocsin.shared.ids import activation_id
from tocsin.shared.schemas.event import EventKind

EVERY_INPUT = -1
"""In place of the partition of the tally that opens an activation: here the counts are those of all."""


@dataclass(frozen=True, slots=True)
class ToldEvent:
    """What would have gone to `notification-events`."""

    time: int  # ms
    kind: EventKind
    activation: str  # id: from the notification's rule and the instant at which it opened
    activated_at: int  # before `time` where nothing might be sent meanwhile
    matched: int
    reporting: int
    systems: tuple[str, ...]
    reminder: int | None = None  # number of a reminder
    ended_at: int | None = None  # of resolved: when it ended


class Rehearsal:
    """The life of one notification, from nothing reached and nothing heard."""

    def __init__(self, rule: Rule, tenant_id: str = "") -> None:
        """The rule as `Rulebook.of(configuration, …).rules` has it: with its schedule and silences."""
        self._rule = rule
        self._tenant = tenant_id
        self._standing = Standing()
        self._population = Population(0, 0, ())
        self._open = ("", 0)  # id and instant of the activation that is open
        self._ended: tuple[str, int, Population] = ("", 0, self._population)  # the one before, and how it ended

    @property
    def active(self) -> bool:
        """Whether an activation is open, announced or not."""
        return self._standing.state is lifecycle.State.ACTIVE

    def due(self) -> int | None:
        """When the next timer falls due; None: only counts can change anything."""
        return lifecycle.next_due(self._standing, self._rule.policy)

    def until(self, time: int) -> list[ToldEvent]:
        """Fire the timers due before this instant."""
        return self._advance(time)

    def at(self, time: int, population: Population) -> list[ToldEvent]:
        """The counts at this instant, after all its readings and timers of sensors. Instants never step back."""
        told = self._advance(time)
        self._population = population
        reached = self._rule.reached(population.matched, population.reporting)
        told += self._take(lifecycle.judge(self._standing, self._rule.policy, time, reached))
        return told + self._advance(time + 1)

    def _advance(self, before: int) -> list[ToldEvent]:
        standing, happened, _ = lifecycle.advance(self._standing, self._rule.policy, before)
        return self._take((standing, happened))

    def _take(self, moved: Moved) -> list[ToldEvent]:
        self._standing, happened = moved
        told: list[ToldEvent] = []
        for happening in happened:
            match happening:
                case Opened(at=at):
                    rule = self._rule
                    made = activation_id(self._tenant, rule.notification.id, rule.revision, EVERY_INPUT, at)
                    self._open = (made, at)
                case Announced(at=at):
                    told.append(self._event(at, "activated"))
                case Reminded(at=at, number=number):
                    told.append(self._event(at, "reminder", number))
                case Ended():
                    self._ended = (*self._open, self._population)
                case EndTold():
                    told.append(self._end(happening))
        return told

    def _event(self, at: int, kind: EventKind, reminder: int | None = None) -> ToldEvent:
        made, since = self._open
        now = self._population
        return ToldEvent(at, kind, made, since, now.matched, now.reporting, now.systems, reminder)

    def _end(self, end: EndTold) -> ToldEvent:
        made, since, then = self._ended
        return ToldEvent(
            end.at, end.kind, made, since, then.matched, then.reporting, then.systems, ended_at=end.ended_at
        )
