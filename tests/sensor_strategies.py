"""Sensors with any combination of options, for property tests: few numbers and short times, so that they meet."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from sensing import make_sensor
from tocsin.shared.configuration.records import Sensor

THRESHOLDS = ["> 2", "> 1", ">= 3", "< 2", "<= 1", "== 2", "!= 1", "between 1 and 2", "outside 1 and 2", "> 0.5"]
SHORT = [0, 0, 2000, 3000, 7000]

WINDOWS = [{"window": 4000}, {"window": 1}, {"tumbling": 4000}, {"count": 3}, {"count": 1}]

conditions = st.sampled_from(THRESHOLDS)
durations = st.sampled_from(SHORT)
breaches = st.sampled_from([None, None, "1 of 2", "2 of 3", "3 of 3", "2 of 5"])
values = st.sampled_from([0.0, 1.0, 1.5, 2.0, 3.0, 4.0])


@st.composite
def sensors(draw: st.DrawFn) -> Sensor:
    options: dict[str, Any] = {}
    if draw(st.booleans()):
        options["trigger"], options["clear"] = draw(conditions), draw(st.none() | conditions)
    else:
        options["levels"] = {
            name: {
                "trigger": draw(conditions),
                "clear": draw(st.none() | conditions),
                "for": draw(st.none() | durations),
                "keep": draw(st.none() | durations),
                "breaches": draw(breaches),
            }
            for name in ("info", "warn", "crit")[: draw(st.integers(1, 3))]
        }
    options |= {"for": draw(durations), "keep": draw(durations), "breaches": draw(breaches)}
    options["hold"] = draw(st.sampled_from([0, 0, 3000, 5000]))
    options["lateness"] = draw(st.sampled_from([0, 0, 2000, 20_000]))
    if draw(st.booleans()):
        window = draw(st.sampled_from(WINDOWS))
        function = draw(
            st.sampled_from(
                ["avg", "min", "max", "sum", "count", "stddev", "p50", "p90", "p95", "p99", "rate", "rate", "delta"]
            )
        )
        options["aggregate"] = {"function": function, **window}
    if draw(st.booleans()):
        then = draw(st.sampled_from(["no-data", "trigger", "clear", "hold"]))
        options["no_data"] = {"after": draw(st.sampled_from([1000, 3000, 6000])), "then": then}
    if draw(st.booleans()):
        enter = draw(st.sampled_from([10, 30, 50, 79.5]))
        leave = draw(st.sampled_from([5, 10]))
        options["flapping"] = {"enter": enter, "leave": leave, "history": draw(st.sampled_from([3, 6, 21]))}
    return make_sensor(**options)
