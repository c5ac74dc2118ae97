"""Where a delivery goes: a recipient is deleted only for whoever knows at least what the router knew."""

from __future__ import annotations

from typing import Any

from delivering import delivery_for
from tocsin.dispatcher.core.audit import Origin
from tocsin.dispatcher.core.offsets import Progress
from tocsin.dispatcher.partitions import Partition
from tocsin.dispatcher.stages.address import Address
from tocsin.dispatcher.stages.steps import Addressed, Settled, Taken
from tocsin.shared.configuration.records import Recipient
from tocsin.shared.configuration.snapshot import Configuration

ON_CALL = Recipient(id="r1", name="On call", type="distribution-list", email="oncall@example.com")


class Source:
    """A configuration that can be replaced, as a follower's is."""

    def __init__(self, current: Configuration) -> None:
        self.current = current


class Clock:
    """Each look takes a second."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now_ms(self) -> int:
        return 1_000

    def monotonic(self) -> float:
        self.seconds += 1
        return self.seconds


def _taken(change: int) -> Taken:
    delivery = delivery_for(ON_CALL, configuration_change=change)
    return Taken(delivery, Partition(("deliveries", 0), Progress(0, "")), 0, Origin(None, "test"), 0, parked=True)


def _address(source: Source, clock: Clock) -> Address:
    channels: Any = {"email": object(), "webhook": object()}
    return Address(source, channels, clock)


def test_where_it_goes_is_read_now() -> None:
    step = _address(Source(Configuration(change=7, recipients={"r1": ON_CALL})), Clock())(_taken(change=7))
    assert isinstance(step, Addressed)
    assert step.recipient == ON_CALL


def test_a_recipient_deleted_since_cancels_at_once() -> None:
    clock = Clock()
    step = _address(Source(Configuration(change=7)), clock)(_taken(change=7))
    assert isinstance(step, Settled)
    assert step.terminal == "cancelled"
    assert clock.seconds <= 2
