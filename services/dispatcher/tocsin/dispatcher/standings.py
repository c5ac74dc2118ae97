"""How the recipients stand whose partitions this process has, and the rows of `recipient-state` that say so.

Used from the sending loop only. A row is written in the transaction of the attempt that changed it.
"""

from __future__ import annotations

from collections.abc import Mapping

from tocsin.dispatcher.core.audit import Attempt, Origin, routed
from tocsin.dispatcher.core.desk import Terms
from tocsin.dispatcher.core.failing import failing_delivery
from tocsin.dispatcher.core.standing import (
    CircuitPolicy,
    Recent,
    after_attempt,
    age_ms,
    hold_of,
    keeps_failing,
    reconciled,
    with_retrying,
    worth_writing,
)
from tocsin.dispatcher.stages.records import audit_out, delivery_out, state_out, trace_of
from tocsin.dispatcher.stages.steps import Out
from tocsin.shared.configuration.follower import ConfigurationSource
from tocsin.shared.configuration.rate import interval_ms
from tocsin.shared.configuration.records import Recipient
from tocsin.shared.schemas.delivery import Delivery
from tocsin.shared.schemas.recipient_state import RecipientState
from tocsin.shared.telemetry import metrics
from tocsin.shared.telemetry.logs import logger

log = logger(__name__)

_FRESH = RecipientState()


class Standings:
    """Rows by recipient; a recipient without one stands well."""

    def __init__(self, configuration: ConfigurationSource, policy: CircuitPolicy, dispatcher: str) -> None:
        self._configuration = configuration
        self._policy = policy
        self._dispatcher = dispatcher
        self._states: dict[str, RecipientState] = {}
        self._recent: dict[str, Recent] = {}
        self.changed: set[str] = set()  # recipients whose terms may be others now

    def restore(self, rows: Mapping[str, RecipientState]) -> None:
        self._states.update(rows)

    def forget(self, recipients: Mapping[str, object] | set[str]) -> None:
        for id_ in recipients:
            self._states.pop(id_, None)
            self._recent.pop(id_, None)

    def of(self, recipient: str) -> RecipientState:
        return self._states.get(recipient, _FRESH)

    def terms(self, recipient: str) -> Terms:
        """As it is configured and stands now. One that is deleted is held by nothing: what waits is to be cancelled."""
        found = self._configuration.current.recipients.get(recipient)
        if found is None:
            return Terms()
        state = self.of(recipient)
        interval = interval_ms(found.rate) / 1000 if found.rate else 0.0
        return Terms(interval, hold_of(state, found), state.probe_at)

    def age_ms(self, recipient: str, since_ms: int, now_ms: int) -> int:
        """Without the time in which it was paused or disabled."""
        return age_ms(self.of(recipient), since_ms, now_ms)

    def attempted(self, recipient: Recipient, attempt: Attempt, partition: int) -> tuple[Out, ...]:
        """What an attempt changes, as records: mostly none."""
        before, now_ms = self.of(recipient.id), attempt.ended_ms
        # While a circuit is open nothing but probes is started.
        probe = before.opened_at is not None and attempt.started_ms >= before.opened_at
        recent = self._recent.get(recipient.id)
        if recent is None:
            recent = self._recent[recipient.id] = Recent(self._policy.window)
        after = after_attempt(before, attempt.outcome, recent, probe=probe, now_ms=now_ms, policy=self._policy)
        if after is before:
            return ()
        more: tuple[Out, ...] = ()
        if keeps_failing(after, self._policy):
            more = self._tell(recipient, after, now_ms)
            after = after.model_copy(update={"told": True})
        after = reconciled(after, recipient, now_ms)
        return (*self._keep(recipient, before, after, partition), *more)

    def still_retried(self, recipient: str, activation: str) -> bool:
        """Whether this activation's `activated` has failed for it and waits to be tried again."""
        return activation in self.of(recipient).retrying

    def retried(self, delivery: Delivery, partition: int, *, still: bool) -> tuple[Out, ...]:
        """What an attempt of an `activated`, or its end, changes, as records: mostly none."""
        before = self.of(delivery.recipient.id)
        after = with_retrying(before, delivery.event.activation_id, still=still)
        if after is before:
            return ()
        named = after if after.name else after.model_copy(update={"name": delivery.recipient.name})
        self._states[delivery.recipient.id] = named
        return (state_out(delivery.recipient.id, named, partition),)

    def reconcile(self, recipient: Recipient, now_ms: int, partition: int) -> tuple[Out, ...]:
        """What the configuration has changed, as records."""
        before = self.of(recipient.id)
        return self._keep(recipient, before, reconciled(before, recipient, now_ms), partition)

    def _keep(
        self, recipient: Recipient, before: RecipientState, after: RecipientState, partition: int
    ) -> tuple[Out, ...]:
        if after is before:
            return ()
        self._states[recipient.id] = after
        self.changed.add(recipient.id)
        if not worth_writing(before, after):
            return ()
        named = after if after.name == recipient.name else after.model_copy(update={"name": recipient.name})
        self._states[recipient.id] = named
        _say(recipient, before, named)
        return (state_out(recipient.id, named, partition),)

    def _tell(self, failing: Recipient, state: RecipientState, now_ms: int) -> tuple[Out, ...]:
        """A delivery for whoever wants to know, routed like any other."""
        configuration = self._configuration.current
        told = configuration.recipients.get(failing.on_failing_id or "")
        if told is None:
            return ()
        delivery = failing_delivery(failing, told, state, configuration, now_ms)
        line = routed(delivery, Origin(None, self._dispatcher))
        return (audit_out(line, trace_of(delivery)), delivery_out(delivery))


def _say(recipient: Recipient, before: RecipientState, after: RecipientState) -> None:
    if after.opened_at is not None and before.opened_at is None:
        metrics.CIRCUITS_OPENED.inc()
        log.warning("circuit opened", recipient=recipient.name, reason=after.last_reason)
    elif after.opened_at is None and before.opened_at is not None:
        log.info("circuit closed", recipient=recipient.name)
    if after.disabled_at is not None and before.disabled_at is None:
        log.warning("recipient disabled", recipient=recipient.name, because=after.disabled_because)
