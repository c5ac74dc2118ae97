"""From two looks at this host to a report. Pure: what was seen comes in, readings go out.

Percentages of CPU are of what this system may use: with a CPU quota (a container limited to 1.5 CPUs), 100 % is the
quota; without one, all CPUs it may run on. Rates are per second between the two looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tocsin.ingest.core.processes import ProcessUse
from tocsin.shared.readings import GoodReading
from tocsin.shared.schemas.reading import MAX_NAME_BYTES


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Of one core, in seconds since boot."""

    busy: float
    total: float


@dataclass(frozen=True, slots=True)
class Quota:
    """What a control group allows, and what it has used."""

    cpus: float
    used_seconds: float


@dataclass(frozen=True, slots=True)
class Look:
    """What the host showed at one moment."""

    at: float  # monotonic seconds
    cores: Mapping[str, CpuTimes]  # those this system may run on
    quota: Quota | None
    load: tuple[float, float, float] | None
    memory_total: int
    memory_available: int
    swap_percent: float | None  # None: there is no swap
    disks: Mapping[str, float] = field(default_factory=dict)  # percent used, by mount point
    disk_bytes: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # read, written, by device
    network_bytes: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # received, sent, by interface
    temperatures: Mapping[str, float] = field(default_factory=dict)
    battery_percent: float | None = None
    processes: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """One value; a reading once it is known of which system and when."""

    metric: str
    value: float
    unit: str | None = None
    instance: str | None = None

    def reading(self, system: str, time: int, tags: dict[str, str] | None) -> GoodReading:
        instance = None if self.instance is None else _printable(self.instance)
        return GoodReading(system, self.metric, instance, float(self.value), time, self.unit, tags)


def _printable(name: str) -> str:
    """The host's names may hold any bytes, at any length; an instance may not."""
    return name.encode("utf-8", "replace")[:MAX_NAME_BYTES].decode("utf-8", "ignore") or "?"


def measure(before: Look, now: Look, top: list[ProcessUse]) -> list[Measured]:
    """Everything this host can say."""
    seconds = now.at - before.at
    return [
        *_cpu(before, now, seconds),
        *_memory(now),
        *(Measured("disk.used.percent", _percent(used), "percent", mount) for mount, used in now.disks.items()),
        *_rates("disk.read", "disk.write", before.disk_bytes, now.disk_bytes, seconds),
        *_rates("network.rx", "network.tx", before.network_bytes, now.network_bytes, seconds),
        Measured("process.count", now.processes),
        *_processes(top),
        *(Measured("temperature.celsius", value, "celsius", name) for name, value in now.temperatures.items()),
        *([] if now.battery_percent is None else [Measured("battery.percent", now.battery_percent, "percent")]),
    ]


def capacity(look: Look) -> float:
    """How many CPUs this system may use."""
    cores = max(1, len(look.cores))
    return cores if look.quota is None else min(cores, look.quota.cpus)


def _percent(value: float) -> float:
    return round(min(100.0, max(0.0, value)), 2)


def _busy(before: CpuTimes | None, now: CpuTimes) -> float | None:
    """Share of one core's time, or None when no time has passed on it."""
    if before is None or now.total <= before.total:
        return None
    return (now.busy - before.busy) / (now.total - before.total)


def _cpu(before: Look, now: Look, seconds: float) -> Iterator[Measured]:
    shares = {core: _busy(before.cores.get(core), times) for core, times in now.cores.items()}
    known = {core: share for core, share in shares.items() if share is not None}
    if now.quota is not None and before.quota is not None and seconds > 0:
        used = (now.quota.used_seconds - before.quota.used_seconds) / seconds
        yield Measured("cpu.percent", _percent(100 * used / now.quota.cpus), "percent")
    elif known:
        yield Measured("cpu.percent", _percent(100 * sum(known.values()) / len(known)), "percent")
    for core, share in known.items():
        yield Measured("cpu.core.percent", _percent(100 * share), "percent", core)
    for name, value in zip(("load.1m", "load.5m", "load.15m"), now.load or (), strict=False):
        yield Measured(name, round(value, 2))


def _memory(now: Look) -> Iterator[Measured]:
    if now.memory_total > 0:
        used = 100 * (1 - now.memory_available / now.memory_total)
        yield Measured("memory.percent", _percent(used), "percent")
        yield Measured("memory.available.bytes", now.memory_available, "bytes")
    if now.swap_percent is not None:
        yield Measured("swap.percent", _percent(now.swap_percent), "percent")


def _rates(
    first: str,
    second: str,
    before: Mapping[str, tuple[int, int]],
    now: Mapping[str, tuple[int, int]],
    seconds: float,
) -> Iterator[Measured]:
    for instance, counters in now.items():
        earlier = before.get(instance)
        if earlier is None or seconds <= 0:
            continue
        for metric, count, count_before in zip((first, second), counters, earlier, strict=True):
            # A counter that went back has been reset: its rate is unknown, not negative.
            if count >= count_before:
                rate = round((count - count_before) / seconds, 1)
                yield Measured(f"{metric}.bytes_per_second", rate, "bytes/s", instance)


def _processes(top: list[ProcessUse]) -> Iterator[Measured]:
    for use in top:
        if use.cpu_percent is not None:
            yield Measured("process.cpu.percent", round(use.cpu_percent, 2), "percent", use.name)
        if use.memory_bytes is not None:
            yield Measured("process.memory.bytes", use.memory_bytes, "bytes", use.name)
