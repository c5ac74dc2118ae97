"""The table of topics: creation, checks, documentation and access rules are all made from it.

Adding a topic means adding a row. Names here carry no prefix; `topic_name(prefix, name)` adds the deployment's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tocsin.shared.times import format_duration, parse_duration

HOUR = 3_600_000
DAY = 24 * HOUR

SENSOR_READINGS = "sensor-readings"
SENSOR_READINGS_REJECTED = "sensor-readings-rejected"
SENSOR_CHANGES = "sensor-changes"
NOTIFICATION_TALLIES = "notification-tallies"
NOTIFICATION_SYSTEMS = "notification-systems"
NOTIFICATION_EVENTS = "notification-events"
ACTIVATIONS = "activations"
DELIVERIES = "deliveries"
DELIVERY_PARKED = "delivery-parked"
RECIPIENT_STATE = "recipient-state"
DELIVERY_DEAD_LETTER = "delivery-dead-letter"
DELIVERY_AUDIT = "delivery-audit"
CONFIGURATION = "configuration"
CONFIGURATION_AUDIT = "configuration-audit"
DETECTOR_STATE = "detector-state"
ROUTER_STATE = "router-state"
ACTIVATOR_TABLE = "activator-notifications"
ACTIVATOR_CHANGELOG = "tocsin-activator-activator-notifications-changelog"

MAX_RECORD_BYTES = 4 << 20
"""Room for a refused 2 MB reading kept whole in `sensor-readings-rejected`, with its headers."""

DEFAULT_RETRY_TIERS: tuple[int, ...] = tuple(
    parse_duration(text) for text in ("5s", "30s", "2m", "10m", "30m", "2h", "6h", "12h", "24h")
)
"""Ten attempts over about 45 hours."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One row of the table."""

    name: str
    key: str
    value: str
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    cleanup: str  # "delete", "compact" or "compact,delete", as Kafka writes them
    retention_ms: int | None = None  # None: Kafka's own meaning for compacted topics, for ever
    schema: str | None = None  # stem of the JSON Schema file, for public JSON topics
    public: bool = False
    group: str = "default"  # topics of one group have the same number of partitions
    extra: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def config(self) -> dict[str, str]:
        """The broker settings this topic must have."""
        settings = {"cleanup.policy": self.cleanup, "max.message.bytes": str(MAX_RECORD_BYTES)}
        if self.retention_ms is not None:
            settings["retention.ms"] = str(self.retention_ms)
        return {**settings, **self.extra}


@dataclass(frozen=True, slots=True)
class Partitions:
    """Partition counts by group of topics; chosen at creation."""

    readings: int = 4
    deliveries: int = 4
    default: int = 4

    def of(self, topic: Topic) -> int:
        return {"readings": self.readings, "deliveries": self.deliveries, "one": 1}.get(topic.group, self.default)


def retry_topic(delay_ms: int) -> str:
    """`delivery-retry-5s`, one topic for each delay."""
    return f"delivery-retry-{format_duration(delay_ms)}"


# A changelog is read whole at every start, so old rows are compacted away soon.
_CHANGELOG = MappingProxyType({"min.cleanable.dirty.ratio": "0.1", "segment.ms": str(HOUR)})


def topic_table(retry_tiers: tuple[int, ...] = DEFAULT_RETRY_TIERS) -> tuple[Topic, ...]:
    """All topics of a deployment, in the order data flows through them."""
    return (
        Topic(
            SENSOR_READINGS,
            key="system",
            value="a reading, or a report of several",
            writers=("sensors", "gateway", "agent", "replay"),
            readers=("detector",),
            cleanup="delete",
            retention_ms=DAY,
            schema="reading",
            public=True,
            group="readings",
            # Arrival at the broker, whatever a producer's clock says; event time is in the value.
            extra=MappingProxyType({"message.timestamp.type": "LogAppendTime"}),
        ),
        Topic(
            SENSOR_READINGS_REJECTED,
            key="as it came",
            value="the original bytes; headers say why and from where",
            writers=("detector", "gateway"),
            readers=("operators",),
            cleanup="delete",
            retention_ms=7 * DAY,
        ),
        Topic(
            SENSOR_CHANGES,
            key="system",
            value="a sensor triggered, cleared, without data or flapping on a system",
            writers=("detector",),
            readers=("public",),
            cleanup="delete",
            retention_ms=7 * DAY,
            schema="sensor-change",
            public=True,
        ),
        Topic(
            NOTIFICATION_TALLIES,
            key="notification",
            value="absolute counts of matched and reporting systems of one input partition",
            writers=("detector", "activator"),
            readers=("activator",),
            cleanup="delete",
            retention_ms=DAY,
            schema="tally",
            group="activator",
        ),
        Topic(
            NOTIFICATION_SYSTEMS,
            key="notification and system",
            value="this system matches now; tombstone when not",
            writers=("detector",),
            readers=("console",),
            cleanup="compact",
            schema="matched-system",
            # Whoever lists the systems of an activation looks back in it: an older row stays this long.
            extra=MappingProxyType({"min.compaction.lag.ms": str(7 * DAY)}),
        ),
        Topic(
            NOTIFICATION_EVENTS,
            key="notification",
            value="activated, reminder, resolved or dismissed",
            writers=("activator",),
            readers=("router", "public"),
            cleanup="delete",
            retention_ms=7 * DAY,
            schema="notification-event",
            public=True,
            group="router",
        ),
        Topic(
            ACTIVATIONS,
            key="activation",
            value="the activation as it stands, with its systems at activation",
            writers=("activator",),
            readers=("console",),
            cleanup="compact,delete",
            retention_ms=90 * DAY,
            schema="activation",
        ),
        Topic(
            DELIVERIES,
            key="recipient",
            value="one event for one recipient; nothing secret in it",
            writers=("router", "console", "cli"),
            readers=("dispatcher",),
            cleanup="delete",
            retention_ms=7 * DAY,
            schema="delivery",
            group="deliveries",
        ),
        *(
            Topic(
                retry_topic(delay),
                key="recipient",
                value=f"a delivery that waits {format_duration(delay)}",
                writers=("dispatcher",),
                readers=("dispatcher",),
                cleanup="delete",
                retention_ms=max(10 * delay, 7 * DAY),
                schema="delivery",
                group="deliveries",
            )
            for delay in retry_tiers
        ),
        Topic(
            DELIVERY_PARKED,
            key="recipient and delivery",
            value="a delivery that waits for its recipient or lane",
            writers=("dispatcher",),
            readers=("dispatcher", "console"),
            cleanup="compact",
            schema="delivery",
            group="deliveries",
            extra=_CHANGELOG,
        ),
        Topic(
            RECIPIENT_STATE,
            key="recipient",
            value="circuit, failing since, disabled and why",
            writers=("dispatcher",),
            readers=("dispatcher", "console"),
            cleanup="compact",
            schema="recipient-state",
            group="deliveries",
            extra=_CHANGELOG,
        ),
        Topic(
            DELIVERY_DEAD_LETTER,
            key="recipient",
            value="a delivery given up, why, and the last answer",
            writers=("dispatcher",),
            readers=("operators", "cli"),
            cleanup="delete",
            retention_ms=30 * DAY,
            schema="dead-letter",
        ),
        Topic(
            DELIVERY_AUDIT,
            key="delivery",
            value="routed, attempt and terminal records",
            writers=("router", "dispatcher", "console"),
            readers=("public",),
            cleanup="delete",
            retention_ms=90 * DAY,
            schema="audit",
            public=True,
        ),
        Topic(
            CONFIGURATION,
            key="kind/name",
            value="sensors, groups, schedules, notifications, recipients, silences, dismissals, forgettings, settings",
            writers=("console", "cli"),
            readers=("all",),
            cleanup="compact",
            group="one",
            extra=_CHANGELOG,
        ),
        Topic(
            CONFIGURATION_AUDIT,
            key="record id",
            value="who changed what, before and after, secrets masked",
            writers=("console", "cli"),
            readers=("operators",),
            cleanup="delete",
            retention_ms=365 * DAY,
        ),
        Topic(
            DETECTOR_STATE,
            key="series, system or partition",
            value="rows of the detector",
            writers=("detector",),
            readers=("detector",),
            cleanup="compact",
            group="readings",
            extra=_CHANGELOG,
        ),
        Topic(
            ROUTER_STATE,
            key="notification",
            value="last ordinal and the last 64 event ids",
            writers=("router",),
            readers=("router",),
            cleanup="compact",
            group="router",
            extra=_CHANGELOG,
        ),
        Topic(
            ACTIVATOR_CHANGELOG,
            key="notification",
            value="the activator's table",
            writers=("activator",),
            readers=("activator",),
            cleanup="compact",
            group="activator",
            extra=_CHANGELOG,
        ),
    )


def topic_name(prefix: str, name: str) -> str:
    """The name on the broker."""
    return prefix + name
