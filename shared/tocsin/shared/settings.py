"""Settings, read once from the environment into frozen objects.

Every setting is an environment variable `TOCSIN_…`. Any librdkafka setting passes through as `TOCSIN_KAFKA__` and its
name with dots as underscores: `TOCSIN_KAFKA__SASL_MECHANISM=PLAIN` is `sasl.mechanism`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tocsin.shared.errors import SettingsError
from tocsin.shared.schemas.base import Duration
from tocsin.shared.times import parse_duration
from tocsin.shared.topics import DEFAULT_RETRY_TIERS, Partitions, Topic, topic_name, topic_table

_KAFKA_PREFIX = "TOCSIN_KAFKA__"
_SECRET_WORDS = ("password", "secret", "key.pem", "oauthbearer.config", "jaas")


def default_state_dir() -> Path:
    return Path(os.environ.get("TOCSIN_STATE_DIR") or ".tocsin").absolute()


class KafkaSettings:
    """How to reach the broker: librdkafka settings, secrets hidden from repr."""

    def __init__(self, properties: Mapping[str, str]) -> None:
        self.properties = dict(properties)

    @property
    def bootstrap_servers(self) -> str:
        return self.properties["bootstrap.servers"]

    def __repr__(self) -> str:
        shown = {
            name: "***" if any(word in name for word in _SECRET_WORDS) else value
            for name, value in self.properties.items()
        }
        return f"KafkaSettings({shown})"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], state_dir: Path) -> Self:
        """A given broker wins; else the running local stack. Raises SettingsError with the way out."""
        properties = {
            name[len(_KAFKA_PREFIX) :].lower().replace("_", "."): value
            for name, value in environment.items()
            if name.startswith(_KAFKA_PREFIX)
        }
        if given := environment.get("KAFKA_BOOTSTRAP_SERVERS"):
            properties["bootstrap.servers"] = given
        if "bootstrap.servers" not in properties:
            properties["bootstrap.servers"] = str(_local_stack(state_dir).get("bootstrap_servers") or "")
        if not properties["bootstrap.servers"]:
            raise SettingsError(
                f"no broker: set KAFKA_BOOTSTRAP_SERVERS, or run `tocsin stack up` (no running stack in {state_dir})"
            )
        return cls(properties)


def _local_stack(state_dir: Path) -> dict[str, Any]:
    """What the local stack wrote about itself, or nothing."""
    try:
        found = json.loads((state_dir / "stack.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _tiers(value: Any) -> Any:
    tiers = tuple(parse_duration(part) for part in value.split(",")) if isinstance(value, str) else value
    if isinstance(tiers, tuple) and len(set(tiers)) != len(tiers):
        # Each is a topic: one named twice to the broker's client ends the process.
        raise ValueError("a tier is given twice; a recipient's own `retry` may name one more often")
    return tiers


class CommonSettings(BaseSettings):
    """What every process knows."""

    model_config = SettingsConfigDict(env_prefix="TOCSIN_", frozen=True, extra="ignore", arbitrary_types_allowed=True)

    state_dir: Path = Field(default_factory=default_state_dir)
    topic_prefix: str = ""
    partitions_readings: int = Field(default=4, ge=1)
    partitions_deliveries: int = Field(default=4, ge=1)
    partitions_default: int = Field(default=4, ge=1)
    replication_factor: int = Field(default=-1, description="-1: the broker's own default")
    retry_tiers: Annotated[tuple[int, ...], NoDecode, BeforeValidator(_tiers)] = DEFAULT_RETRY_TIERS
    log_level: str = Field(default="info", pattern="^(?i:debug|info|warning|error|critical)$")
    log_format: str = Field(default="auto", pattern="^(auto|json|console)$")
    http_host: str = "127.0.0.1"
    http_port: int = Field(default=0, ge=0, le=65535, description="of health and metrics; 0: any free one")
    console_url: str = "http://127.0.0.1:8480"
    redis_url: str | None = None
    secret_keys: SecretStr | None = None
    secret_key_file: Path | None = None
    instance: str = Field(
        default="1", description="the process's own lasting name among its kind", pattern=r"^[\w.-]+$"
    )
    shutdown_grace: Duration = 20_000

    kafka: KafkaSettings = Field(default_factory=lambda: KafkaSettings({}), exclude=True)

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None, **given: Any) -> Self:
        """From the environment. Raises SettingsError naming the variable."""
        environment = os.environ if environment is None else environment
        try:
            loaded = cls(**given)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            name = "_".join(str(part) for part in first["loc"]).upper()
            raise SettingsError(f"TOCSIN_{name}: {first['msg']}") from None
        if loaded.kafka.properties:
            return loaded
        return loaded.model_copy(update={"kafka": KafkaSettings.from_environment(environment, loaded.state_dir)})

    def topic(self, name: str) -> str:
        """The topic's name on the broker."""
        return topic_name(self.topic_prefix, name)

    def topics(self) -> tuple[Topic, ...]:
        return topic_table(self.retry_tiers)

    def partitions(self) -> Partitions:
        return Partitions(self.partitions_readings, self.partitions_deliveries, self.partitions_default)

    def key_file(self) -> Path:
        return self.secret_key_file or self.state_dir / "secret.keys"

    def local_stack(self) -> dict[str, Any]:
        """Ports of the local stack when one has been started in the state folder."""
        return _local_stack(self.state_dir)
