"""No template takes more than 50 ms or 10 MB to render, and none blows up while it is compiled."""

from __future__ import annotations

import contextlib
import time
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from delivering import event_of
from tocsin.dispatcher.core.templates import TemplateError, check_template, render
from tocsin.dispatcher.core.variables import Values

MOST_SECONDS, MOST_BYTES = 0.050, 10_000_000
D = "notificationDescription"
VALUES = [Values.of(event_of(description=letter * 30_000)) for letter in ("a", "語", "😀", '"', "\x01", "&")]
FILTERS = [
    "upper", "lower", "title", "capitalize", "trim", "length", "truncate(5)", "mrkdwn", "urlencode", "e", "tojson",
    f"join('{'x' * 100}')", f"replace('a', '{'b' * 100}')", "replace('語', '😀')", "upper|lower|title|capitalize|trim",
]  # fmt: skip


def filled(unit: str, before: str = "", after: str = "1", size: int = 8_000) -> str:
    """As often as it fits into a template."""
    return before + unit * ((size - len(before) - len(after)) // len(unit)) + after


LOOP, END = "{% for i in range(1000) %}", "{% endfor %}1"
HARD = [
    *(filled(f"{{% if {D}|{one} %}}{{% endif %}}", size=3_000) for one in FILTERS),
    *(filled(f"@{{{D}|{one}}}", size=3_000) for one in FILTERS),
    *(filled(f"{{% if {D}|{one} %}}{{% endif %}}", LOOP, END, size=3_000) for one in FILTERS),
    "@{" + "~".join([D] * 39) + "}",
    "@{(" + "~".join([D] * 39) + ")|length}",
    "{% if " + "+".join([D] * 20) + " %}{% endif %}1",
    "{% set x = " + D + " ~ 'a' %}" + LOOP + "{% if notificationDescription < x %}{% endif %}" * 100 + END,
    LOOP + "{% if 'b' in notificationDescription %}{% endif %}" * 100 + END,
    LOOP + "{% if notificationDescription is eq notificationDescription %}{% endif %}" * 100 + END,
    "{% for i in notificationDescription %}{% endfor %}1",
    filled("@{i}", LOOP, END, size=2_500),
    filled("{% if i %}{% endif %}", LOOP, END, size=4_000),
    filled("{% if 1 / 3 == 2 // 1 %}{% endif %}", LOOP, END, size=4_000),
    filled("x", LOOP, END),
    filled(f"@{{{D}}}"),
]


def cost(source: str, values: Values) -> tuple[float, int]:
    """CPU seconds of this thread, and bytes at the most, of one rendering."""
    _render(source, values)  # compiles
    started = time.thread_time()
    _render(source, values)
    seconds = time.thread_time() - started
    tracemalloc.start()
    _render(source, values)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return seconds, most


def _render(source: str, values: Values) -> None:
    with contextlib.suppress(TemplateError):
        render(source, "application/json", values)


@pytest.mark.parametrize("source", HARD, ids=range(len(HARD)))
def test_rendering_is_bounded_whatever_the_template_and_the_values(source: str) -> None:
    for values in VALUES:
        seconds, most = cost(source, values)
        if seconds >= MOST_SECONDS:  # once more: the machine may have been busy elsewhere
            seconds, _ = cost(source, values)
        assert seconds < MOST_SECONDS
        assert most < MOST_BYTES


words = st.sampled_from(["notificationDescription", "matchedCount", "i", "x", "sensorNames", "'a'", "7", "true"])
filters = st.sampled_from(["", *(f"|{one}" for one in FILTERS)])
operators = st.sampled_from(["~", "+", "-", "/", "//", "==", "<", "in", "and", "or", "is"])
expressions = st.builds(
    lambda a, f, op, b: f"{a}{f} {op} {'string' if op == 'is' else b}", words, filters, operators, words
)
statements = st.one_of(
    st.builds("@{{{}}}".format, expressions),
    st.builds("{{% if {} %}}@{{x}}{{% endif %}}".format, expressions),
    st.builds("{{% set x = {} %}}".format, expressions),
    st.just("0, "),
)
programs = st.builds(
    lambda head, body, times, tail: "{% set x = 1 %}" + "".join(head) + "{% for i in range(" + str(times) + ") %}"
    + "".join(body) * 5 + "{% endfor %}" + "".join(tail),
    st.lists(statements, max_size=4), st.lists(statements, min_size=1, max_size=6), st.integers(1, 1000),
    st.lists(statements, max_size=4),
)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs)
def test_no_program_of_allowed_parts_is_expensive(source: str) -> None:
    for values in VALUES[2:4]:
        seconds, most = cost(source, values)
        if seconds >= MOST_SECONDS:
            seconds, _ = cost(source, values)
        assert seconds < MOST_SECONDS
        assert most < MOST_BYTES


@pytest.mark.parametrize(
    "bomb",
    [
        "@{'a'*200000000}",
        "{% if false %}@{'a'*200000000}{% endif %}1",
        "@{'a'|center(200000000)}",
        "@{'a'.ljust(200000000)}",
        "@{'%200000000d' % 1}",
        "@{'%200000000d'|format(1)}",
        "@{'%200000000d' is even}",
        "@{'%200000000d' is odd}",
        "@{'%200000000d' is divisibleby(3)}",
        "{% if ('%20000' ~ '0000d') is even %}{% endif %}1",
        "@{'{:200000000}'.format(1)}",
        "@{9**9**9}",
        "@{10000000000 * 10000000000}",
        "@{" + "9" * 5_000 + "}",
        "{% for a in range(1000) %}" * 3 + "x" + "{% endfor %}" * 3,
        "@{range(1000000000)|join}",
        "@{range(999999999)|list}",
        "{% set x = [[[[[[1]*999]*999]*999]*999]*999]*999 %}1",
        "@{lipsum(n=1000000)}",
        "@{'a'|indent(200000000)}",
        "@{'a b'|wordwrap(1, wrapstring='x' * 100000000)}",
        "@{dict(a='b' * 100000000)}",
        "@{notificationName.__class__.__base__.__subclasses__()}",
        "@{cycler('a' * 10000000)}",
        filled("@{i}", LOOP, END),
        "@{" + "(" * 2_000 + "1" + ")" * 2_000 + "}",
        "@{" + "-" * 4_000 + "1}",
        "@{" + "not " * 1_500 + "1}",
        "@{" + "1 if 1 else " * 600 + "1}",
        "{% if 1 %}" * 400 + "1" + "{% endif %}" * 400,
    ],
    ids=lambda bomb: bomb[:40],
)  # fmt: skip
def test_a_bomb_is_refused_on_saving_and_in_no_time(bomb: str) -> None:
    started = time.thread_time()
    assert check_template(bomb)
    assert time.thread_time() - started < 0.5
    tracemalloc.start()
    check_template(bomb)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < MOST_BYTES
