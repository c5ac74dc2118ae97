"""Drafts against a state: ids, renames, pruning, secrets, the diff."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

from tocsin.console.audit import audit_change
from tocsin.console.checks import EgressPolicy
from tocsin.console.diff import render_plan
from tocsin.console.findings import Findings
from tocsin.console.plan import Plan, Planner, secrets_of
from tocsin.console.state import Put, State, compose
from tocsin.console.yaml_export import dump_yaml, export_state, names_of
from tocsin.console.yaml_fields import Reader
from tocsin.console.yaml_files import read_files
from tocsin.console.yaml_recipients import Rules
from tocsin.shared.configuration.records import Notification, Recipient, Sensor
from tocsin.shared.configuration.rotation import signed_secret
from tocsin.shared.secrets import KeyRing
from tocsin.shared.topics import DEFAULT_RETRY_TIERS

OLD, NEW = KeyRing({"k1": b"1" * 32}), KeyRing({"k2": b"2" * 32, "k1": b"1" * 32})
RULES = Rules(EgressPolicy(), DEFAULT_RETRY_TIERS)
NOW = 1_764_064_800_000
"""Epoch milliseconds."""
_ids = itertools.count()

BASE = """
sensors:
  - {name: CPU, metric: cpu, trigger: "> 90"}
  - {name: RAM, metric: ram, trigger: "> 90"}
groups:
  - {name: G, systems: ["A-*"]}
notifications:
  - {name: N, sensors: [CPU], group: G, threshold: 1, recipients: [Hook]}
recipients:
  - name: Hook
    type: system
    webhook:
      url: https://example.com
      authentication: {type: signed-secret, secret: {env: SECRET}}
      headers: [{name: X-Key, value: {env: KEY}, sensitive: true}]
"""
ENVIRONMENT = {"SECRET": "canary-one", "KEY": "canary-two"}


class Editor:
    """A configuration without a broker."""

    def __init__(self, tmp_path: Path, keys: KeyRing = OLD) -> None:
        self.file = tmp_path / "c.yaml"
        self.state = State()
        self.keys = keys
        self.environment = dict(ENVIRONMENT)
        self.now = NOW

    def plan(self, text: str, *, prune: bool = False) -> tuple[Plan, list[str]]:
        self.file.write_text(text)
        findings = Findings()
        drafts = read_files([str(self.file)], Reader(findings, self.environment), RULES)
        planner = Planner(
            self.state, findings, lambda: self.keys, lambda: f"id{next(_ids)}", prune=prune, now_ms=self.now
        )
        plan = planner.plan(drafts)
        return plan, [str(finding).replace(str(self.file), "c") for finding in sorted(findings.all)]

    def apply(self, text: str, *, prune: bool = False) -> list[str]:
        """The diff."""
        plan, findings = self.plan(text, prune=prune)
        assert findings == []
        lines = list(render_plan(plan, names_of(self.state)))
        if plan.operations():
            change = compose(self.state, plan.operations(), self.state.change + 1, NOW)
            self.state = replace(change.state, change=change.number)
        return lines

    def sensor(self, name: str) -> Sensor:
        found = self.state.find("sensor", name)
        assert isinstance(found, Sensor)
        return found

    def hook(self) -> Recipient:
        found = self.state.find("recipient", "Hook")
        assert isinstance(found, Recipient)
        return found


def test_applying_the_same_again_changes_nothing(tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    assert editor.apply(BASE)[-1] == "5 created"
    before = editor.state
    assert editor.apply(BASE) == ["5 unchanged"]
    assert editor.state is before


def test_the_first_change_makes_the_tenant_and_later_ones_keep_it(tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    editor.apply(BASE)
    first = editor.state.settings
    editor.apply(BASE.replace("> 90", "> 95"))
    assert first is not None
    assert len(first.tenant_id) == 36
    assert editor.state.settings is first


def test_references_are_ids_and_names_are_found_whatever_their_case(tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    editor.apply(BASE.replace("sensors: [CPU]", "sensors: [cpu]"))
    notification = editor.state.find("notification", "N")
    assert isinstance(notification, Notification)
    assert notification.sensors[0].sensor_id == editor.sensor("CPU").id


def test_a_change_is_shown_field_by_field(tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    editor.apply(BASE)
    text = BASE.replace('trigger: "> 90"}\n  - {name: RAM', 'trigger: "> 95", for: 5m}\n  - {name: RAM')
    text = text.replace("sensors: [CPU]", "sensors: [CPU, RAM]")
    assert editor.apply(text) == [
        "~ sensor CPU",
        "    trigger: > 90 → > 95",
        "    for: none → 5m",
        "~ notification N",
        "    sensors: CPU → CPU, RAM",
        "2 changed, 3 unchanged",
    ]


def test_a_body_of_several_lines_is_shown_as_its_changed_lines(tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    body = '      body: |\n        {{\n          "a": "{}",\n          "b": 1\n        }}\n'
    editor.apply(BASE + body.format("one"))
    assert editor.apply(BASE + body.format("two")) == [
        "~ recipient Hook",
        "    webhook.body:",
        '      -   "a": "one",',
        '      +   "a": "two",',
        "1 changed, 4 unchanged",
    ]


def test_a_new_secret_is_a_change_that_shows_nothing(tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    editor.apply(BASE)
    editor.environment["SECRET"] = "canary-three"
    lines = editor.apply(BASE)
    assert lines == [
        "~ recipient Hook",
        "    webhook.authentication.secret: *** → *** (a new one)",
        "1 changed, 4 unchanged",
    ]
    hook = editor.hook()
    ciphertext = secrets_of(hook)["webhook.authentication.secret"]
    assert OLD.decrypt(ciphertext, hook.id, "webhook.authentication.secret") == "canary-three"
    assert "canary" not in hook.encode().decode()


def test_an_unchanged_secret_keeps_its_ciphertext_even_after_a_key_rotation(tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    editor.apply(BASE)
    before = secrets_of(editor.hook())
    editor.keys = NEW
    assert editor.apply(BASE) == ["5 unchanged"]
    assert secrets_of(editor.hook()) == before


def test_a_secret_whose_key_is_lost_can_be_given_again(tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    editor.apply(BASE)
    editor.keys = KeyRing({"k9": b"9" * 32})
    assert editor.apply(BASE)[-1] == "1 changed, 4 unchanged"
    assert {ciphertext.key_id for ciphertext in secrets_of(editor.hook()).values()} == {"k9"}


def test_keep_keeps_what_is_stored_and_needs_no_key(tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    editor.apply(BASE)
    before = secrets_of(editor.hook())
    editor.environment = {}
    kept = BASE.replace("{env: SECRET}", "{keep: true}").replace("{env: KEY}", "{keep: true}")
    editor.keys = KeyRing({"other": b"0" * 32})
    assert editor.apply(kept) == ["5 unchanged"]
    assert secrets_of(editor.hook()) == before


def test_keep_without_anything_to_keep_says_so(tmp_path: Path) -> None:
    kept = BASE.replace("{env: SECRET}", "{keep: true}")
    _, findings = Editor(tmp_path).plan(kept)
    assert findings == [
        "c:14:53: webhook.authentication.secret: there is no secret to keep: recipient 'Hook' has none here; "
        "give it as {env: NAME}"
    ]


def test_a_ciphertext_of_another_kind_of_authentication_is_not_kept(tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    editor.apply(BASE)
    basic = BASE.replace(
        "{type: signed-secret, secret: {env: SECRET}}", "{type: basic, username: u, password: {keep: true}}"
    )
    assert "there is no secret to keep" in editor.plan(basic)[1][0]


def test_a_rename_keeps_id_secrets_and_references(tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    editor.apply(BASE)
    cpu, hook, secrets = editor.sensor("CPU"), editor.hook(), secrets_of(editor.hook())
    text = BASE.replace("{name: CPU,", "{name: Processor, renamed_from: CPU,").replace("[CPU]", "[Processor]")
    text = text.replace("name: Hook", "name: Haken\n    renamed_from: Hook").replace("[Hook]", "[Haken]")
    text = text.replace("{env: SECRET}", "{keep: true}")
    assert editor.apply(text) == [
        "~ sensor Processor (was CPU)",
        "~ recipient Haken (was Hook)",
        "2 changed, 3 unchanged",
    ]
    assert editor.state.find("sensor", "CPU") is None
    assert editor.sensor("Processor").id == cpu.id
    renamed = editor.state.find("recipient", "Haken")
    assert renamed is not None
    assert renamed.id == hook.id
    assert secrets_of(renamed) == secrets
    assert editor.apply(text) == ["5 unchanged"], "applied again, renamed_from has nothing left to do"


def test_a_name_that_differs_in_case_only_is_the_same_record(tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    editor.apply(BASE)
    before = editor.sensor("CPU").id
    assert editor.apply(BASE.replace("name: CPU", "name: Cpu"))[0] == "~ sensor Cpu (was CPU)"
    assert editor.sensor("cpu").id == before


def test_a_rename_onto_an_existing_record_is_refused(tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    editor.apply(BASE)
    _, findings = editor.plan("sensors: [{name: RAM, renamed_from: CPU, metric: ram, trigger: '> 90'}]")
    assert findings == [
        "c:1:37: renamed_from: there are both a sensor 'RAM' and a sensor 'CPU'; "
        "remove renamed_from, or delete one of them first"
    ]


def test_two_records_cannot_come_from_one(tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    editor.apply(BASE)
    _, findings = editor.plan(
        "sensors: [{name: CPU, metric: m, trigger: '> 1'}, {name: B, renamed_from: CPU, metric: m, trigger: '> 1'}]"
    )
    assert findings == ["c:1:75: renamed_from: 'CPU' and 'B' would be the same sensor; keep one of them"]


def test_a_rename_frees_the_name_for_a_new_record_in_the_same_change(tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    editor.apply("sensors: [{name: A, metric: m, trigger: '> 1'}]")
    first = editor.sensor("A").id
    editor.apply("sensors: [{name: B, renamed_from: A, metric: m, trigger: '> 1'}]")
    editor.apply("sensors: [{name: A, metric: m2, trigger: '> 1'}, {name: B, metric: m, trigger: '> 1'}]")
    assert editor.sensor("B").id == first
    assert editor.sensor("A").id != first


def test_what_is_named_and_not_there_comes_with_the_nearest_name(tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    editor.apply(BASE)
    _, findings = editor.plan(
        "notifications: [{name: M, sensors: [CPUU], group: Gg, threshold: 1, recipients: [Hok, Nobody]}]"
    )
    assert findings == [
        "c:1:37: sensors[0]: there is no sensor 'CPUU'; did you mean 'CPU'?",
        "c:1:51: group: there is no group 'Gg'; did you mean 'G'?",
        "c:1:82: recipients[0]: there is no recipient 'Hok'; did you mean 'Hook'?",
        "c:1:87: recipients[1]: there is no recipient 'Nobody'; there is Hook",
    ]


def test_records_not_in_the_files_stay_unless_pruned(tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    editor.apply(BASE)
    without_ram = BASE.replace('  - {name: RAM, metric: ram, trigger: "> 90"}\n', "")
    assert editor.apply(without_ram) == ["4 unchanged"]
    assert editor.apply(without_ram, prune=True) == ["- sensor RAM", "1 pruned, 4 unchanged"]
    assert editor.state.find("sensor", "RAM") is None
    assert editor.state.settings is not None, "the settings are not the files' to prune"


def test_pruning_what_is_still_used_is_refused_naming_the_user(tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    editor.apply(BASE)
    without_cpu = BASE.replace('  - {name: CPU, metric: cpu, trigger: "> 90"}\n', "")
    _, findings = editor.plan(without_cpu, prune=True)
    assert findings == [
        "c:7:25: sensors[0]: sensor 'CPU' is not in the files and would be pruned, but 'N' uses it; "
        "add it to the files, or leave --prune out"
    ]


def test_what_is_exported_changes_nothing_when_applied(tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    editor.apply(BASE)
    exported = dump_yaml(export_state(editor.state))
    assert "canary" not in exported
    editor.environment = {}
    assert editor.apply(exported, prune=True) == ["5 unchanged"]


def test_the_audit_says_who_and_what_and_masks_secrets(tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    editor.apply(BASE)
    editor.environment["SECRET"] = "canary-three"
    text = BASE.replace("name: Hook", "name: Haken\n    renamed_from: Hook").replace("[Hook]", "[Haken]")
    plan, findings = editor.plan(text)
    assert findings == []
    change = compose(editor.state, plan.operations(), 7, NOW)
    assert sorted((entry.key, entry.after is None) for entry in change.entries) == [
        ("recipient/haken", False),
        ("recipient/hook", True),
    ]
    records = audit_change(change, names_of(editor.state), "cli:ada", NOW)
    assert [(one.action, one.actor, one.change, one.name, one.fields) for one in records] == [
        ("renamed", "cli:ada", 7, "Haken", ("name", "webhook.authentication.secret"))
    ]
    encoded = records[0].encode().decode()
    assert "canary" not in encoded
    assert "ciphertext" not in encoded
    assert records[0].before is not None
    assert records[0].before["webhook"]["authentication"]["secret"] == "***"


def test_a_pause_by_hand_outlasts_an_apply_of_files_that_do_not_mention_it(tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    editor.apply(BASE)
    hook = editor.state.find("recipient", "Hook")
    assert hook is not None
    editor.state = compose(
        editor.state, [Put(hook.model_copy(update={"paused": True, "enabled": False}))], 9, NOW
    ).state
    assert not editor.plan(BASE)[0].operations()
    resumed = BASE.replace("    type: system", "    type: system\n    paused: false\n    enabled: true")
    editor.apply(resumed)
    hook = editor.state.find("recipient", "Hook")
    assert isinstance(hook, Recipient)
    assert (hook.paused, hook.enabled, hook.enabled_at) == (False, True, NOW)


SIGNED = "authentication: {type: signed-secret, secret: {env: SECRET}}"


def test_a_new_secret_retires_the_old_one_which_an_export_neither_shows_nor_loses(tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    editor.apply(BASE)
    before = secrets_of(editor.hook())["webhook.authentication.secret"]
    editor.environment["SECRET"] = "canary-three"
    assert editor.apply(BASE)[:2] == ["~ recipient Hook", "    webhook.authentication.secret: *** → *** (a new one)"]
    signed = signed_secret(editor.hook())
    assert signed is not None
    assert [(one.secret, one.until) for one in signed.retired] == [(before, NOW + 86_400_000)]
    exported = dump_yaml(export_state(editor.state))
    assert "retired" not in exported
    editor.now += 3_600_000
    assert editor.apply(exported) == ["5 unchanged"]


def test_scheme_header_and_keep_old_survive_an_export(tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    for options in ("scheme: header, header: X-Token", "scheme: github", "keep_old: 3d"):
        editor.apply(BASE.replace(SIGNED, SIGNED.replace("}}", "}, " + options + "}")))
        exported = dump_yaml(export_state(editor.state))
        assert options.rpartition(" ")[2] in exported
        assert editor.apply(exported) == ["5 unchanged"]


def test_a_secret_kept_for_another_scheme_is_refused(tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    editor.apply(BASE)
    _, (finding,) = editor.plan(BASE.replace("secret: {env: SECRET}", "secret: {keep: true}, scheme: ed25519"))
    assert "the stored secret was given for the scheme standard; give one for the scheme ed25519" in finding
