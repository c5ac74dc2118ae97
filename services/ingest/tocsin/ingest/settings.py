"""Settings of the gateway and of the agent, from the environment."""

from __future__ import annotations

from pydantic import Field, SecretStr

from tocsin.shared.schemas.base import Duration
from tocsin.shared.settings import CommonSettings

_MIB = 1 << 20


class GatewaySettings(CommonSettings):
    """TOCSIN_GATEWAY_…: the HTTP door for readings."""

    gateway_host: str = "127.0.0.1"
    gateway_port: int = Field(default=8460, ge=0, le=65535, description="0: any free one")
    gateway_api_keys: SecretStr | None = Field(default=None, description="one or more, separated by commas")
    gateway_tokens: bool = Field(default=False, description="also take API tokens of scope ingest")
    gateway_open: bool = Field(default=False, description="take readings without a key")
    gateway_max_body_bytes: int = Field(default=8 * _MIB, ge=1, description="of a request, also once inflated")
    gateway_max_in_flight_bytes: int = Field(default=256 * _MIB, ge=_MIB, description="of all requests together")
    gateway_max_in_flight_requests: int = Field(default=1000, ge=1)
    gateway_delivery_timeout: Duration = Field(
        default=10_000, ge=100, description="how long the broker may take to acknowledge before the answer is 503"
    )
    gateway_read_timeout: Duration = Field(
        default=30_000, ge=100, description="how long a client may take to send its request"
    )


class AgentSettings(CommonSettings):
    """TOCSIN_AGENT_…: the host's own sensors."""

    agent_max_age: Duration = Field(
        default=300_000, ge=1000, description="readings that could not be sent for this long are dropped"
    )
