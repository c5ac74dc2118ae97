"""One notification in a run: the core's rehearsal, its events as a run shows them."""

from __future__ import annotations

from tocsin.evaluator.backtest.events import NotificationEvent
from tocsin.evaluator.core.notification import Population, Rule
from tocsin.evaluator.core.rehearsal import Rehearsal
from tocsin.shared.configuration.records import ThresholdSpec
from tocsin.shared.schemas.tally import MAX_SYSTEMS_LISTED


class CoreJudge:
    """Remembers what the activator would."""

    def __init__(self, rule: Rule, tenant_id: str) -> None:
        self._rule = rule
        self._rehearsal = Rehearsal(rule, tenant_id)

    @property
    def threshold(self) -> ThresholdSpec:
        return self._rule.notification.threshold

    def due(self) -> int | None:
        """When its next timer is due; None: there is none."""
        return self._rehearsal.due()

    def at(self, time: int, matched: int, reporting: int, systems: tuple[str, ...]) -> list[NotificationEvent]:
        """All counts of an instant; then its timers due at that instant fire."""
        told = self._rehearsal.at(time, Population(matched, reporting, systems[:MAX_SYSTEMS_LISTED]))
        name = self._rule.notification.name
        return [
            NotificationEvent(one.time, name, one.kind, one.activation, one.matched, one.reporting, one.systems)
            for one in told
        ]
