"""The processes that use most, by name. Pure.

A name that has been among the first stays in the reports until its last process has ended, and then once more with 0:
else a sensor it has triggered would stay triggered, because nothing was ever heard of it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

TOP = 5
MAX_FOLLOWED = 25
"""Of one metric. Beyond it the least is let go, with a 0."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process as it was seen; the pair of pid and start time never comes again."""

    pid: int
    started: float
    name: str
    cpu_seconds: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """What all processes of one name use. None: not reported this time."""

    name: str
    cpu_percent: float | None
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class Sweep:
    """All processes at one moment."""

    at: float  # monotonic seconds
    processes: Mapping[tuple[int, float], Process]


@dataclass(frozen=True, slots=True)
class Followed:
    """Names that have been reported and not yet been let go."""

    cpu: frozenset[str] = frozenset()
    memory: frozenset[str] = frozenset()


def sweep(at: float, processes: Iterable[Process]) -> Sweep:
    return Sweep(at, {(process.pid, process.started): process for process in processes})


def top_processes(before: Sweep, now: Sweep, cpus: float, followed: Followed) -> tuple[list[ProcessUse], Followed]:
    """What to report, by name, and whom to follow. `cpus`: how many make 100 %."""
    seconds = max(now.at - before.at, 1e-3)
    cpu: dict[str, float] = {}
    memory: dict[str, float] = {}
    for key, process in now.processes.items():
        earlier = before.processes.get(key)
        used = process.cpu_seconds - (earlier.cpu_seconds if earlier is not None else 0.0)
        # A process that is new has used all of its time since the last look.
        cpu[process.name] = cpu.get(process.name, 0.0) + 100 * max(0.0, used) / seconds / cpus
        memory[process.name] = memory.get(process.name, 0.0) + process.memory_bytes
    shown_cpu, follow_cpu = _choose(cpu, followed.cpu)
    shown_memory, follow_memory = _choose(memory, followed.memory)
    uses: dict[str, ProcessUse] = {}
    for name, value in shown_cpu.items():
        uses[name] = ProcessUse(name, min(100.0, value), None)
    for name, value in shown_memory.items():
        uses[name] = replace(uses.get(name, ProcessUse(name, None, None)), memory_bytes=int(value))
    return list(uses.values()), Followed(follow_cpu, follow_memory)


def _choose(values: Mapping[str, float], followed: frozenset[str]) -> tuple[dict[str, float], frozenset[str]]:
    """(what to report, highest first; whom to follow from here on)."""
    ranked = sorted(values, key=lambda name: (-values[name], name))
    chosen = [name for place, name in enumerate(ranked) if (place < TOP and values[name] > 0) or name in followed]
    kept = chosen[:MAX_FOLLOWED]
    gone = sorted((followed - values.keys()) | set(chosen[MAX_FOLLOWED:]))
    return {**{name: values[name] for name in kept}, **dict.fromkeys(gone, 0.0)}, frozenset(kept)
