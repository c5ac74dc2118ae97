"""What a body template can print: SysTrack's fourteen variables, and seven of our own. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from types import MappingProxyType

from tocsin.shared.schemas.base import Ref
from tocsin.shared.schemas.event import EventUrls, NotificationEvent, Threshold
from tocsin.shared.times import format_rfc3339


class JsonText(str):
    """Text that is JSON already: outside quotes it is printed as it is, so `[@{sensorNames}]` is a list."""

    __slots__ = ()


VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        "notificationActivationId": "id (GUID) of the activation",
        "activationTime": "UTC time of the activation, with eight digits after the point",
        "tenantId": "id (GUID) of the tenant",
        "notificationName": "name of the notification",
        "sensorNames": "comma-separated sensor names, each name quoted",
        "sensorNamesUnquoted": "comma-separated sensor names",
        "groupName": "the group the notification watches",
        "activationThresholdText": "the threshold in words",
        "activationThresholdValue": "the number or percentage",
        "activationThresholdIsPercent": "true for a percentage, false for a number",
        "notificationDescription": "description",
        "notificationActivationDetailsURL": "link to the activation in the console",
        "systemsAtActivationURL": "API URL: systems affected at the activation",
        "systemsCurrentlyAffectedURL": "API URL: systems affected now, or at the resolution once it is over",
        # Beyond SysTrack's
        "eventKind": "activated, reminder, resolved or dismissed",
        "eventTime": "UTC time of this event, as activationTime",
        "notificationEventId": "id (GUID) of this event; another one for activated and for resolved",
        "notificationState": "active, resolved or dismissed: what the activation is after this event",
        "matchedCount": "number of systems that matched at this event",
        "reportingCount": "number of systems reporting at this event",
        "activatedStillRetried": "true when this activation's `activated` has not reached the recipient yet",
    }
)

EVERY_SYSTEM = "All systems"
"""What a notification without a group watches."""

DEFAULT_BODY = """\
{
  "eventId": "@{notificationActivationId}",
  "eventKind": "@{eventKind}",
  "eventTime": "@{eventTime}",
  "notificationEventId": "@{notificationEventId}",
  "notificationState": "@{notificationState}",
  "notificationActivationId": "@{notificationActivationId}",
  "activationTime": "@{activationTime}",
  "tenantId": "@{tenantId}",
  "notificationName": "@{notificationName}",
  "notificationDescription": "@{notificationDescription}",
  "sensorNames": [@{sensorNames}],
  "sensorNamesUnquoted": "@{sensorNamesUnquoted}",
  "groupName": "@{groupName}",
  "activationThresholdText": "@{activationThresholdText}",
  "activationThresholdValue": @{activationThresholdValue},
  "activationThresholdIsPercent": @{activationThresholdIsPercent},
  "matchedCount": @{matchedCount},
  "reportingCount": @{reportingCount},
  "activatedStillRetried": @{activatedStillRetried},
  "notificationActivationDetailsURL": "@{notificationActivationDetailsURL}",
  "systemsAtActivationURL": "@{systemsAtActivationURL}",
  "systemsCurrentlyAffectedURL": "@{systemsCurrentlyAffectedURL}"
}
"""
"""Begins with SysTrack's `eventId`; the rest of SysTrack's default is not public, so ours carries everything."""

_STATES = {"activated": "active", "reminder": "active", "resolved": "resolved", "dismissed": "dismissed"}


class Values:
    """The variables of one event, each made when it is first asked for."""

    __slots__ = ("_event", "_known")

    def __init__(self, by_name: Mapping[str, object]) -> None:
        """Of values that are there already."""
        self._known: dict[str, object] = dict(by_name)
        self._event: NotificationEvent | None = None

    @classmethod
    def of(cls, event: NotificationEvent, *, activated_still_retried: bool = False) -> Values:
        made = cls({"activatedStillRetried": activated_still_retried})
        made._event = event
        return made

    def value(self, name: str) -> object:
        """Raises KeyError when there is no such variable."""
        found = self._known.get(name, self)
        if found is not self:
            return found
        if self._event is None:
            raise KeyError(name)
        value = self._known[name] = _OF_EVENT[name](self._event)
        return value

    @property
    def by_name(self) -> Mapping[str, object]:
        """All of them."""
        return self._known if self._event is None else {name: self.value(name) for name in VARIABLES}


def _sensor_names(event: NotificationEvent) -> JsonText:
    return JsonText(", ".join(json.dumps(sensor.name, ensure_ascii=False) for sensor in event.sensors))


@lru_cache(maxsize=1024)
def _number(text: str) -> int | Decimal | str:
    """An exact number where it is one; the text goes out as it came otherwise."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    if not number.is_finite() or abs(number.adjusted()) > 30:
        return text
    return int(number) if number == number.to_integral_value() else number


_OF_EVENT: Mapping[str, Callable[[NotificationEvent], object]] = MappingProxyType(
    {
        "notificationActivationId": lambda event: event.activation_id,
        "activationTime": lambda event: _time(event.activated_at),
        "tenantId": lambda event: event.tenant_id,
        "notificationName": lambda event: event.notification.name,
        "sensorNames": _sensor_names,
        "sensorNamesUnquoted": lambda event: ", ".join(sensor.name for sensor in event.sensors),
        "groupName": lambda event: event.group.name if event.group else EVERY_SYSTEM,
        "activationThresholdText": lambda event: event.threshold.text,
        "activationThresholdValue": lambda event: _number(event.threshold.value),
        "activationThresholdIsPercent": lambda event: event.threshold.is_percent,
        "notificationDescription": lambda event: event.description,
        "notificationActivationDetailsURL": lambda event: event.urls.activation,
        "systemsAtActivationURL": lambda event: event.urls.systems_at_activation,
        "systemsCurrentlyAffectedURL": lambda event: event.urls.systems_now,
        "eventKind": lambda event: event.kind,
        "eventTime": lambda event: _time(event.time),
        "notificationEventId": lambda event: event.id,
        "notificationState": lambda event: _STATES[event.kind],
        "matchedCount": lambda event: event.matched,
        "reportingCount": lambda event: event.reporting,
    }
)


def _time(epoch_ms: int) -> str:
    """`yyyy-mm-ddThh:mm:ss.ffffffffZ`: eight digits, of which a millisecond clock fills three."""
    return f"{format_rfc3339(epoch_ms)[:-1]}00000Z"


def _sample(name: str, *, percent: bool, group: Ref | None, description: str) -> NotificationEvent:
    identity = "00000000-0000-4000-8000-000000000000"
    return NotificationEvent(
        id=identity,
        kind="activated",
        ordinal=1,
        tenant_id=identity,
        activation_id=identity,
        activated_at=1_764_064_800_123,
        time=1_764_064_800_123,
        notification=Ref(id=identity, name=name),
        description=description,
        sensors=(Ref(id=identity, name="CPU busy"), Ref(id=identity, name='Disk "C:\\"')),
        group=group,
        threshold=Threshold(
            value="24.5" if percent else "3",
            is_percent=percent,
            text="24.5% of systems currently reporting" if percent else "3 systems currently reporting",
        ),
        revision="0",
        matched=3,
        reporting=8,
        urls=EventUrls(
            activation="https://tocsin.example/a/1",
            systems_at_activation="https://tocsin.example/s/1?at=activation&page=1",
            systems_now="https://tocsin.example/s/1",
        ),
    )


SAMPLES: tuple[Values, ...] = (
    Values.of(
        _sample(
            'Finance "slow" \\ <&>', percent=True, group=Ref(id="g", name="Fi\tnance"), description='a "b"\nc \u2028 é'
        ),
        activated_still_retried=True,
    ),
    Values.of(_sample("Plain", percent=False, group=None, description="")),
)
"""Values that try a template out when it is saved: every character that needs care, and empty ones."""
