"""What the API answers about activations, deliveries and the like."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_CLOSED = ConfigDict(extra="forbid")


class ActivationRow(BaseModel):
    """One occurrence of a notification being active."""

    id: str
    notification_id: str
    notification: str
    state: Literal["active", "resolved", "dismissed"]
    activated_at: str
    ended_at: str | None = None
    matched: int
    reporting: int


class ActivationDetail(ActivationRow):
    """With what happened to it."""

    systems_total: int
    systems_truncated: bool
    events: list[dict[str, Any]]


class SystemNames(BaseModel):
    """Names of systems, in order; `total` counts all of them, listed or not."""

    items: list[str]
    next: str | None = None
    total: int


class DeliveryRow(BaseModel):
    """One event for one recipient, as it stands."""

    id: str
    replay: int
    event_id: str
    activation_id: str
    notification_id: str
    notification: str
    recipient_id: str
    recipient: str
    routed_at: str
    updated_at: str
    state: Literal["waiting", "retrying", "delivered", "dead-lettered", "expired", "cancelled"]
    attempts: int
    channel: str | None = None
    outcome: str | None = None
    reason: str | None = None
    status: int | None = None
    latency_ms: float | None = None
    next_at: str | None = None


class DeliveryDetail(DeliveryRow):
    """With its audit records, oldest first."""

    steps: list[dict[str, Any]]


class DeadLetterRow(BaseModel):
    """A delivery given up."""

    delivery_id: str
    replay: int
    time: str
    recipient_id: str
    recipient: str
    notification_id: str
    notification: str
    reason: str
    detail: str
    status: int | None = None
    response_excerpt: str


class ReplayDocument(BaseModel):
    """Which dead letters to take up again: by delivery, or all of a recipient since a time."""

    model_config = _CLOSED
    deliveries: list[str] = Field(default=[], max_length=1_000)
    recipient: str | None = Field(default=None, description="Its id")
    since: str | None = Field(default=None, json_schema_extra={"format": "date-time"})


class Replayed(BaseModel):
    """What has been taken up again."""

    deliveries: list[str]


class SystemRow(BaseModel):
    """A system as it was last heard."""

    name: str
    heard: str
    tags: dict[str, str]
    triggered: int


class ChangeRow(BaseModel):
    """Who changed what."""

    id: str
    time: str
    actor: str
    action: str
    kind: str
    record_id: str
    name: str
    fields: list[str]


class AssignDocument(BaseModel):
    """The notifications of a recipient."""

    model_config = _CLOSED
    notifications: list[str] = Field(max_length=10_000, description="Their ids")
    allow_none_left: bool = Field(default=False, description="Even if one is left without any recipient")


class Assigned(BaseModel):
    """What it came to."""

    notifications: list[str]
    left_without_recipient: list[str]


class TrialDocument(BaseModel):
    """A recipient to try, saved or not."""

    recipient: dict[str, Any] = Field(description="A RecipientDocument")
    id: str | None = Field(default=None, description="Of the saved one whose secrets `{keep: true}` means")


class HeaderLine(BaseModel):
    """One header of a preview."""

    name: str
    value: str
    masked: bool


class PreviewAnswer(BaseModel):
    """What would be sent."""

    channel: str
    target: str
    method: str
    headers: list[HeaderLine]
    subject: str | None = None
    body: str
    size: int
    problem: str | None = None
    html: str | None = Field(default=None, description="Of an email, beside its text")


class TrialAnswer(BaseModel):
    """What the receiver said."""

    ok: bool
    reason: str
    status: int | None = None
    latency_ms: float
    answer: str
    hint: str
    event_id: str


_SINCE = Field(default="24h", description="A duration back from now, or a time; at most 24 hours ago")


class SensorTrialDocument(BaseModel):
    """A sensor to try on recent readings, saved or not."""

    model_config = _CLOSED
    sensor: dict[str, Any] = Field(description="A SensorDocument")
    id: str | None = Field(default=None, description="Of the saved one that it would replace")
    since: str = _SINCE


class NotificationTrialDocument(BaseModel):
    """A notification to try on recent readings, saved or not."""

    model_config = _CLOSED
    notification: dict[str, Any] = Field(description="A NotificationDocument")
    id: str | None = Field(default=None, description="Of the saved one that it would replace")
    since: str = _SINCE


class SensorFiguresAnswer(BaseModel):
    """One sensor over all its series. Times are in seconds, all series together."""

    name: str
    triggered: int
    still_triggered: int
    triggered_seconds: float
    longest_seconds: float
    series: int
    noisiest: dict[str, int] = Field(description="Systems on which it triggered most, and how often")


class ChangeAnswer(BaseModel):
    """The sensor would have changed."""

    time: str
    system: str
    instance: str | None
    state: str
    level: str | None
    value: float | None


class ActiveAnswer(BaseModel):
    """The notification would have been active."""

    activated_at: str
    ended_at: str | None
    matched: int
    reporting: int
    systems: list[str] = Field(description="Up to 20 of those matched at the activation")


class DryRunAnswer(BaseModel):
    """What was judged. Lists hold the newest; counts count all."""

    since: str
    until: str
    readings: int
    refused: int = Field(description="Messages that hold no reading, or not only")
    cut: list[str] = Field(description="Why it is less than what was asked for; empty: it is all")
    sensors: list[SensorFiguresAnswer]


class SensorDryRun(DryRunAnswer):
    """What a sensor would have done."""

    change_count: int
    changes: list[ChangeAnswer]


class NotificationDryRun(DryRunAnswer):
    """When a notification would have been active."""

    activation_count: int
    active_seconds: float
    activations: list[ActiveAnswer]


class DismissDocument(BaseModel):
    """Why an activation is ended by hand."""

    model_config = _CLOSED
    comment: str | None = Field(default=None, max_length=2_000)


class Dismissed(BaseModel):
    """`dismissed` is false when somebody had done it already."""

    id: str
    dismissed: bool


class LagRow(BaseModel):
    """What one service has not read yet of one topic."""

    service: str
    group: str
    topic: str
    behind: int = Field(description="Messages; a transaction's mark may count as one")
    members: int = Field(description="Processes that take part now")


class LagAnswer(BaseModel):
    """`read_at` is null until it has been read once."""

    read_at: str | None
    items: list[LagRow]
