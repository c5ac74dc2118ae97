"""What the demo must see, and what of it has been seen. Pure: observations in, lines and missing parts out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tocsin.shared.schemas.audit import TERMINAL


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the timeline: when (epoch milliseconds), which stage, and what."""

    time_ms: int
    stage: str
    text: str


@dataclass
class Story:
    """Follows the first activation from its reading to its audit records, and on to its end."""

    system: str
    since_ms: int
    activation_id: str | None = None
    event_id: str | None = None
    resolved_event_id: str | None = None
    last_value: float | None = None
    # By event, which may be read after them: they are in another topic. Delivery id → recipient.
    routed: dict[str | None, dict[str, str]] = field(default_factory=dict)
    terminals: dict[str, list[str]] = field(default_factory=dict)
    verified: set[str] = field(default_factory=set)  # webhook-ids whose signature was right
    mails: set[str] = field(default_factory=set)  # Message-IDs: each holds its delivery's id
    triggered: bool = False
    cleared: bool = False

    def reading(self, value: float) -> str:
        self.last_value = value
        return f"cpu.percent {value:.1f} on {self.system}"

    def change(self, record: dict[str, Any]) -> str | None:
        if record["system"] != self.system:
            return None
        if record["state"] == "triggered":
            self.triggered = True
        elif self.triggered:
            self.cleared = True
        value = "" if record["value"] is None else f" at {record['value']:.1f}"
        return f"{record['sensor']} is {record['state']}{value} ({record['condition'] or record['reason']})"

    def event(self, record: dict[str, Any]) -> str | None:
        kind = record["kind"]
        if kind == "activated" and self.event_id is None:
            self.activation_id, self.event_id = record["activation_id"], record["id"]
        elif kind == "resolved" and record["activation_id"] == self.activation_id:
            self.resolved_event_id = record["id"]
        counts = f"{record['matched']} of {record['reporting']} reporting systems"
        return f"{record['notification']['name']}: {kind}, {counts}, threshold {record['threshold']['text']}"

    def audit(self, record: dict[str, Any]) -> str | None:
        delivery, kind, recipient = record["delivery_id"], record["kind"], record["recipient"]["name"]
        if kind == "routed":
            self.routed.setdefault(record["event_id"], {})[delivery] = recipient
        if kind in TERMINAL:
            self.terminals.setdefault(delivery, []).append(kind)
        if kind == "attempt":
            status = "" if record["status"] is None else f" {record['status']}"
            took = f", {record['latency_ms']:.0f} ms" if record["latency_ms"] is not None else ""
            return f"{recipient}: attempt {record['attempt']} {record['outcome']} ({record['channel']}{status}{took})"
        return f"{recipient}: {kind}"

    def webhook(self, record: dict[str, Any]) -> str:
        if record.get("verified"):
            self.verified.add(str(record.get("id")))
            how = "signature verified"
        else:
            how = "signature NOT verified"
        return f"webhook-id {record.get('id')} received, {how}"

    def mail(self, message_id: str, recipients: str, subject: str) -> str:
        self.mails.add(message_id)
        return f"to {recipients}: {subject}"

    @property
    def deliveries(self) -> dict[str, str]:
        """Of the activated event."""
        return self.routed.get(self.event_id, {})

    @property
    def is_over(self) -> bool:
        """As many as were told of the activation have been told of its end, or that was given up."""
        last = self.routed.get(self.resolved_event_id, {})
        return len(last) >= max(1, len(self.deliveries)) and last.keys() <= self.terminals.keys()

    def missing(self) -> list[str]:
        """What still has to be seen before the demo has shown what it promises."""
        if not self.triggered:
            last = "no reading" if self.last_value is None else f"the last reading was {self.last_value:.1f}"
            return [f"the sensor CPU busy has not triggered ({last})"]
        if self.event_id is None:
            return ["the notification has not been activated"]
        parts = []
        if len(self.deliveries) < 2:
            parts.append(f"{2 - len(self.deliveries)} of 2 deliveries have not been routed")
        if not any(delivery in self.verified for delivery in self.deliveries):
            parts.append("the receiver has not verified a webhook's signature")
        if not any(delivery in message_id for message_id in self.mails for delivery in self.deliveries):
            parts.append("the mail sink has not got the email")
        for delivery, recipient in self.deliveries.items():
            ends = self.terminals.get(delivery, [])
            if ends != ["delivered"]:
                parts.append(f"the audit of the delivery to {recipient} says {', '.join(ends) or 'nothing final yet'}")
        return parts
