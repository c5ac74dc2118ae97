"""Settings of the router and of the dispatcher, each an environment variable TOCSIN_…"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from tocsin.dispatcher.core.desk import DeskPolicy
from tocsin.dispatcher.core.egress import EgressPolicy, parse_networks
from tocsin.dispatcher.core.mail import parse_address
from tocsin.dispatcher.core.standing import CircuitPolicy
from tocsin.shared.configuration.records import Recipient
from tocsin.shared.schemas.base import Duration
from tocsin.shared.settings import CommonSettings

LOOPBACK = "127.0.0.0/8 ::1/128"
TO_SETTLE = 5_000
"""Milliseconds for the results of what was in flight, once it has ended."""


class RouterSettings(CommonSettings):
    """What the router knows beyond every process."""

    router_configuration_wait: Duration = 10_000
    """How long an event may wait for the configuration it was made under."""

    @property
    def router_group(self) -> str:
        """Consumer group, and the beginning of the transactional id: one deployment, one name."""
        return f"{self.topic_prefix}tocsin-router"


class DispatcherSettings(CommonSettings):
    """What the dispatcher knows beyond every process."""

    egress_allow: str = Field(default="", description="networks opened beyond the public ones, e.g. 10.0.0.0/8")
    egress_http: bool = Field(default=False, description="allow plain http")
    egress_ca_file: Path | None = Field(default=None, description="certificates to trust besides the system's")
    http_client: Literal["lean", "aiohttp"] = "lean"
    concurrency: int = Field(default=256, ge=1, description="deliveries in flight in one process")
    recipient_concurrency: int = Field(default=32, ge=1, description="deliveries in flight for one recipient")
    in_flight_bytes: int = Field(default=64 << 20, ge=1 << 20, description="bytes of deliveries taken and not settled")
    settle_every: Duration = 50
    settle_batch: int = Field(default=200, ge=1, description="results that end a batch before its time")
    circuit_probe: Duration = Field(default=30_000, description="the wait before an open circuit is first probed")
    circuit_longest_probe: Duration = 600_000
    disable_after: Duration = Field(default=5 * 86_400_000, description="of nothing but failures")
    rebalance_drain: Duration = 5_000
    """How long a partition that is taken away may wait for what is in flight."""

    smtp_host: str | None = None
    smtp_port: int | None = Field(default=None, ge=1, le=65535)
    smtp_username: str | None = None
    smtp_password: SecretStr | None = None
    smtp_tls: Literal["starttls", "tls", "none"] = "starttls"
    smtp_ca_file: Path | None = Field(default=None, description="certificates to trust instead of the system's")
    smtp_from: str = "Tocsin <tocsin@localhost>"
    smtp_connections: int = Field(default=4, ge=1)
    smtp_timeout: Duration = 30_000

    @field_validator("egress_allow")
    @classmethod
    def _networks(cls, text: str) -> str:
        parse_networks(text)
        return text

    @field_validator("smtp_from")
    @classmethod
    def _sender(cls, text: str) -> str:
        parse_address(text)  # or every email would be a dead letter
        return text

    @property
    def dispatcher_group(self) -> str:
        """Consumer group, and the beginning of the transactional id: one deployment, one name."""
        return f"{self.topic_prefix}tocsin-dispatcher"

    def grace(self, recipients: Iterable[Recipient]) -> int:
        """Milliseconds to finish what is in flight to these: as set, else long enough for the slowest of them."""
        if "shutdown_grace" in self.model_fields_set:
            return self.shutdown_grace
        timeouts = [one.webhook.timeout if one.webhook else self.smtp_timeout for one in recipients]
        return max(self.shutdown_grace, max(timeouts, default=0) + TO_SETTLE)

    @property
    def circuit(self) -> CircuitPolicy:
        return CircuitPolicy(
            first_probe=self.circuit_probe,
            longest_probe=self.circuit_longest_probe,
            disable_after=self.disable_after,
        )

    @property
    def desk(self) -> DeskPolicy:
        return DeskPolicy(self.recipient_concurrency, self.concurrency, self.in_flight_bytes // 8)

    @property
    def egress_policy(self) -> EgressPolicy:
        """Where requests may go. With the local stack's broker also to this very machine, by plain http: a receiver
        of one's own is what one tries first."""
        given = EgressPolicy.of(self.egress_allow, self.egress_http)
        if self.local_stack().get("bootstrap_servers") != self.kafka.properties.get("bootstrap.servers", ""):
            return given
        return EgressPolicy((*given.allow, *parse_networks(LOOPBACK)), http=True)
