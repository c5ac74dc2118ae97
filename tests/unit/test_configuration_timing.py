"""Schedules, silences and dismissals as they are written, copied, referred to, refused and cleared away."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from tocsin.console.checks import EgressPolicy
from tocsin.console.diff import render_plan
from tocsin.console.findings import Findings
from tocsin.console.plan import Plan, Planner
from tocsin.console.quieting import KEEP_MS, add_silence, dismiss, expire_silence
from tocsin.console.state import ConflictError, Delete, Put, State, compose
from tocsin.console.yaml_export import export_state, names_of
from tocsin.console.yaml_fields import Reader
from tocsin.console.yaml_files import read_files
from tocsin.console.yaml_recipients import Rules
from tocsin.shared.configuration.records import Dismissal, Matcher, Notification, Schedule, Silence
from tocsin.shared.configuration.snapshot import Configuration, notification_revision
from tocsin.shared.secrets import KeyRing
from tocsin.shared.topics import DEFAULT_RETRY_TIERS

RULES = """
sensors: [{name: CPU, metric: cpu, trigger: "> 90"}]
recipients: [{name: List, type: distribution-list, email: a@example.com}]
notifications: [{name: N, sensors: [CPU], threshold: 1, recipients: [List], schedule: %s}]
"""
OFFICE = """
schedules:
  - name: Office
    time_zone: Europe/Berlin
    slots: {mon-thu: ["08:00-12:00", "13:00-18:00"], fri: "08:00-16:30"}
"""


class Editor:
    """A configuration without a broker."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.state = State()

    def plan(self, text: str, *, prune: bool = False) -> tuple[Plan, list[str]]:
        self.file.write_text(text)
        findings = Findings()
        drafts = read_files([str(self.file)], Reader(findings, {}), Rules(EgressPolicy(), DEFAULT_RETRY_TIERS))
        ids = (f"id{self.state.change}-{number}" for number in itertools.count())
        planner = Planner(self.state, findings, lambda: KeyRing({}), lambda: next(ids), prune=prune, now_ms=0)
        return planner.plan(drafts), [str(finding) for finding in sorted(findings.all)]

    def apply(self, text: str, *, prune: bool = False) -> list[str]:
        """The diff."""
        plan, findings = self.plan(text, prune=prune)
        assert findings == []
        lines = list(render_plan(plan, names_of(self.state)))
        if plan.operations():
            self.state = compose(self.state, plan.operations(), self.state.change + 1, 0).state
        return lines


@pytest.fixture
def editor(tmp_path: Path) -> Editor:
    return Editor(tmp_path / "c.yaml")


def notification(editor: Editor) -> Notification:
    found = editor.state.find("notification", "N")
    assert isinstance(found, Notification)
    return found


def schedule(editor: Editor, name: str) -> Schedule:
    found = editor.state.find("schedule", name)
    assert isinstance(found, Schedule)
    return found


def test_a_preset_needs_no_record_and_is_known_however_it_is_written(editor: Editor) -> None:
    editor.apply(RULES % "Never")
    assert notification(editor).schedule_id == "never"
    assert export_state(editor.state)["notifications"][0]["schedule"] == "never"


def test_a_schedule_is_referred_to_by_its_id_so_that_it_can_be_renamed(editor: Editor) -> None:
    editor.apply(OFFICE + RULES % "office")
    made = schedule(editor, "Office")
    assert notification(editor).schedule_id == made.id
    editor.apply(OFFICE.replace("name: Office", "name: Bureau\n    renamed_from: Office") + RULES % "Bureau")
    assert notification(editor).schedule_id == made.id == schedule(editor, "bureau").id


def test_a_copy_has_the_days_of_the_original_but_for_its_own(editor: Editor) -> None:
    copies = """
  - {name: Site, time_zone: UTC, copy_of: 12x5, slots: {sat: ["09:00-12:00"], fri: []}}
  - {name: Branch, time_zone: Asia/Tokyo, copy_of: site, slots: {sun: ["00:00-24:00"]}}
  - {name: Twin, time_zone: UTC, copy_of: Office}
"""
    editor.apply(OFFICE + copies)
    week = ["07:00-19:00"]
    site = {"mon": week, "tue": week, "wed": week, "thu": week, "sat": ["09:00-12:00"]}
    assert schedule(editor, "Site").slots.as_ranges() == site
    assert schedule(editor, "Branch").slots.as_ranges() == {**site, "sun": ["00:00-24:00"]}
    assert schedule(editor, "Twin").slots == schedule(editor, "Office").slots
    assert editor.apply(OFFICE + copies) == ["4 unchanged"]
    late = "schedules: [{name: Late, time_zone: UTC, copy_of: Branch}]"  # of one that is not in the file
    editor.apply(late)
    assert schedule(editor, "Late").slots == schedule(editor, "Branch").slots


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (RULES % "Nights", "schedule: there is no schedule 'Nights'"),
        ("schedules: [{name: 12X5, time_zone: UTC, slots: {}}]", "name: '12X5' is a preset, which cannot be changed"),
        ("schedules: [{name: A, slots: {mon: ['08:00-09:00']}}]", "time_zone: is required"),
        ("schedules: [{name: A, time_zone: Berlin, slots: {}}]", "time_zone: 'Berlin' is not an IANA time zone"),
        ("schedules: [{name: A, time_zone: UTC}]", "slots: is required, or copy_of"),
        ("schedules: [{name: A, time_zone: UTC, slots: [mon]}]", "slots: must be days with their ranges"),
        ("schedules: [{name: A, time_zone: UTC, slots: {mond: []}}]", "slots.mond: 'mond' is not a day"),
        ("schedules: [{name: A, time_zone: UTC, slots: {mon-wed: [], tue: []}}]", "slots.tue: tue is given twice"),
        ("schedules: [{name: A, time_zone: UTC, slots: {mon: ['8-9']}}]", "slots.mon[0]: '8-9' is not a range"),
        ("schedules: [{name: A, time_zone: UTC, slots: {mon: 5}}]", "slots.mon: must be at most 24 ranges"),
        ("schedules: [{name: A, time_zone: UTC, copy_of: B}]", "copy_of: there is no schedule 'B'"),
        ("schedules: [{name: A, time_zone: UTC, copy_of: a}]", "copy_of: 'A' would be a copy of itself"),
        ("silences: [{name: Q, until: 2026-12-01T00:00:00Z}]", "matchers: is required"),
        ("silences: [{name: Q, matchers: [host=a], until: 2026-12-01T00:00:00Z}]", "matchers[0]: 'host=a' is not a"),
        ("silences: [{name: Q, matchers: [group=a]}]", "until: is required"),
        ("silences: [{name: Q, matchers: [group=a], until: tomorrow}]", "until: 'tomorrow' is not an RFC 3339 time"),
        (
            "silences: [{name: Q, matchers: [group=a], from: 2026-12-01T00:00:00Z, until: 2026-12-01T00:00:00Z}]",
            "until: is not after its beginning",
        ),
    ],
)
def test_what_is_wrong_is_refused_with_its_field_and_a_reason(editor: Editor, text: str, expected: str) -> None:
    _, findings = editor.plan(text)
    assert len(findings) == 1, findings
    assert expected in findings[0]


def test_two_schedules_cannot_copy_each_other(editor: Editor) -> None:
    _, findings = editor.plan(
        "schedules: [{name: A, time_zone: UTC, copy_of: B}, {name: B, time_zone: UTC, copy_of: A}]"
    )
    assert findings != []
    assert all("would be a copy of itself" in finding for finding in findings)


def test_a_schedule_in_use_is_not_deleted(editor: Editor) -> None:
    editor.apply(OFFICE + RULES % "Office")
    with pytest.raises(ConflictError, match="schedule 'Office' is used by notification 'N'"):
        compose(editor.state, [Delete(schedule(editor, "Office").id)], 9, 0)


def test_reminders_without_notify_are_told(editor: Editor) -> None:
    editor.apply(RULES % "never, remind_every: 4h")
    assert notification(editor).notify_on == ("activated", "reminder", "resolved")
    editor.apply(RULES % "never, remind_every: 4h, notify: [activated]")
    assert notification(editor).notify_on == ("activated",)


SILENCE = Silence(
    id="q1", name="Q", matchers=(Matcher(field="group", pattern="lab*"),), starts_at=1_000, until=2_000, created_by="me"
)


def test_pruning_leaves_silences_alone_and_an_apply_leaves_who_made_them(editor: Editor) -> None:
    editor.state = compose(editor.state, [Put(SILENCE)], 1, 0).state
    editor.apply(OFFICE, prune=True)
    assert editor.state.find("silence", "Q") is not None
    editor.apply("silences: [{name: Q, matchers: [group=lab*], until: 2026-12-01T00:00:00Z}]")
    changed = editor.state.find("silence", "Q")
    assert isinstance(changed, Silence)
    assert (changed.id, changed.created_by, changed.starts_at) == ("q1", "me", 0)


def test_an_ended_silence_ends_once_and_one_to_come_never_begins() -> None:
    assert expire_silence(SILENCE, 2_000) == []
    (ended,) = expire_silence(SILENCE, 1_500)
    assert isinstance(ended, Put)
    assert isinstance(ended.record, Silence)
    assert ended.record.until == 1_500
    (never,) = expire_silence(SILENCE, 500)
    assert isinstance(never, Put)
    assert isinstance(never.record, Silence)
    assert (never.record.starts_at, never.record.until) == (1_000, 1_000)


def test_what_is_long_over_goes_with_the_next() -> None:
    state = compose(State(), [Put(SILENCE)], 1, 0).state
    state = compose(state, dismiss(state, "a1", by="me", comment="", new_id="d1", now_ms=5), 2, 5).state
    assert dismiss(state, "a1", by="you", comment="", new_id="d2", now_ms=6) == []
    later = 2_000 + KEEP_MS + 1
    operations = add_silence(state, SILENCE.model_copy(update={"id": "q2", "name": "Q2"}), later)
    left = compose(state, operations, 3, later).state
    assert [record.name for record in left.of_kind("silence")] == ["Q2"]
    assert left.of_kind("dismissal") == []


def test_a_dismissal_is_found_by_its_activation() -> None:
    record = Dismissal(id="d", name="a1", activation_id="a1", dismissed_by="me", comment="known")
    configuration = Configuration.of(1, {"dismissal/a1": record})
    assert configuration.dismissals == {"a1": record}


def test_options_at_their_defaults_leave_the_revision_as_older_versions_made_it(editor: Editor) -> None:
    editor.apply(RULES % "null")
    configuration = Configuration.of(1, editor.state.records)
    plain = notification(editor)
    first = notification_revision(plain, configuration)
    sensor_id = plain.sensors[0].sensor_id
    renamed = replace(configuration, sensors={"fixed": configuration.sensors[sensor_id]})
    fixed = plain.model_copy(update={"sensors": (plain.sensors[0].model_copy(update={"sensor_id": "fixed"}),)})
    assert notification_revision(fixed, renamed) == "572b1caf9dedf406"
    for name, value in {"for_": 1, "remind_every": 1, "cooldown": 1, "schedule_id": "12x5", "forget_after": 1}.items():
        assert notification_revision(plain.model_copy(update={name: value}), configuration) != first, name
    for name, value in {"notify_on": ("resolved",), "description": "x", "recipient_ids": ()}.items():
        assert notification_revision(plain.model_copy(update={name: value}), configuration) == first, name
