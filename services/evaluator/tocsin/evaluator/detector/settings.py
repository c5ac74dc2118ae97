"""What can be set of the detector."""

from __future__ import annotations

from pydantic import Field

from tocsin.shared.schemas.base import Duration
from tocsin.shared.settings import CommonSettings

GROUP = "tocsin-detector"


class DetectorSettings(CommonSettings):
    """Environment variables `TOCSIN_DETECTOR_…`."""

    detector_batch: int = Field(default=200_000, ge=1, le=500_000, description="most readings of one transaction")
    detector_linger: Duration = Field(default=50, description="how long a small batch is waited for")
    detector_checkpoint_every: Duration = Field(
        default=15_000, description="between checkpoints of the series' newest times; bounds what a start reads again"
    )
    detector_checkpoint_readings: int = Field(default=2_000_000, ge=1, description="the same, in readings")
    detector_clock_ahead: Duration = Field(
        default=60_000, description="a reading further ahead of its arrival is judged as of its arrival"
    )

    @property
    def group(self) -> str:
        """Consumer group of all detectors of one deployment."""
        return self.topic_prefix + GROUP

    @property
    def transactional_id(self) -> str:
        """The same after every restart, so that a restart ends what the dead one left open."""
        return f"{self.topic_prefix}{GROUP}-{self.instance}"
