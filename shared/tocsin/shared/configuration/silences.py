"""Which notifications a silence fits. Pure.

Matchers look at names as they are now, so renaming a notification can take it out of a silence.
"""

from __future__ import annotations

import fnmatch
import re
from functools import lru_cache

from tocsin.shared.configuration.names import fold
from tocsin.shared.configuration.records import Matcher, Notification, Silence
from tocsin.shared.configuration.snapshot import Configuration

FIELDS = ("notification", "sensor", "group")
MAX_MATCHERS = 20
_MATCHER = re.compile(r"\s*(\w+)\s*(!?=)\s*(.*?)\s*", re.ASCII | re.DOTALL)


def parse_matcher(text: str) -> Matcher:
    """`notification=Finance*`, `sensor!=CPU*`, `group=Lab`. Raises ValueError."""
    match = _MATCHER.fullmatch(text)
    if match is None or match.group(1) not in FIELDS:
        choices = ", ".join(FIELDS)
        raise ValueError(
            f"{text[:64]!r} is not a matcher, such as 'notification=Finance*' or 'group!=Lab'; there are {choices}"
        )
    name, sign, pattern = match.groups()
    return Matcher.model_validate({"field": name, "pattern": fold(pattern), "negated": sign == "!="})


def matcher_text(matcher: Matcher) -> str:
    """What `parse_matcher` reads back."""
    return f"{matcher.field}{'!=' if matcher.negated else '='}{matcher.pattern}"


def fits(silence: Silence, notification: Notification, configuration: Configuration) -> bool:
    """Whether all its matchers fit. Of several sensors one is enough; with `!=` none may fit."""
    return bool(silence.matchers) and all(
        _fits(matcher, _names(matcher, notification, configuration)) for matcher in silence.matchers
    )


def silences_of(notification: Notification, configuration: Configuration) -> list[Silence]:
    """All that fit it, past and future ones too."""
    return [silence for silence in configuration.silences.values() if fits(silence, notification, configuration)]


def _names(matcher: Matcher, notification: Notification, configuration: Configuration) -> list[str]:
    match matcher.field:
        case "notification":
            return [notification.name]
        case "sensor":
            found = (configuration.sensors.get(use.sensor_id) for use in notification.sensors)
            return [sensor.name for sensor in found if sensor is not None]
        case "group":
            group = configuration.group_ref(notification)
            return [group.name] if group is not None else []


def _fits(matcher: Matcher, names: list[str]) -> bool:
    pattern = _compiled(matcher.pattern)
    return any(pattern.match(name.casefold()) is not None for name in names) is not matcher.negated


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    # translate() makes every star atomic, so no pattern can explode.
    return re.compile(fnmatch.translate(pattern.casefold()))
