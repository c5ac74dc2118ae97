"""Everything that is known by name: systems, metrics, instances, series, and what the plan wants of each metric."""

from __future__ import annotations

import numpy as np

from tocsin.evaluator.core.plan import MetricPlan, Plan
from tocsin.evaluator.core.sensor import NEVER
from tocsin.evaluator.core.series import draw_deadlines
from tocsin.evaluator.core.steps import NO_STANCE, Steps
from tocsin.evaluator.detector.columns import Ints, Known
from tocsin.evaluator.detector.judging import load, store
from tocsin.evaluator.detector.names import Names
from tocsin.evaluator.detector.tables import NO_SILENCE, NO_TIME, SeriesTable, Systems
from tocsin.shared.partitioning import partition_for


class Knowledge:
    """Names get numbers when they are met first; the numbers go into the tables."""

    def __init__(self, plan: Plan, partitions: int) -> None:
        self.plan = plan
        self.partitions = partitions
        self.systems = Systems(lambda name: partition_for(name.encode(), partitions))
        self.metrics = Names()
        self.instances = Names()
        self.series = SeriesTable()
        self._plans: list[MetricPlan | None] = []  # by metric number

    @property
    def known(self) -> Known:
        """What the parsing thread may use, and add names to."""
        return Known(self.systems.names, self.metrics, self.instances)

    def adopt(self) -> None:
        """Names that the parsing thread has learned get their places here."""
        self.systems.adopt()
        while len(self._plans) < len(self.metrics):
            self._plans.append(self.plan.metrics.get(self.metrics.names[len(self._plans)]))

    def metric(self, name: str) -> int:
        number = self.metrics.add(name)
        self.adopt()
        return number

    def instance(self, name: str | None) -> int:
        return -1 if name is None else self.instances.add(name)

    def add_series(self, systems: Ints, metrics: Ints, instances: Ints) -> None:
        """New series, each given once."""
        first = self.series.size
        self.series.add(systems, metrics, instances, self.systems.partition[systems])
        watched = np.array([plan is not None for plan in self._plans], np.bool_)[metrics]
        self.undraw(np.arange(first, self.series.size)[watched])
        self._stand_at_the_start(np.arange(first, self.series.size))

    def undraw(self, series: Ints) -> None:
        """These series' next readings have to be looked at."""
        self.series.low[series], self.series.high[series] = np.inf, -np.inf
        self.series.stance[series] = NO_STANCE
        self.forget_deadlines(series)

    def _stand_at_the_start(self, series: Ints) -> None:
        """No sensor of these is anything but clear. Where a plan depends on the system, the first reading tells."""
        for metric in np.unique(self.series.metric[series]).tolist():
            plan = self._plans[metric]
            if plan is not None and not plan.overridden:
                stance = self.series.steps.stance(plan.intervals, {})
                self.series.stance[series[self.series.metric[series] == metric]] = stance

    def forget_deadlines(self, series: Ints) -> None:
        self.series.deadline[series] = self.series.due[series] = NEVER
        self.series.silence[series] = NO_SILENCE

    @property
    def windowed(self) -> bool:
        """Whether any sensor has a window."""
        return any(plan is not None and plan.windowed for plan in self._plans)

    def draw_deadlines(self) -> None:
        """Of all series, from nothing but what is known for certain: after a start, and when sensors have changed."""
        table = self.series
        size = table.size
        self.forget_deadlines(np.arange(size))
        heard = table.newest[:size] != NO_TIME
        for metric, plan in enumerate(self._plans):
            if plan is None or not plan.silences:
                continue
            watched = np.flatnonzero(heard & (table.metric[:size] == metric))
            if plan.overridden:
                for number in watched.tolist():
                    self._set_silence(np.array([number], np.int64), self.plan_of(number))
            else:
                self._set_silence(watched, plan)
        for series in {*table.states, *table.windows}:
            plan = self.plan_of(series)
            if plan is not None and heard[series]:
                one = load(table, series)
                draw_deadlines(plan.intervals, one)
                store(table, series, one, plan.intervals)

    def _set_silence(self, series: Ints, plan: MetricPlan | None) -> None:
        if plan is not None and plan.intervals.silences:
            self.series.silence[series] = plan.intervals.silences[0][0]
            self.series.silences = True

    def plan_of(self, series: int) -> MetricPlan | None:
        plan = self._plans[int(self.series.metric[series])]
        if plan is None or not plan.overridden:
            return plan
        return plan.on(self.systems.names.names[int(self.series.system[series])])

    def partition_of(self, series: int) -> int:
        return int(self.systems.partition[self.series.system[series]])

    def describe(self, series: int) -> tuple[str, str, str | None]:
        """System, metric, instance."""
        table = self.series
        instance = int(table.instance[series])
        return (
            self.systems.names.names[int(table.system[series])],
            self.metrics.names[int(table.metric[series])],
            None if instance < 0 else self.instances.names[instance],
        )

    def take_plan(self, plan: Plan) -> list[tuple[MetricPlan | None, MetricPlan | None]]:
        """From now on; before and after, by metric number. Bounds are drawn anew where sensors differ."""
        self.adopt()
        before = self._plans
        self.plan = plan
        self._plans = [plan.metrics.get(name) for name in self.metrics.names[: len(before)]]
        both = list(zip(before, self._plans, strict=True))
        changed = np.array([differ(one, other) for one, other in both], np.bool_)
        watched = np.array([after is not None for after in self._plans], np.bool_)
        metric = self.series.metric[: self.series.size]
        if changed.any():
            self.undraw(np.flatnonzero(changed[metric] & watched[metric]))
            idle = np.flatnonzero(changed[metric] & ~watched[metric])
            self.series.low[idle], self.series.high[idle] = -np.inf, np.inf
            self.forget_deadlines(idle)
        self._learn_anew()
        return both

    def _learn_anew(self) -> None:
        """Steps belong to a plan."""
        table = self.series
        table.steps = Steps()
        table.stance[:] = NO_STANCE
        clear = np.ones(table.size, np.bool_)
        clear[list(table.states)] = False
        self._stand_at_the_start(np.flatnonzero(clear))


def differ(one: MetricPlan | None, other: MetricPlan | None) -> bool:
    """Whether two plans of a metric have different sensors, or in other places."""
    return tuple(one.places if one is not None else ()) != tuple(other.places if other is not None else ())
