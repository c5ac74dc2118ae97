"""Settings of the activator."""

from __future__ import annotations

from pydantic import Field

from tocsin.shared.schemas.base import Duration
from tocsin.shared.settings import CommonSettings


class ActivatorSettings(CommonSettings):
    """`TOCSIN_ACTIVATOR_…`, beside the common ones."""

    activator_tick: Duration = Field(default=1_000, gt=0, description="how often time passes when no tally comes")
    activator_commit: Duration = Field(
        default=500, gt=0, description="how often offsets are committed; a crash replays what came since"
    )
    activator_stalled_after: Duration = Field(
        default=20_000, gt=0, description="no progress for this long with the broker there: end, to be started anew"
    )
