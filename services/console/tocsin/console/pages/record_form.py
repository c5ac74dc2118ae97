"""Forms of sensors, groups, schedules, notifications, silences: inputs for the usual, YAML for the rest. Pure."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any, Literal

from tocsin.console.pages.forms import text
from tocsin.shared.configuration.records import ThresholdSpec
from tocsin.shared.configuration.schedules import DAYS, PRESETS, SLOTS, parse_days, parse_range, ranges_of

EVENTS = ("activated", "reminder", "resolved", "dismissed")
BLANK_ROWS = 2


@dataclass(frozen=True, slots=True)
class Input:
    """One field. `choices` names the kind of records to choose from."""

    name: str
    label: str
    kind: Literal["text", "lines", "pairs", "select", "checks", "threshold", "sensors", "slots"] = "text"
    hint: str = ""
    required: bool = False
    choices: str = ""
    width: Literal["", "half"] = ""


@dataclass(frozen=True, slots=True)
class FormSpec:
    """The inputs of one kind."""

    kind: str
    title: str
    lead: str
    inputs: tuple[Input, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.inputs)


_NAME = Input("name", "Name", required=True)
_DESCRIPTION = Input("description", "Description")

SPECS: dict[str, FormSpec] = {
    "sensor": FormSpec(
        "sensor",
        "Sensor",
        "A rule over one metric: it is triggered or clear on each system.",
        (
            _NAME,
            _DESCRIPTION,
            Input("metric", "Metric", required=True, hint="Such as cpu.percent", choices="metrics"),
            Input("trigger", "Triggered when", hint="Such as > 90, between 10 and 20, outside 10 and 20", width="half"),
            Input("clear", "Clear when", hint="Left empty: when it is not triggered", width="half"),
            Input("for", "For at least", hint="Such as 5m", width="half"),
            Input("keep", "Keep for", hint="How long clear must hold, such as 2m", width="half"),
        ),
    ),
    "group": FormSpec(
        "group",
        "Group",
        "A named set of systems, by name and by tags.",
        (
            _NAME,
            _DESCRIPTION,
            Input("systems", "Systems", "lines", "Patterns, one a line, such as FIN-*; none means any name"),
            Input("tags", "Tags", "pairs", "All of them, one a line, such as site=Berlin"),
        ),
    ),
    "schedule": FormSpec(
        "schedule",
        "Schedule",
        "When people may be told, per weekday and half hour.",
        (
            _NAME,
            _DESCRIPTION,
            Input("time_zone", "Time zone", required=True, hint="Such as Europe/Berlin"),
            Input("slots", "Alarms are on", "slots"),
        ),
    ),
    "notification": FormSpec(
        "notification",
        "Notification",
        "Sensors, a group, a threshold, and who is told.",
        (
            _NAME,
            _DESCRIPTION,
            Input("sensors", "Sensors", "sensors", "Several: all of them must be triggered on a system", required=True),
            Input("group", "Group", "select", "None: every system", choices="group"),
            Input("threshold", "Threshold", "threshold", required=True),
            Input("recipients", "Recipients", "checks", choices="recipient"),
            Input("notify", "Tell them when it is", "checks", choices="events"),
            Input("schedule", "Schedule", "select", "None: at any time", choices="schedule"),
            Input("for", "After", hint="Reached for this long, such as 5m", width="half"),
            Input("remind_every", "Remind every", hint="Such as 1h", width="half"),
            Input("cooldown", "Cooldown", hint="Nothing new for this long after a resolution", width="half"),
            Input("reporting_within", "Reporting within", hint="Systems heard in this time count; 15m", width="half"),
        ),
    ),
    "silence": FormSpec(
        "silence",
        "Silence",
        "Of notifications that fit, nothing is sent in this time. Activations go on.",
        (
            _NAME,
            Input("comment", "Comment"),
            Input(
                "matchers",
                "Of notifications that fit all of",
                "lines",
                "One a line, such as notification=Finance*, sensor=CPU*, group!=Test",
                required=True,
            ),
            Input("from", "From", hint="UTC, such as 2026-11-23T18:00:00Z; empty: now", width="half"),
            Input("until", "Until", required=True, hint="UTC, such as 2026-11-24T06:00:00Z", width="half"),
        ),
    ),
}

Form = Mapping[str, str]
GetAll = Callable[[str], Sequence[str]]


def read_document(spec: FormSpec, form: Form, all_of: GetAll) -> dict[str, Any]:
    """What the inputs say; empty ones are left out."""
    found: dict[str, Any] = {}
    for one in spec.inputs:
        value = _read(one, form, all_of)
        if value not in ("", [], {}, None) or (one.required and one.kind == "text"):
            found[one.name] = value
    if spec.kind == "notification":
        found.setdefault("recipients", [])
    return found


def _read(one: Input, form: Form, all_of: GetAll) -> Any:
    match one.kind:
        case "lines":
            return [line.strip() for line in form.get(one.name, "").splitlines() if line.strip()]
        case "pairs":
            pairs = (line.partition("=") for line in form.get(one.name, "").splitlines() if line.strip())
            return {name.strip(): value.strip() for name, _, value in pairs}
        case "checks":
            return list(all_of(one.name))
        case "threshold":
            return _threshold(text(form, "threshold"), form.get("threshold-unit", "systems"))
        case "sensors":
            return _sensors(form)
        case "slots":
            return _slots(all_of("slot"))
        case _:
            return text(form, one.name)


def _threshold(value: str, unit: str) -> Any:
    value = value.removesuffix("%").strip()
    if unit == "percent":
        return f"{value}%" if value else ""
    return int(value) if value.isdecimal() and len(value) < 10 else value


def _sensors(form: Form) -> list[Any]:
    found: list[Any] = []
    for number in range(50):
        name = text(form, f"sensor-{number}")
        if not name:
            continue
        more = {key: text(form, f"sensor-{key}-{number}") for key in ("instance", "level")}
        more = {key: value for key, value in more.items() if value}
        found.append({"sensor": name, **more} if more else name)
    return found


def _slots(chosen: Sequence[str]) -> dict[str, list[str]]:
    """Boxes that are checked, such as `mon-16`: the half hour from 08:00; anything else is passed over."""
    bits = dict.fromkeys(DAYS, 0)
    for one in chosen:
        day, _, slot = one.partition("-")
        if day in bits and slot.isdecimal() and int(slot[:3]) < SLOTS:
            bits[day] |= 1 << int(slot[:3])
    return {day: ranges_of(found) for day, found in bits.items() if found}


def preset_slots(name: str) -> dict[str, list[str]] | None:
    """Of a preset, to begin with."""
    return PRESETS[name].as_ranges() if name in PRESETS else None


def sensor_rows(value: Any) -> list[dict[str, str]]:
    """Rows of inputs: those that are there, and some to fill."""
    rows = []
    for use in value or ():
        given = {"sensor": use} if isinstance(use, str) else dict(use)
        rows.append({key: str(given.get(key, "")) for key in ("sensor", "instance", "level")})
    return rows + [{"sensor": "", "instance": "", "level": ""}] * (BLANK_ROWS if rows else 3)


@dataclass(frozen=True, slots=True)
class SlotRow:
    """One half hour through the week."""

    time: str  # 08:30
    whole: bool  # a full hour
    cells: tuple[tuple[str, str, bool], ...]  # value of the box, what it is called, whether it is checked


def slot_rows(value: Any) -> list[SlotRow]:
    """All half hours of a day; what a document says of days and ranges is checked, and what it says wrongly is not."""
    bits = dict.fromkeys(DAYS, 0)
    for key, ranges in (value or {}).items():
        with contextlib.suppress(ValueError):
            for day in parse_days(str(key)):
                for one in [ranges] if isinstance(ranges, str) else ranges:
                    bits[DAYS[day]] |= parse_range(str(one))
    rows = []
    for slot in range(SLOTS):
        time = f"{slot // 2:02d}:{slot % 2 * 30:02d}"
        cells = tuple((f"{day}-{slot}", f"{day.capitalize()} {time}", bool(bits[day] >> slot & 1)) for day in DAYS)
        rows.append(SlotRow(time, slot % 2 == 0, cells))
    return rows


def threshold_parts(value: Any) -> tuple[str, str]:
    """The number and its unit."""
    shown = "" if value is None else str(value)
    return (shown.removesuffix("%"), "percent") if shown.endswith("%") else (shown, "systems")


def threshold_words(value: Any, reporting: int) -> str:
    """`25% of systems currently reporting: that is 2 of 8 right now`; nothing when it is no threshold."""
    text, unit = threshold_parts(value)
    try:
        threshold = ThresholdSpec(value=Decimal(text), is_percent=unit == "percent")
        if not threshold.is_percent:
            return threshold.text()
        needed = (threshold.value * reporting / 100).to_integral_value(ROUND_CEILING)
    except ArithmeticError:
        return ""
    return f"{threshold.text()}: that is {needed} of {reporting} right now" if reporting else threshold.text()
