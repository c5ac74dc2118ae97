"""`tocsin test`: exact, with a diff, JUnit, and errors that say where."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from trying import tocsin

ROOT = Path(__file__).parents[2]
RULES = """
sensors: [{name: S, metric: m, trigger: "> 5"}]
groups: [{name: Berlin, tags: {site: Berlin}}]
notifications:
  - {name: N, sensors: [S], threshold: 1, recipients: [x]}
  - {name: B, sensors: [S], threshold: 1, recipients: [x], group: Berlin}
"""


def write(folder: Path, tests: str, name: str = "a.test.yaml", rules: str = RULES) -> Path:
    (folder / name).write_text(f"{rules}\ntests:\n{tests}")
    return folder / name


def test_what_comes_as_expected_passes(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
  - name: over and back
    series: [{system: A, metric: m, values: "1 9 1"}]
    expect:
      sensors:
        - {at: 1m, sensor: S, system: A, state: triggered, value: 9}
        - {at: 2m, sensor: S, system: A, state: clear}
      notifications:
        - {at: 1m, notification: N, state: activated, matched: 1, reporting: 1, systems: [A]}
        - {at: 2m, notification: N, state: resolved}
  - name: nothing at all
    series: [{system: A, metric: m, values: "1x100"}]
    expect: {sensors: [], notifications: []}
""",
    )
    done = tocsin("test", file)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[1:] == [
        "  ok      over and back",
        "  ok      nothing at all",
        "2 tests, 0 failed",
    ]


def test_a_failure_shows_exactly_what_differs(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
  - name: late
    series: [{system: A, metric: m, instance: i, values: "9 1 9"}]
    expect:
      sensors:
        - {at: 0, sensor: S, system: A, instance: i, state: triggered, value: 9}
        - {at: 2m, sensor: S, system: A, instance: i, state: clear}
""",
    )
    done = tocsin("test", file)
    assert done.exit_code == 1
    assert done.stdout.splitlines()[1:] == [
        "  FAILED  late",
        "          - expected, did not come   + came, not expected",
        "                  0s  sensor        S: triggered on A (i) at 9",
        "          +       1m  sensor        S: clear on A (i) at 1",
        "          -       2m  sensor        S: clear on A (i)",
        "          +       2m  sensor        S: triggered on A (i) at 9",
        "1 test, 1 failed",
    ]


@pytest.mark.parametrize(
    "expected",
    [
        "{at: 0, sensor: S, system: A, state: triggered, value: 9.1}",
        "{at: 0, sensor: S, system: B, state: triggered}",
        "{at: 0, sensor: S, system: A, instance: i, state: triggered}",
        "{at: 0, sensor: S, system: A, state: triggered, level: warn}",
        "{at: 1ms, sensor: S, system: A, state: triggered}",
        "{at: 0, sensor: S, system: A, state: clear}",
    ],
)
def test_every_field_counts(tmp_path: Path, expected: str) -> None:
    test = '\n  - name: t\n    series: [{system: A, metric: m, values: "9"}]\n    expect: {sensors: [%s]}\n'
    assert tocsin("test", write(tmp_path, test % expected)).exit_code == 1


@pytest.mark.parametrize(
    "expected",
    [
        "{at: 0, notification: N, state: activated, matched: 2}",
        "{at: 0, notification: N, state: activated, reporting: 2}",
        "{at: 0, notification: N, state: activated, systems: [B]}",
        "{at: 0, notification: N, state: resolved}",
        "{at: 0, notification: B, state: activated}",
    ],
)
def test_every_field_of_an_event_counts(tmp_path: Path, expected: str) -> None:
    test = '\n  - name: t\n    series: [{system: A, metric: m, values: "9"}]\n    expect: {notifications: [%s]}\n'
    assert tocsin("test", write(tmp_path, test % expected)).exit_code == 1


def test_time_goes_on_without_readings(tmp_path: Path) -> None:
    """To the last missing value, or `until`: the horizon after 15 minutes is in the one and in the other."""
    test = """
  - name: missing values
    series: [{{system: A, metric: m, values: "9 _x{missing}"}}]
    {until}
    expect:
      notifications: [{{at: 0, notification: N, state: activated}}{resolved}]
"""
    resolved = ", {at: 15m, notification: N, state: resolved, matched: 0, reporting: 0}"
    for missing, until, end in ((14, "", ""), (15, "", resolved), (1, "until: 15m", resolved), (1, "until: 14m", "")):
        done = tocsin("test", write(tmp_path, test.format(missing=missing, until=until, resolved=end)))
        assert done.exit_code == 0, done.stdout


def test_tags_groups_points_and_the_order_of_arrival(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
  - name: tags
    interval: 10s
    start: 2026-03-01T12:00:00+01:00
    series:
      - {system: A, metric: m, tags: {site: Berlin}, values: "1 9"}
      - {system: B, metric: m, tags: {site: Bonn}, values: "9"}
    expect:
      notifications:
        - {at: 0, notification: N, state: activated, systems: [B]}
        - {at: 10s, notification: B, state: activated, systems: [A]}
  - name: late readings change nothing
    as_it_came: true
    series: [{system: A, metric: m, points: "20s=9 10s=1 30s=1"}]
    expect:
      sensors:
        - {at: 20s, sensor: S, system: A, state: triggered}
        - {at: 30s, sensor: S, system: A, state: clear}
""",
    )
    done = tocsin("test", file)
    assert done.exit_code == 0, done.stdout


def test_rules_of_other_files_and_folders_of_tests(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.yaml").write_text(RULES)
    test = '\n  - name: t\n    series: [{system: A, metric: m, values: "1"}]\n    expect: {sensors: []}\n'
    write(tmp_path / "rules", test, rules="rules: [a.yaml]")
    write(tmp_path, test, "b.test.yml", rules="rules: [rules]")
    done = tocsin("test", tmp_path)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == "2 tests, 0 failed"


def test_junit(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
  - {name: "good & <well>", series: [{system: A, metric: m, values: "1"}], expect: {sensors: []}}
  - {name: bad, series: [{system: "A\\e", metric: m, values: "9"}], expect: {sensors: []}}
""",
    )
    done = tocsin("test", file, "--junit", tmp_path / "out.xml")
    assert done.exit_code == 1
    root = ElementTree.fromstring((tmp_path / "out.xml").read_bytes())
    assert root.attrib == {"tests": "2", "failures": "1", "errors": "0"}
    good, bad = root.iter("testcase")
    assert (good.get("name"), len(good)) == ("good & <well>", 0)
    (failure,) = bad
    assert failure.text is not None
    assert failure.text.startswith("+ ")


def test_mistakes_are_listed_with_their_places(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
  - nam: x
    series: [{system: A, metric: m, values: "1+1"}, {system: B, metric: m}]
    expect: {sensors: [{at: 5, sensor: S, system: A, state: fired}]}
""",
    )
    done = tocsin("test", file, tmp_path / "nope.test.yaml")
    assert done.exit_code == 1
    assert not done.stdout
    shown = done.stderr.replace(f"{tmp_path}/", "").splitlines()
    assert shown[-1] == "7 problems: nothing was tested"
    assert "a.test.yaml:10:5: tests[0].nam: a test has no such field; did you mean 'name'?" in shown
    assert any(
        line.startswith("a.test.yaml:12:29: tests[0].expect.sensors[0].at: '5' is not a duration") for line in shown
    )
    assert any(line.startswith("nope.test.yaml: cannot be read") for line in shown)


def test_a_misspelt_name_is_a_mistake_of_the_test(tmp_path: Path) -> None:
    test = """
  - name: t
    series: [{system: A, metric: m, values: "1"}]
    expect: {sensors: [{at: 0, sensor: SS, system: A, state: clear}]}
"""
    done = tocsin("test", write(tmp_path, test))
    assert done.exit_code == 1
    assert "test 't': there is no sensor 'SS'; did you mean 'S'?" in done.stderr


def test_the_documented_example_passes(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "trying-rules.md").read_text()
    for block in re.findall(r"```yaml\n(# (\S+)\n.*?)```", text, re.DOTALL):
        (tmp_path / block[1]).write_text(block[0])
    done = tocsin("test", tmp_path)
    assert done.exit_code == 0, done.output
    assert "1 test, 0 failed" in done.stdout
    assert "\n".join(done.stdout.splitlines()[1:]) in text
