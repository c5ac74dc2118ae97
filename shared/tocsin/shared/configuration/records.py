"""The records of `configuration`. They refer to each other by id; renaming anything touches nothing else."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from tocsin.shared.configuration.rate import Rate
from tocsin.shared.configuration.schedules import Week, week_field
from tocsin.shared.configuration.sensor_options import (
    AggregateSpec,
    BreachesText,
    ConditionText,
    FlappingSpec,
    LevelSpec,
    NoDataSpec,
    OverrideSpec,
)
from tocsin.shared.schemas.base import Duration, Time, Wire

DEFAULT_REPORTING_WITHIN_MS = 15 * 60_000
DEFAULT_FORGET_AFTER_MS = 30 * 86_400_000
DEFAULT_EXPIRE_AFTER_MS = 3 * 86_400_000


WeekSlots = Annotated[
    Week,
    BeforeValidator(week_field),
    PlainSerializer(Week.as_ranges, return_type=dict[str, list[str]]),
    WithJsonSchema({"type": "object", "examples": [{"mon": ["08:00-18:00"]}]}),
]


class Ciphertext(Wire):
    """A secret at rest: AES-256-GCM, bound to its record's id and field."""

    key_id: str
    nonce: str  # base64
    data: str  # base64, with the tag


class Record(Wire):
    """What every record has."""

    kind: ClassVar[str]
    schema_version: Literal[1] = 1
    id: str
    name: str
    description: str = ""
    revision: int = 0  # the change that last wrote it: its ETag
    updated_at: Time = 0


class Sensor(Record):
    """A rule over one metric."""

    kind: ClassVar[str] = "sensor"
    metric: str
    trigger: ConditionText | None = None  # none: there are levels
    clear: ConditionText | None = None  # none: not trigger
    levels: tuple[LevelSpec, ...] = ()  # instead of trigger and clear
    for_: Duration = Field(default=0, alias="for")
    keep: Duration = 0
    breaches: BreachesText | None = None
    aggregate: AggregateSpec | None = None
    no_data: NoDataSpec | None = None
    hold: Duration = 0
    lateness: Duration = 0
    flapping: FlappingSpec | None = None
    overrides: tuple[OverrideSpec, ...] = ()  # the first that matches a system wins

    def overridden(self, override: OverrideSpec) -> Self:
        """The sensor as it is on the systems of this override."""
        return self.model_copy(update={**override.given(), "overrides": ()})


class Group(Record):
    """A set of systems: any of the patterns, all of the tags. No pattern means any name."""

    kind: ClassVar[str] = "group"
    systems: tuple[str, ...] = ()
    tags: dict[str, str] = Field(default_factory=dict)


class SensorUse(Wire):
    """A sensor in a notification: on any instance, or on the named one."""

    sensor_id: str
    instance: str | None = None
    level: str | None = None  # this or a higher one; none: any


class ThresholdSpec(Wire):
    """A number of systems, or a percentage of the reporting ones; exact."""

    value: Decimal
    is_percent: bool

    def text(self) -> str:
        """The threshold in words: `1 system currently reporting`, `24% of systems currently reporting`."""
        number = self.value_text()
        if self.is_percent:
            return f"{number}% of systems currently reporting"
        return f"{number} system{'' if self.value == 1 else 's'} currently reporting"

    def value_text(self) -> str:
        """Without an exponent or trailing zeros."""
        text = f"{self.value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text


class Notification(Record):
    """One or more sensors, one group, a threshold, recipients."""

    kind: ClassVar[str] = "notification"
    sensors: tuple[SensorUse, ...]
    group_id: str | None = None  # none: every system
    threshold: ThresholdSpec
    recipient_ids: tuple[str, ...]
    reporting_within: Duration = DEFAULT_REPORTING_WITHIN_MS
    forget_after: Duration = DEFAULT_FORGET_AFTER_MS  # a system not heard for this long leaves both counts
    for_: Duration = Field(default=0, alias="for")  # the threshold must stay reached this long
    remind_every: Duration = 0  # 0: never
    cooldown: Duration = 0  # after a resolution nothing new is announced for this long
    schedule_id: str | None = None  # of a schedule, or the name of a preset; none: at any time
    notify_on: tuple[Literal["activated", "reminder", "resolved", "dismissed"], ...] = ("activated", "resolved")


class Schedule(Record):
    """When people may be told of what a notification that names it finds."""

    kind: ClassVar[str] = "schedule"
    time_zone: str  # IANA
    slots: WeekSlots


class Matcher(Wire):
    """One condition on a notification: its own name, that of one of its sensors, or of its group."""

    field: Literal["notification", "sensor", "group"]
    pattern: str  # * ? [abc]; case does not count
    negated: bool = False


class Silence(Record):
    """Of notifications that all matchers fit, nothing is sent from its start until its end."""

    kind: ClassVar[str] = "silence"
    matchers: tuple[Matcher, ...]
    starts_at: Time
    until: Time  # from this instant on it is over
    comment: str = ""
    created_by: str = ""


class Dismissal(Record):
    """Somebody has ended this activation. Its name is the activation's id."""

    kind: ClassVar[str] = "dismissal"
    activation_id: str
    dismissed_by: str = ""
    comment: str = ""


class Forgetting(Record):
    """Somebody has said that these systems are gone for good: nothing of them is remembered any more."""

    kind: ClassVar[str] = "forgetting"
    systems: tuple[str, ...]
    forgotten_by: str = ""
    comment: str = ""


class AuthenticationOff(Wire):
    """The webhook is not authenticated."""

    type: Literal["off"] = "off"


class BasicAuthentication(Wire):
    """User name and password, both required."""

    type: Literal["basic"] = "basic"
    username: str
    password: Ciphertext


Scheme = Literal["standard", "github", "header", "ed25519"]
DEFAULT_KEEP_OLD_MS = 24 * 3_600_000


class RetiredSecret(Wire):
    """A signing secret that was replaced, and goes on signing beside the new one for a while."""

    secret: Ciphertext  # bound to the same field as the one in use
    scheme: Scheme
    until: Time


class SignedSecret(Wire):
    """A signature made from the secret goes into the headers. Source: Standard Webhooks 1.0.0."""

    type: Literal["signed-secret"] = "signed-secret"
    secret: Ciphertext
    scheme: Scheme = "standard"
    header: str | None = None  # of the scheme `header`: where the secret itself goes
    keep_old: Duration = DEFAULT_KEEP_OLD_MS  # how long a replaced secret goes on signing
    retired: tuple[RetiredSecret, ...] = ()  # newest first


Authentication = Annotated[AuthenticationOff | BasicAuthentication | SignedSecret, Field(discriminator="type")]


class HeaderSpec(Wire):
    """One header. A sensitive value is write-only: it is stored as `secret`."""

    name: str
    value: str | None = None
    secret: Ciphertext | None = None

    @property
    def sensitive(self) -> bool:
        return self.secret is not None


class Webhook(Wire):
    """Where and how a webhook is sent."""

    url: str
    method: Literal["POST", "PUT"] = "POST"
    authentication: Authentication = AuthenticationOff()
    headers: tuple[HeaderSpec, ...] = ()
    body: str | None = None  # none: the default template
    content_type: str = "application/json"
    timeout: Duration = 15_000
    permanent: tuple[int, ...] = ()  # statuses after which trying again is useless


class MailTemplates(Wire):
    """What an email says where it is not ours to say: each part with the variables of webhook bodies."""

    subject: str | None = None  # none: the default
    text: str | None = None  # none: the default
    html: str | None = None  # none: the default, or no HTML at all beside a text of one's own


class Recipient(Record):
    """A user, a distribution list or a system, reached by email or by webhook."""

    kind: ClassVar[str] = "recipient"
    type: Literal["user", "distribution-list", "system"]
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    mail: MailTemplates | None = None  # none: the default throughout
    webhook: Webhook | None = None
    retry: tuple[Duration, ...] | None = None  # none: the deployment's schedule
    rate: Rate | None = None  # at most so many; none: as fast as it takes them
    ordered: Literal["activation", "notification"] | None = None  # one at a time of each, in order
    expire_after: Duration = DEFAULT_EXPIRE_AFTER_MS  # the clock stops while paused or disabled
    on_failing_id: str | None = None  # the recipient who is told when this one keeps failing
    paused: bool = False  # its deliveries wait
    enabled: bool = True  # False: disabled by hand; its deliveries wait
    enabled_at: Time = 0  # a disabling by the dispatcher that is older counts no more

    @property
    def channel(self) -> Literal["webhook", "email"]:
        return "webhook" if self.webhook is not None else "email"


class Settings(Record):
    """Settings of the deployment that live in Kafka; one record, named `deployment`."""

    kind: ClassVar[str] = "settings"
    tenant_id: str


Role = Literal["viewer", "operator", "editor", "admin"]
Scope = Literal["viewer", "operator", "editor", "admin", "ingest"]


class User(Record):
    """Somebody who may sign in to the console."""

    kind: ClassVar[str] = "user"
    role: Role
    password_hash: str  # Argon2id, in PHC form; empty: no password signs in
    issuer: str | None = None  # of the identity provider that the account is from
    password_changed_at: Time = 0  # sessions made before are void
    disabled: bool = False


class Token(Record):
    """A key for the API. The token itself is shown once and kept nowhere."""

    kind: ClassVar[str] = "token"
    scope: Scope
    token_hash: str  # SHA-256 in hex: a token has 256 random bits
    hint: str = ""  # its last characters, to tell tokens apart
    created_by: str = ""
    expires_at: Time | None = None  # none: never


class Answered(Record):
    """A write with an `Idempotency-Key` has been done: whoever sends it again does not do it again."""

    kind: ClassVar[str] = "answered"
    fingerprint: str  # SHA-256 of the request
    until: Time  # from then on the key may be used anew


AnyRecord = (
    Sensor
    | Group
    | Schedule
    | Notification
    | Recipient
    | Silence
    | Dismissal
    | Forgetting
    | Settings
    | User
    | Token
    | Answered
)
RECORD_TYPES: dict[str, type[Record]] = {
    model.kind: model
    for model in (
        Sensor,
        Group,
        Schedule,
        Notification,
        Recipient,
        Silence,
        Dismissal,
        Forgetting,
        Settings,
        User,
        Token,
        Answered,
    )
}
