"""`recipient-state`: how a recipient stands, as its dispatcher sees it. One row a recipient, the newest counts."""

from __future__ import annotations

from typing import Literal

from tocsin.shared.schemas.base import Duration, Time, Wire


class Stop(Wire):
    """A time in which the recipient was paused or disabled: its deliveries do not grow old in it."""

    start: Time
    end: Time | None = None  # none: it still is


class RecipientState(Wire):
    """Its circuit, its failures, and whether it was disabled. Nothing secret, no address."""

    schema_version: Literal[1] = 1
    name: str = ""  # as the recipient was called when this was written
    failures_in_a_row: int = 0
    failing_since: Time | None = None  # the first failure since the last success
    last_reason: str | None = None  # of the last failure, such as timeout or http_503
    opened_at: Time | None = None  # the circuit is open; none: it is closed
    probe_at: Time | None = None  # when the next delivery may try an open circuit
    probe_every: Duration = 0  # the wait before that probe
    disabled_at: Time | None = None  # counts unless the recipient's `enabled_at` is newer
    disabled_because: Literal["gone", "failing"] | None = None
    told: bool = False  # `on_failing` has been told of this row of failures
    stops: tuple[Stop, ...] = ()
    retrying: tuple[str, ...] = ()  # activations whose `activated` has failed and waits to be tried again; the newest
