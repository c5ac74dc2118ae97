"""YAML in, drafts or findings out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tocsin.console.checks import EgressPolicy
from tocsin.console.drafts import Draft
from tocsin.console.findings import Findings
from tocsin.console.yaml_fields import Reader
from tocsin.console.yaml_files import find_files, read_files
from tocsin.console.yaml_recipients import Rules
from tocsin.shared.topics import DEFAULT_RETRY_TIERS

RULES = Rules(EgressPolicy(), DEFAULT_RETRY_TIERS)


def read(
    tmp_path: Path, *texts: str | bytes, environment: Mapping[str, str] | None = None
) -> tuple[list[Draft], list[str]]:
    """Drafts, and findings without the folder's name."""
    findings = Findings()
    files = []
    for number, text in enumerate(texts):
        file = tmp_path / f"{'abcdef'[number]}.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
        files.append(str(file))
    drafts = read_files(files, Reader(findings, environment or {}), RULES)
    return drafts, [str(finding).replace(f"{tmp_path}/", "") for finding in sorted(findings.all)]


def test_the_documented_example_is_read_whole(tmp_path: Path) -> None:
    text = """
sensors:
  - {name: CPU busy, metric: cpu.percent, trigger: "> 90", clear: "< 80", for: 5m}
groups:
  - {name: Finance, systems: ["FIN-*"], tags: {site: Berlin}}
notifications:
  - name: Finance is slow
    sensors: [CPU busy, {sensor: App hang, instance: msedge.exe}]
    group: Finance
    threshold: 25%
    recipients: [ServiceNow, On call]
    reporting_within: 1h
    notify: [activated]
recipients:
  - name: ServiceNow
    type: system
    webhook:
      url: https://example.com/hook
      method: PUT
      authentication: {type: signed-secret, secret: {env: SECRET}}
      headers: [{name: X-Env, value: prod}, {name: X-Key, value: {env: KEY}, sensitive: true}]
      body: |
        {"eventId": "@{notificationActivationId}"}
      timeout: 5s
      permanent: [404, 400]
    retry: [5s, 2m]
  - {name: On call, type: distribution-list, email: oncall@example.com}
  - {first_name: Ada, last_name: Lovelace, type: user, email: ada@example.com}
"""
    drafts, findings = read(tmp_path, text, environment={"SECRET": "geheim", "KEY": "k"})
    assert findings == []
    assert [(draft.kind, draft.name) for draft in drafts] == [
        ("sensor", "CPU busy"),
        ("group", "Finance"),
        ("notification", "Finance is slow"),
        ("recipient", "ServiceNow"),
        ("recipient", "On call"),
        ("recipient", "Ada Lovelace"),
    ]
    assert drafts[0].fields["for"] == 300_000
    assert [(use.sensor.name, use.instance, use.level) for use in drafts[2].sensors] == [
        ("CPU busy", None, None),
        ("App hang", "msedge.exe", None),
    ]
    assert drafts[3].fields["webhook"]["permanent"] == (400, 404)
    assert {path: secret.text for path, secret in drafts[3].secrets.items()} == {
        "webhook.authentication.secret": "geheim",
        "webhook.headers.x-key": "k",
    }
    assert "geheim" not in repr(drafts)


def test_the_example_in_the_documentation_is_what_can_be_applied(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    example = page.split("```yaml\n")[1].split("```")[0]
    drafts, findings = read(tmp_path, example, environment={"SERVICENOW_SECRET": "s", "KEY": "k"})
    assert findings == []
    assert len(drafts) == 5


def test_a_word_that_older_yaml_takes_for_false_is_a_word(tmp_path: Path) -> None:
    text = "recipients: [{name: no, type: system, webhook: {url: 'https://example.com', authentication: {type: off}}}]"
    drafts, findings = read(tmp_path, text)
    assert findings == []
    assert drafts[0].name == "no"
    assert drafts[0].fields["webhook"]["authentication"] == {"type": "off"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "sensors: [{name: A, metric: m, trigger: '> 1', metrik: x}]",
            "a.yaml:1:48: metrik: a sensor has no such field",
        ),
        (
            "sensors: [{name: A, metric: m, trigger: '> 1', levels: {}}]",
            "a.yaml:1:56: levels: must be names with their rules",
        ),
        ("sensors: [{name: A, metric: m, trigger: '> x'}]", "a.yaml:1:41: trigger: '> x' is not a condition"),
        ("sensors: [{name: A, metric: m, trigger: 90}]", "a.yaml:1:41: trigger: '90' is not a condition"),
        ("sensors: [{name: A, metric: m, trigger: between 9 and 1}]", "ends the wrong way round"),
        ("sensors: [{name: A, metric: m}]", "a.yaml:1:11: trigger: is required"),
        ("sensors: [{name: '', metric: m, trigger: '> 1'}]", "a.yaml:1:18: name: a name must not be empty"),
        ("sensors: [{name: 5, metric: m, trigger: '> 1'}]", "a.yaml:1:18: name: must be text; put it in quotes: '5'"),
        ('sensors: [{name: "a\\u0007b", metric: m, trigger: "> 1"}]', "name: a name must not contain control"),
        ("sensors: [{name: A, metric: m, trigger: '> 1', for: 5}]", "for: '5' is not a duration"),
        ("sensors: [{name: A, metric: m, trigger: '> 1', for: -5m}]", "for: '-5m' is not a duration"),
        ("sensors: [{name: A, metric: '', trigger: '> 1'}]", "metric: must not be empty"),
        ("sensors: [a]", "a.yaml:1:11: must be a sensor"),
        ("sensors: {a: b}", "a.yaml:1:10: sensors: must be a list"),
        ("sensor: []", "a.yaml:1:1: sensor: a configuration file has no such field; did you mean 'sensors'?"),
        ("settings: []", "a.yaml:1:1: settings: not available yet"),
        ("- a", "a.yaml:1:1: must be a configuration file"),
        ("groups: [{name: G, tags: [a]}]", "tags: must be at most 64 names with their values"),
        ("groups: [{name: G, tags: {floor: 3}}]", "tags.floor: must be text; put it in quotes: '3'"),
        ("groups: [{name: G, systems: ['']}]", "systems[0]: must not be empty"),
    ],
)
def test_a_wrong_field_is_named_with_its_place(tmp_path: Path, text: str, expected: str) -> None:
    _, findings = read(tmp_path, text)
    assert len(findings) == 1
    assert expected in findings[0]


NOTIFICATION = "notifications: [{{name: N, sensors: [S], threshold: 1, recipients: [R], {}}}]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (NOTIFICATION.format("remind_every: 4 hours"), "remind_every: '4 hours' is not a duration"),
        (NOTIFICATION.format("remind_every: 0s"), "remind_every: must be longer than 0"),
        (NOTIFICATION.format("remind_every: 10ms"), "remind_every: must be at least 1s"),
        (NOTIFICATION.format("for: -5m"), "for: '-5m' is not a duration"),
        (NOTIFICATION.format("cooldown: soon"), "cooldown: 'soon' is not a duration"),
        (NOTIFICATION.format("schedule: [12x5]"), "schedule: must be text"),
        (NOTIFICATION.format("forget_after: 0s"), "forget_after: must be longer than 0"),
        (NOTIFICATION.format("forget_after: 5m"), "forget_after: a system would be forgotten while it still reports"),
        (NOTIFICATION.format("notify: [activatd]"), "notify[0]: 'activatd' is not one of"),
        (NOTIFICATION.format("notify: []"), "notify: must not be empty"),
        (NOTIFICATION.format("reporting_within: 0s"), "reporting_within: must be longer than 0"),
        ("notifications: [{name: N, sensors: [], threshold: 1, recipients: [R]}]", "sensors: must not be empty"),
        ("notifications: [{name: N, threshold: 1, recipients: [R]}]", "sensors: is required"),
        ("notifications: [{name: N, sensors: [S], threshold: 1}]", "recipients: is required"),
        (
            "notifications: [{name: N, sensors: [S, S], threshold: 1, recipients: [R]}]",
            "sensors[1]: 'S' is named twice",
        ),
        ("notifications: [{name: N, sensors: [S], threshold: 1, recipients: [R, r]}]", "'r' is named twice"),
        *(
            (f"notifications: [{{name: N, sensors: [S], threshold: {wrong}, recipients: [R]}}]", "is not a threshold")
            for wrong in ("0", "-1", "1.5", "0%", "100.1%", "'%'", "25 percent", "1e2", "1_0", "'³'", "0x10")
        ),
    ],
)
def test_a_wrong_notification_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    _, findings = read(tmp_path, text)
    assert len(findings) == 1
    assert expected in findings[0]


@pytest.mark.parametrize(
    ("text", "value", "is_percent"),
    [
        ("3", "3", False),
        ("25%", "25", True),
        ("'24.50 %'", "24.5", True),
        ("100%", "100", True),
        ("0.000001%", "0.000001", True),
    ],
)
def test_a_threshold_is_a_number_or_an_exact_percentage(
    tmp_path: Path, text: str, value: str, is_percent: bool
) -> None:
    drafts, findings = read(tmp_path, f"notifications: [{{name: N, sensors: [S], threshold: {text}, recipients: [R]}}]")
    assert findings == []
    threshold = drafts[0].fields["threshold"]
    assert (threshold.value_text(), threshold.is_percent) == (value, is_percent)


def mail(field: str) -> str:
    return f"recipients: [{{name: R, type: user, first_name: A, last_name: B, email: a@b.c, {field}}}]"


def webhook(rest: str) -> str:
    return "recipients: [{name: R, type: system, webhook: {url: 'https://example.com', " + rest + "}}]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("recipients: [{name: R, type: robot, email: a@b.c}]", "type: 'robot' is not one of"),
        ("recipients: [{name: R, email: a@b.c}]", "type: is required"),
        ("recipients: [{name: R, type: system}]", "a system needs an email address or a webhook"),
        ("recipients: [{name: R, type: distribution-list}]", "email: is required for a distribution-list"),
        ("recipients: [{name: R, type: user, first_name: A, email: a@b.c}]", "last_name: is required"),
        ("recipients: [{name: R, type: system, first_name: A, email: a@b.c}]", "first_name: a system has none"),
        (mail("rate: fast"), "rate: 'fast' is not a rate, such as 10/s"),
        (mail("rate: 0/s"), "is not a rate"),
        (mail("rate: 20000/s"), "leave the rate out"),
        (mail("ordered: sensor"), "ordered: 'sensor' is not one of activation, notification"),
        (mail("expire_after: 5s"), "expire_after: must be from 1m to 30d"),
        (mail("on_failing: r"), "cannot tell of its own failing"),
        (mail("paused: 1"), "paused: must be true or false"),
        ("recipients: [{name: R, type: distribution-list, email: 'a@b.c, c@d.e'}]", "is not one email address"),
        ("recipients: [{name: R, type: distribution-list, email: 'a..b@c.de'}]", "is not one email address"),
        ("recipients: [{name: R, type: distribution-list, email: a@b.c, retry: [7s]}]", "7s is not a retry tier"),
        (
            "recipients: [{name: R, type: distribution-list, email: a@b.c, webhook: {url: 'https://a.b'}}]",
            "webhook: a distribution-list is reached by email",
        ),
        (
            "recipients: [{name: R, type: system, email: a@b.c, webhook: {url: 'https://a.b'}}]",
            "webhook: a system has an email address or a webhook, not both",
        ),
        ("recipients: [{name: R, type: system, webhook: {method: POST}}]", "webhook.url: is required"),
        (
            "recipients: [{name: R, type: system, email: a@b.c, mail: {subject: '@{notificatonName}'}}]",
            "mail.subject: line 1: there is no variable 'notificatonName'",
        ),
        (
            "recipients: [{name: R, type: system, email: a@b.c, mail: {html: '{% macro x() %}'}}]",
            "mail.html: line 1",
        ),
        (webhook("method: POST").replace("type: system", "type: system, mail: {text: a}"), "mail: only emails have"),
        (
            "recipients: [{name: R, type: system, webhook: {url: 'http://example.com'}}]",
            "webhook.url: the URL must start",
        ),
        ("recipients: [{name: R, type: system, webhook: {url: 'https://10.0.0.1/'}}]", "webhook.url: 10.0.0.1 is in"),
        (
            "recipients: [{name: R, type: system, webhook: {url: 'https://u:p@example.com'}}]",
            "must not hold a user name",
        ),
        (webhook("method: GET"), "webhook.method: 'GET' is not one of POST, PUT"),
        (webhook("timeout: 31s"), "webhook.timeout: must be from 1s to 30s"),
        (webhook("permanent: [200]"), "'200' is not an HTTP status from 400 to 599"),
        (webhook("content_type: json"), "webhook.content_type: 'json' is not a media type"),
        (webhook("authentication: {type: basic, username: u}"), "webhook.authentication.password: is required"),
        (webhook("authentication: {type: basic, username: 'a:b', password: p}"), "must not contain a colon"),
        (
            webhook("authentication: {type: off, secret: s}"),
            "webhook.authentication.secret: authentication off has none",
        ),
        (webhook("authentication: {type: signed-secret}"), "webhook.authentication.secret: is required"),
        (webhook("authentication: {type: signed-secret, secret: ''}"), "secret: must not be empty"),
        (
            webhook("authentication: {type: signed-secret, secret: whsec_kurz}"),
            "webhook.authentication.secret: a secret",
        ),
        (webhook("authentication: {type: signed-secret, secret: {env: GONE}}"), "environment variable GONE is not set"),
        (webhook("authentication: {type: signed-secret, secret: {env: EMPTY}}"), "variable EMPTY): must not be empty"),
        (webhook("authentication: {type: signed-secret, secret: {evn: X}}"), "no such field; did you mean 'env'?"),
        (webhook("authentication: {type: signed-secret, scheme: svix, secret: s}"), "scheme: 'svix' is not one of"),
        (webhook("authentication: {type: signed-secret, scheme: header, secret: s}"), "header: is required"),
        (webhook("authentication: {type: signed-secret, header: X, secret: s}"), "the scheme standard has a header"),
        (webhook("authentication: {type: signed-secret, scheme: header, header: Host, secret: s}"), "header 'Host'"),
        (webhook("authentication: {type: signed-secret, scheme: ed25519, secret: s}"), "an ed25519 secret is whsk_"),
        (webhook("authentication: {type: signed-secret, keep_old: 8d, secret: s}"), "keep_old: must be from 0s to 7d"),
        (
            webhook("authentication: {type: signed-secret, scheme: github, keep_old: 1d, secret: s}"),
            "keep_old: the scheme github has room for one secret only",
        ),
        (
            webhook(
                "authentication: {type: signed-secret, scheme: header, header: X-T, secret: s}, "
                "headers: [{name: x-t, value: v}]"
            ),
            "X-T is set by the authentication",
        ),
        (
            webhook(
                "authentication: {type: basic, username: u, password: p}, headers: [{name: authorization, value: v}]"
            ),
            "Authorization is set by the authentication",
        ),
        (webhook("headers: [{name: Host, value: x}]"), "webhook.headers[0].name: header 'Host'"),
        (webhook("headers: [{name: A, value: x}, {name: a, value: x}]"), "webhook.headers[1].name: header 'a'"),
        (webhook("headers: [{name: A}]"), "webhook.headers[0].value: is required"),
        (webhook("headers: [{name: A, value: {keep: true}}]"), "only what is secret can be kept"),
        (webhook('headers: [{name: A, value: "a\\r\\nb"}]'), "must not contain control characters"),
        (webhook("""body: '{"a": "@{nonsens}"}'"""), "webhook.body: line 1: there is no variable 'nonsens'"),
        (webhook("body: '{'"), "webhook.body:"),
        (webhook("body: \"{{'a'*200000000}}\""), "webhook.body:"),
        (webhook("content_type: a/b, headers: [{name: Content-Type, value: a/b}]"), "is given as a header too"),
    ],
)
def test_a_wrong_recipient_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    _, findings = read(tmp_path, text, environment={"EMPTY": ""})
    assert any(expected in finding for finding in findings), findings
    assert "whsec_kurz" not in "".join(findings)


def test_a_content_type_header_becomes_the_content_type(tmp_path: Path) -> None:
    drafts, findings = read(tmp_path, webhook("headers: [{name: content-type, value: text/plain}], body: hello"))
    assert findings == []
    assert drafts[0].fields["webhook"]["content_type"] == "text/plain"
    assert drafts[0].fields["webhook"]["headers"] == ()


def test_names_used_twice_are_found_across_files_whatever_their_case(tmp_path: Path) -> None:
    first = "sensors:\n  - {name: Straße, metric: m, trigger: '> 1'}"
    second = "sensors:\n  - {name: ' STRASSE ', metric: m, trigger: '> 1'}"
    _, findings = read(tmp_path, first, second)
    assert findings == [
        "b.yaml:2:5: name: the sensor 'STRASSE' is already defined at a.yaml:2:5; rename or remove one of them"
    ]


def test_the_same_name_may_serve_two_kinds(tmp_path: Path) -> None:
    _, findings = read(tmp_path, "sensors: [{name: A, metric: m, trigger: '> 1'}]\ngroups: [{name: A}]")
    assert findings == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [", "not valid YAML"),
        ("a: b: c", "a.yaml:1:5: not valid YAML"),
        ("a:\n\t- b", "a.yaml:2:1: not valid YAML"),
        ("sensors: !!python/object/apply:os.system ['x']", "a.yaml:1:10: the tag"),
        ("sensors: !mine []", "the tag '!mine' is not taken"),
        ("sensors: *nowhere", "there is no anchor &nowhere above"),
        ("sensors: []\nsensors: []", "a.yaml:2:1: sensors: already given in line 1"),
        ("<<: {a: b}", "<<: merge keys are not taken"),
        ("? [a]\n: b", "a field's name must be a word"),
        (b"sensors: [\xff]", "not UTF-8: byte 10"),
        (b"a: \x01", "not valid YAML"),
        ("a: " + "x" * (1 << 20), "the file is larger than 1024 KiB"),
        ("[" * 50_000, "nested too deeply"),
        ("- " * 50_000, "nested too deeply"),
        ("{a: " * 50_000, "nested too deeply"),
        ("&a [*a]", "there is no anchor &a above"),
        (
            "x: &a [q, q, q, q, q, q, q, q, q]\n"
            + "".join(
                f"x{n}: &{b} [{', '.join([f'*{a}'] * 9)}]\n"
                for n, (a, b) in enumerate(zip("abcdefgh", "bcdefghi", strict=True))
            ),
            "more than 100000 values",
        ),
    ],
    ids=lambda value: str(value)[:24],
)
def test_hostile_yaml_is_refused_quickly(tmp_path: Path, text: str | bytes, expected: str) -> None:
    before = time.monotonic()
    drafts, findings = read(tmp_path, text)
    assert time.monotonic() - before < 10
    assert drafts == []
    assert any(expected in finding for finding in findings), findings


def test_anchors_and_several_documents_are_taken(tmp_path: Path) -> None:
    text = """
sensors: [{name: A, metric: &m cpu, trigger: '> 1'}, {name: B, metric: *m, trigger: '> 1'}]
---
---
groups: [{name: G}]
"""
    drafts, findings = read(tmp_path, text)
    assert findings == []
    assert [draft.name for draft in drafts] == ["A", "B", "G"]


def test_every_problem_of_every_file_is_found_at_once(tmp_path: Path) -> None:
    _, findings = read(tmp_path, "sensors: [{name: A, trigger: '> x'}]", "groups: [{nam: G}]")
    assert len(findings) == 4
    assert {finding[:6] for finding in findings} == {"a.yaml", "b.yaml"}


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    drafts, findings = read(tmp_path, b"\xef\xbb\xbfgroups:\r\n  - name: G\r\n")
    assert findings == []
    assert drafts[0].name == "G"


def test_a_folder_gives_its_files_in_order_and_each_once(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hidden").mkdir()
    for name in ("b.yml", "a.yaml", "sub/c.yaml", "notes.txt", ".hidden/d.yaml"):
        (tmp_path / name).write_text("")
    findings = Findings()
    files = find_files([str(tmp_path), str(tmp_path / "a.yaml")], findings)
    assert [Path(file).relative_to(tmp_path).as_posix() for file in files] == ["a.yaml", "b.yml", "sub/c.yaml"]
    assert findings.all == []


def test_a_path_that_leads_nowhere_is_a_finding(tmp_path: Path) -> None:
    findings = Findings()
    (tmp_path / "empty").mkdir()
    assert find_files([str(tmp_path / "gone.yaml"), str(tmp_path / "empty")], findings) == []
    assert [finding.problem for finding in findings.all] == [
        "there is no such file or folder",
        "the folder holds no .yaml or .yml file",
    ]
