"""What the sending loop works with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tocsin.dispatcher.channels.base import Channel
from tocsin.dispatcher.core.desk import Fetch
from tocsin.dispatcher.fence import Fence
from tocsin.dispatcher.partitions import Partitions
from tocsin.dispatcher.pipeline import Pipeline
from tocsin.dispatcher.stages.steps import Settled
from tocsin.dispatcher.standings import Standings
from tocsin.dispatcher.suppression import Suppression
from tocsin.shared.clock import Clock
from tocsin.shared.configuration.follower import ConfigurationSource


class Fetcher(Protocol):
    """Brings parked deliveries back."""

    def want(self, fetches: Sequence[Fetch]) -> None: ...


@dataclass(frozen=True, slots=True)
class SenderParts:
    """Wired in main.py."""

    pipeline: Pipeline
    channels: Mapping[str, Channel]
    suppression: Suppression
    standings: Standings
    configuration: ConfigurationSource
    partitions: Partitions
    fetcher: Fetcher
    fence: Fence
    clock: Clock
    settle: Callable[[Settled], None]
