"""What readings tell about systems and metrics: who there is, which have instances, how often they come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tocsin.evaluator.backtest.recording import Block
from tocsin.evaluator.detector.columns import Ints, Known


@dataclass(frozen=True, slots=True)
class MetricFacts:
    """Of one metric. `interval`: the median time between two readings of a series, ms; None: not known."""

    has_instances: bool = False
    interval: int | None = None


@dataclass(frozen=True)
class Facts:
    """None: nothing is known of these. `interval`: the median time between two readings of a system."""

    systems: frozenset[str] | None = None
    metrics: Mapping[str, MetricFacts] | None = None
    interval: int | None = None
    origin: str = ""  # as in "no system … in the readings"


def facts_of(block: Block, known: Known, origin: str) -> Facts:
    """From readings in any order."""
    names, metrics = known.systems.names, known.metrics.names
    series = np.stack([block.system, block.metric, block.instance])
    gaps, owner = _gaps(series, block.time)
    found = {}
    for number in np.unique(block.metric).tolist():
        its = block.metric == number
        found[metrics[number]] = MetricFacts(bool((block.instance[its] >= 0).any()), _median(gaps[owner[1] == number]))
    of_systems, _ = _gaps(block.system[np.newaxis], block.time)
    systems = frozenset(names[number] for number in np.unique(block.system).tolist())
    return Facts(systems, found, _median(of_systems), origin)


def _gaps(keys: Ints, time: Ints) -> tuple[Ints, Ints]:
    """Times between neighbouring readings with equal keys, and those keys. Two at one time are none."""
    order = np.lexsort((time, *keys))
    keys, time = keys[:, order], time[order]
    gaps = np.diff(time)
    same = (keys[:, 1:] == keys[:, :-1]).all(axis=0) & (gaps > 0)
    return gaps[same], keys[:, 1:][:, same]


def _median(gaps: Ints) -> int | None:
    return int(np.median(gaps)) if len(gaps) else None
