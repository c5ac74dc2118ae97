"""What each field of a configuration document is for: into the OpenAPI document and docs/reference.

Types and defaults are the models' own. Bounds stand beside the readers that keep them; a test has those readers read
every example.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tocsin.console import yaml_recipients, yaml_records, yaml_timing
from tocsin.console.yaml_fields import MAX_TEXT
from tocsin.dispatcher.core.templates import MAX_SOURCE_BYTES
from tocsin.shared.configuration import sensor_options as options
from tocsin.shared.configuration.silences import MAX_MATCHERS
from tocsin.shared.schemas.reading import MAX_NAME_BYTES, MAX_TAGS
from tocsin.shared.times import format_duration


@dataclass(frozen=True, slots=True)
class Note:
    """`default` and `unit` in words, where the model's own say too little. `example` as JSON has it."""

    meaning: str
    example: Any
    bounds: str = ""
    unit: str = ""
    default: str = ""


def _within(least: int, most: int) -> str:
    return f"{format_duration(least)} to {format_duration(most)}"


LONGEST = f"up to {format_duration(options.MAX_DURATION)}"
NAMES = f"1 to {MAX_NAME_BYTES} bytes"
PATTERNS = f"at most {yaml_records.MAX_PATTERNS:,} patterns of {MAX_NAME_BYTES} bytes"
BODY = f"at most {MAX_SOURCE_BYTES >> 10} KiB, and 100 KB once rendered"

_COMMON = {
    "name": Note(
        "What people call it. To rename in a file, add `renamed_from`",
        "Any name",
        "1 to 200 characters, unique among its kind without regard to case",
    ),
    "description": Note(
        "For people; goes into events where it is a notification's", "In words", f"{MAX_TEXT:,} characters"
    ),
}
_LEVEL = {
    "trigger": Note(
        "The condition to trigger", "> 90", "`>` `>=` `<` `<=` `==` `!=`, `between 10 and 20`, `outside …`"
    ),
    "clear": Note(
        "Hysteresis: it clears when `trigger` is false and this is true",
        "< 80",
        "as `trigger`",
        default="not `trigger`",
    ),
    "for": Note("How long `trigger` must hold first", "5m", LONGEST),
    "keep": Note("How long clear must hold, without a break, before it clears", "2m", LONGEST),
    "breaches": Note(
        "`trigger` holds while it holds for so many of the last judged values",
        "3 of 5",
        f"of at most {options.MAX_BREACHES:,} values",
        default="the newest value alone",
    ),
}
_OPTIONS = {
    **_LEVEL,
    "levels": Note(
        "Instead of `trigger` and `clear`: names in rising severity",
        {"warn": {"trigger": "> 80"}, "crit": {"trigger": "> 95", "clear": "< 90"}},
        f"at most {options.MAX_LEVELS}",
        default="one level",
    ),
    "aggregate": Note(
        "Judge a function of a window instead of the reading",
        {"function": "avg", "window": "10m"},
        default="each reading by itself",
    ),
    "no_data": Note("What a silence does", {"after": "15m", "then": "no-data"}, default="nothing"),
    "hold": Note("How long the last value counts as still true, so that `for` can be reached", "1m", LONGEST),
    "lateness": Note("How late a reading may be and still enter a window", "30s", LONGEST),
    "flapping": Note(
        "Says `flapping` while it changes too often", {"enter": 50, "leave": 25, "history": 21}, default="never"
    ),
}
_HOLD = "text, `{env: NAME}` in files, or `{keep: true}` for the stored one"

NOTES: dict[str, dict[str, Note]] = {
    "SensorDocument": {
        **_COMMON,
        "metric": Note("What is measured", "cpu.percent", NAMES),
        **_OPTIONS,
        "trigger": Note(
            "The condition to trigger; required unless there are `levels`",
            "> 90",
            "`>` `>=` `<` `<=` `==` `!=`, `between 10 and 20` (both ends in), `outside 10 and 20`",
        ),
        "overrides": Note(
            "Other options on some systems; the first that matches wins",
            [{"systems": ["DB-*"], "trigger": "> 97"}],
            f"at most {options.MAX_OVERRIDES}",
        ),
    },
    "Level": {**_LEVEL, **{name: replace(_LEVEL[name], default="not at all") for name in ("for", "keep")}},
    "Aggregate": {
        "function": Note("What is made of the window; `rate` is per second", "avg"),
        "window": Note("The window slides, both ends in", "10m", f"up to {format_duration(options.MAX_WINDOW)}"),
        "tumbling": Note(
            "The window is aligned to the clock and judged at its end",
            "10m",
            f"up to {format_duration(options.MAX_WINDOW)}; exactly one of the three",
        ),
        "count": Note("The window is the last so many readings", 5, f"1 to {options.MAX_COUNT:,}", "readings"),
    },
    "NoData": {
        "after": Note("How long nothing must be heard", "15m", LONGEST),
        "then": Note("What it is then; `hold`: as before", "no-data"),
    },
    "Flapping": {
        "enter": Note(
            "From this share of weighted changes on it is `flapping`", 50, "above `leave`, up to 100", "percent"
        ),
        "leave": Note("Below this share it no longer is", 25, "0 to `enter`", "percent"),
        "history": Note("Of so many judgements", 21, f"at most {options.MAX_HISTORY:,}", "judgements"),
    },
    "Override": {
        "systems": Note("Patterns of the systems it is for: `*`, `?`, `[abc]`", ["DB-*"], PATTERNS),
        **{name: replace(one, default="as the sensor") for name, one in _OPTIONS.items()},
    },
    "GroupDocument": {
        **_COMMON,
        "systems": Note(
            "Patterns of system names, one of which must match: `*`, `?`, `[abc]`; case counts",
            ["FIN-*"],
            PATTERNS,
            default="any name",
        ),
        "tags": Note(
            "Tags with their values, all of which a system must have",
            {"site": "Berlin"},
            f"at most {MAX_TAGS}",
            default="none needed",
        ),
    },
    "NotificationDocument": {
        **_COMMON,
        "sensors": Note(
            "Names, or `{sensor, instance, level}`; all must be triggered on a system at the same time",
            ["CPU busy"],
            f"1 to {yaml_records.MAX_SENSORS}",
        ),
        "group": Note("Which systems count", "Finance", default="every system"),
        "threshold": Note(
            "A number of systems, or a percentage of the systems reporting",
            "25%",
            "from 1; above 0%, up to 100%",
            "systems or percent",
        ),
        "recipients": Note("Who is told, by name", ["On call"], f"at most {yaml_records.MAX_RECIPIENTS}"),
        "notify": Note(
            "What is told",
            ["activated", "resolved"],
            default="`activated` and `resolved`, and `reminder` with `remind_every`",
        ),
        "for": Note("How long the threshold must stay reached first", "5m"),
        "remind_every": Note(
            "How often to remind while it is active, from the activation on",
            "4h",
            f"from {format_duration(yaml_timing.SHORTEST_REMINDER_MS)}",
            default="never",
        ),
        "cooldown": Note("How long nothing new is announced after a resolution; what still stands then is", "10m"),
        "schedule": Note("When anything may be sent: a preset or a schedule", "12x5", default="at any time"),
        "forget_after": Note(
            "A system not heard for this long leaves both counts", "30d", "not shorter than `reporting_within`"
        ),
        "reporting_within": Note("How young a system's newest reading must be for it to count as reporting", "15m"),
    },
    "SensorUse": {
        "sensor": Note("The sensor's name", "CPU busy"),
        "instance": Note("On this instance only", "msedge.exe", NAMES, default="any instance"),
        "level": Note("At this level or above", "crit", default="any level"),
    },
    "RecipientDocument": {
        **_COMMON,
        "name": Note(
            "What people call it; a user's is made of both names when it is left out",
            "Ticket desk",
            _COMMON["name"].bounds,
        ),
        "type": Note("What it is", "system"),
        "first_name": Note("Of a user, and required there", "Ada", "200 characters"),
        "last_name": Note("Of a user, and required there", "Lovelace", "200 characters"),
        "email": Note("Where emails go; a system has this or `webhook`", "ada@example.com", "one address"),
        "mail": Note("Texts of emails of its own", {"subject": "@{notificationName}"}, default="the usual texts"),
        "webhook": Note("Where and how a webhook is sent", {"url": "https://example.com/hook"}),
        "retry": Note(
            "Delays between attempts, each one of the deployment's retry tiers",
            ["5s", "30s", "2m"],
            f"at most {yaml_recipients.MAX_RETRIES}",
            default="all tiers",
        ),
        "rate": Note(
            "At most so many deliveries",
            "10/s",
            "a number a second, minute or hour",
            default="as fast as it takes them",
        ),
        "ordered": Note("One at a time of each activation or notification, in order", "activation", default="no order"),
        "expire_after": Note(
            "A delivery older than this is given up; the clock stops while paused or disabled",
            "3d",
            _within(yaml_recipients.MIN_EXPIRY, yaml_recipients.MAX_EXPIRY),
        ),
        "on_failing": Note("Who is told, once, when this one keeps failing", "On call", default="nobody"),
        "paused": Note("Its deliveries wait", True),
        "enabled": Note("`false`: its deliveries wait until it is enabled", False),
    },
    "Webhook": {
        "url": Note(
            "Where requests go",
            "https://example.com/hook",
            "https, or http where the deployment allows it; no user name",
        ),
        "method": Note("Request method", "PUT"),
        "authentication": Note(
            "How the receiver knows that it is us",
            {"type": "signed-secret", "secret": "any text of yours"},
            default="`{type: off}`",
        ),
        "headers": Note(
            "Headers to send",
            [{"name": "X-Env", "value": "prod"}],
            f"at most {yaml_recipients.MAX_HEADERS}; names unique without regard to case",
        ),
        "body": Note(
            "A template; see [variables](../delivery.md#body-templates)",
            '{"id": "@{notificationActivationId}"}',
            BODY,
            default="a JSON object with all variables",
        ),
        "content_type": Note("Of the body, which must be JSON when this says so", "application/json"),
        "timeout": Note(
            "Of one attempt, in all", "10s", _within(yaml_recipients.MIN_TIMEOUT, yaml_recipients.MAX_TIMEOUT)
        ),
        "permanent": Note("HTTP statuses after which trying again is useless", [400, 404, 422], "400 to 599"),
    },
    "Authentication": {
        "type": Note("`off`, `basic` (user name and password) or `signed-secret`", "signed-secret", default="`off`"),
        "username": Note("Of `basic`, and required there", "tocsin", "255 characters, no colon"),
        "password": Note("Of `basic`, and required there; write-only", "a password", _HOLD),
        "secret": Note("Of `signed-secret`, and required there; write-only", "any text of yours", _HOLD),
        "scheme": Note("How it is signed, see [verifying](../verify/README.md)", "github"),
        "header": Note(
            "Of the scheme `header`, and required there: what carries the secret", "X-Token", "a header name"
        ),
        "keep_old": Note(
            "How long a replaced secret goes on signing beside the new one",
            "1d",
            _within(0, yaml_recipients.MAX_KEEP_OLD),
        ),
    },
    "Header": {
        "name": Note("A token, such as `X-Env`", "X-Env", "not one that frames the message, `proxy-*` or `webhook-*`"),
        "value": Note(
            "Its value; write-only when sensitive", "prod", f"{yaml_recipients.MAX_SECRET:,} characters, no line breaks"
        ),
        "sensitive": Note("Encrypts the value and never shows it again", True),
    },
    "MailTemplates": {
        "subject": Note(
            "A template with the variables of webhook bodies",
            "@{notificationName}: @{eventKind}",
            BODY,
            default="the usual subject",
        ),
        "text": Note("The plain text", "@{matchedCount} of @{reportingCount} systems", BODY, default="the usual text"),
        "html": Note(
            "The HTML; values are escaped",
            "<p>@{notificationName}</p>",
            BODY,
            default="the usual HTML; none beside a `text` of your own",
        ),
    },
    "ScheduleDocument": {
        **_COMMON,
        "time_zone": Note("An IANA zone", "Europe/Berlin"),
        "copy_of": Note(
            "A preset or another schedule whose days it has, but for those in `slots`",
            "12x5",
            "`12x5`, `18x6`, `24x7`, `Never`, or a name",
        ),
        "slots": Note(
            "Days with ranges of full and half hours; a day left out is closed. This or `copy_of` is required",
            {"mon-fri": ["08:00-18:00"]},
            f"up to `24:00`, at most {yaml_timing.MAX_RANGES} ranges a day",
        ),
    },
    "SilenceDocument": {
        **_COMMON,
        "matchers": Note(
            "`notification=`, `sensor=` or `group=` and a pattern (`!=`: not): all must fit; case does not count",
            ["notification=Finance*"],
            f"1 to {MAX_MATCHERS}",
        ),
        "from": Note("When it begins", "2026-12-01T00:00:00Z", "a time with its zone", default="since ever"),
        "until": Note("When it is over", "2026-12-02T00:00:00Z", "after `from`"),
        "comment": Note("Why", "Moving house", f"{MAX_TEXT:,} characters"),
    },
}
