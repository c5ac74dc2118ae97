"""Body templates: what they print, what is refused, and that nothing they do can take long."""

from __future__ import annotations

import contextlib
import json
import time

import pytest

from delivering import event_of
from tocsin.dispatcher.core.templates import DEFAULT_BODY, TemplateError, check_template, render
from tocsin.dispatcher.core.variables import VARIABLES, Values
from tocsin.shared.schemas.base import Ref
from tocsin.shared.schemas.event import Threshold

SYSTRACK = [
    "notificationActivationId",
    "activationTime",
    "tenantId",
    "notificationName",
    "sensorNames",
    "sensorNamesUnquoted",
    "groupName",
    "activationThresholdText",
    "activationThresholdValue",
    "activationThresholdIsPercent",
    "notificationDescription",
    "notificationActivationDetailsURL",
    "systemsAtActivationURL",
    "systemsCurrentlyAffectedURL",
]

VALUES = Values.of(
    event_of(
        sensors=(Ref(id="1", name="CPU busy"), Ref(id="2", name='Disk "C:\\"')),
        threshold=Threshold(value="24.5", is_percent=True, text="24.5% of systems currently reporting"),
    )
)
JSON = "application/json"


def out(source: str, content_type: str = JSON) -> str:
    return render(source, content_type, VALUES)


def test_the_fourteen_variables_are_there_and_the_default_body_carries_them_all() -> None:
    assert len(SYSTRACK) == 14
    assert set(SYSTRACK) <= set(VARIABLES) == set(VALUES.by_name)
    body = json.loads(out(DEFAULT_BODY))
    assert next(iter(body.items())) == ("eventId", "00000000-0000-4000-8000-000000000002")
    assert set(VARIABLES) <= set(body)
    assert check_template(DEFAULT_BODY) == []


def test_what_each_variable_prints() -> None:
    body = json.loads(out(DEFAULT_BODY))
    assert body["activationTime"] == "2025-11-25T10:00:00.12300000Z"
    assert body["sensorNames"] == ["CPU busy", 'Disk "C:\\"']
    assert body["sensorNamesUnquoted"] == 'CPU busy, Disk "C:\\"'
    assert (body["activationThresholdValue"], body["activationThresholdIsPercent"]) == (24.5, True)
    assert body["activationThresholdText"] == "24.5% of systems currently reporting"
    assert body["notificationDescription"] == "Too many machines\nare busy"
    assert (body["eventKind"], body["notificationState"], body["matchedCount"]) == ("activated", "active", 3)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('"@{notificationName}"', '"Finance is \\"slow\\""'),
        ("@{notificationName}", '"Finance is \\"slow\\""'),
        ("[@{sensorNames}]", '["CPU busy", "Disk \\"C:\\\\\\""]'),
        ('"@{sensorNames}"', '"\\"CPU busy\\", \\"Disk \\\\\\"C:\\\\\\\\\\\\\\"\\""'),
        ("@{activationThresholdValue}", "24.5"),
        ('"@{activationThresholdValue}%"', '"24.5%"'),
        ("@{activationThresholdIsPercent}", "true"),
        ('"\\"@{groupName}"', '"\\"Finance"'),
        ('{% if activationThresholdIsPercent %}"%"{% else %}"n"{% endif %}', '"%"'),
        ("[{% for i in range(3) %}@{loop.index}{% if not loop.last %},{% endif %}{% endfor %}]", "[1,2,3]"),
        ('"@{groupName|upper}"', '"FINANCE"'),
        ("@{notificationName|tojson}", '"Finance is \\"slow\\""'),
        ('{% set name = groupName ~ "!" %}"@{name}"', '"Finance!"'),
        ("{}{# a remark #}\n", "{}\n"),
    ],
)
def test_in_json_a_value_is_escaped_for_the_place_it_stands_in(source: str, expected: str) -> None:
    assert check_template(source) == []
    assert out(source) == expected


@pytest.mark.parametrize("content_type", [JSON, "text/html", "text/plain"])
def test_a_plain_template_prints_what_a_compiled_one_prints(content_type: str) -> None:
    values = [VALUES, Values.of(event_of(description="\x00\u2028\ud800 é 😀</b>", group=None))]
    for name in VARIABLES:
        plain = f'{{"a": "@{{{name}}}", "b": [@{{{name}}}]}}'
        compiled = "{% if true %}{% endif %}" + plain
        for one in values:
            assert render(plain, content_type, one) == render(compiled, content_type, one)


def test_a_plain_template_has_the_same_bounds() -> None:
    large = Values.of(event_of(description="é" * 60_000))
    with pytest.raises(TemplateError, match="more than 100000 bytes"):
        render("@{notificationDescription}", "text/plain", large)
    huge = Values.of(event_of(description="a" * 100_001))
    for content_type in ("text/plain", JSON):
        with pytest.raises(TemplateError):
            render('"@{notificationDescription}"', content_type, huge)


def test_other_content_types_print_plainly_or_as_html() -> None:
    assert out("@{notificationName} @{activationThresholdIsPercent}", "text/plain") == 'Finance is "slow" true'
    assert out("<b>@{notificationName}</b>", "text/html; charset=utf-8") == "<b>Finance is &quot;slow&quot;</b>"
    assert check_template("no json at all: @{groupName}", "text/plain") == []


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ('"@{notificationname}"', "line 1: there is no variable 'notificationname'; did you mean 'notificationName'?"),
        ('\n\n"@{activationTim}"', "line 3: there is no variable 'activationTim'; did you mean 'activationTime'?"),
        ('{"a": @{groupName}', "the result is not valid JSON"),
        ("{'a': 1}", "Expecting property name enclosed in double quotes at line 1, column 2 of the result"),
        ('{"a": NaN}', "NaN is not JSON"),
        ('"@{groupName"', "line 1:"),
        ("{% if groupName %}", "line 1:"),
        ('{% if groupName %}"{% endif %}a"', "an `if` must open and close the same quotes"),
        ('{% for c in groupName %}"{% endfor %}', "a loop must close the quotes it opens"),
        ("@{'a' * 3}", "`*` may not stand"),
        ("@{2 ** 3}", "`**` may not stand"),
        ("@{'%s' % groupName}", "`%` may not stand"),
        ("@{1001}", "at most 1000"),
        ("@{'a'.ljust(9)}", "`.ljust` may not stand"),
        ("@{groupName.__class__.__mro__}", "`.__class__` may not stand"),
        ("@{groupName['x']}", "`[...]` may not stand"),
        ("@{groupName|center(999)}", "there is no filter 'center'"),
        ("@{'%9999d'|format(1)}", "there is no filter 'format'"),
        ("@{groupName|_json}", "there is no filter '_json'"),
        ("@{groupName|indent(999)}", "there is no filter 'indent'"),
        ("@{groupName|replace('a', 'bb')|replace('b', 'cc')}", "at most one of"),
        ("{% for a in groupName %}{% for b in groupName %}x{% endfor %}{% endfor %}", "a loop may not stand in a loop"),
        ("@{range(10, 20)}", "`range` with one number"),
        ("{% set x = groupName %}{% set y = x ~ x %}1", "may not be made from another name that is set"),
        ("{% set x = groupName %}{% set x = x ~ x %}1", "may not be made from another name that is set"),
        ("{% macro m() %}{% endmacro %}1", "macros may not stand"),
        ("{% import 'x' as y %}1", "imports may not stand"),
        ("{% include 'x' %}1", "includes may not stand"),
        ("{% extends 'x' %}1", "extends may not stand"),
        ("{% block a %}{% endblock %}1", "blocks may not stand"),
        ("@{[1, 2]}", "lists may not stand"),
        ("@{" + "(" * 3000 + "1" + ")" * 3000 + "}", "nested too deeply"),
        ("@{" + "1+" * 3000 + "1}", "nested"),
        ("x" * 9000, "the template has 9000 bytes; at most 8192 are allowed"),
        ("@{activationThresholdValue / 0}", "the template fails"),
        ("@{groupName|truncate(99.5)}", "the filter 'truncate' takes a whole number"),
        ("@{groupName is even}", "the test 'even' is for numbers"),
        ("@{7 is divisibleby('7')}", "the test 'divisibleby' is for numbers"),
        ("{% for i in range(999) %}" + "@{groupName}" * 20 + "{% endfor %}", "the result has more than 100000 bytes"),
    ],
)  # fmt: skip
def test_what_is_refused_on_saving_and_how_it_is_said(source: str, problem: str) -> None:
    problems = check_template(source)
    assert problems
    assert any(problem in one for one in problems), problems


@pytest.mark.parametrize(
    "source",
    [
        "{% if false %}@{'a'*200000000}{% endif %}1",
        "@{'a'*200000000}",
        '{% for i in range(999) %}{% if notificationDescription|upper|lower|upper == "x" %}{% endif %}{% endfor %}1',
        "{% for i in range(1000) %}" + "{% if groupName == i %}{% endif %}" * 200 + "{% endfor %}1",
        "{% for i in range(1000) %}@{notificationDescription|replace('a', '" + "b" * 100 + "')}{% endfor %}",
        "@{notificationDescription|urlencode}" * 200,
        "".join(f"{{% set x{at} = groupName ~ groupName %}}" for at in range(150)) + "1",
    ],
)
def test_no_template_takes_long(source: str) -> None:
    values = Values.of(event_of(description="a" * 15_000))
    started = time.thread_time()
    problems = check_template(source)
    if not problems:
        with contextlib.suppress(TemplateError):
            render(source, JSON, values)
    assert time.thread_time() - started < 1.0  # a bomb would take seconds; rendering itself has 50 ms


def test_a_lone_surrogate_does_not_break_the_body() -> None:
    values = Values({**VALUES.by_name, "groupName": "a\ud800b"})
    assert render('"@{groupName}"', JSON, values) == '"a?b"'
