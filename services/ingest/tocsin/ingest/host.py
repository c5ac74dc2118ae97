"""This host as psutil and the control groups show it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from tocsin.ingest.core.processes import Process, Sweep, sweep
from tocsin.ingest.core.sampling import CpuTimes, Look, Quota

_CGROUPS = Path("/sys/fs/cgroup")
_NO_REAL_DISK = {"squashfs", "tmpfs", "devtmpfs", "overlay", "iso9660", "autofs", "nsfs", "ramfs"}
_SWEEP_SHARE = 20
"""Looking at all processes may take one part in twenty of the time; on a host with very many it is done less often."""


class Host:
    """Looks at the host; `processes` sweeps only as often as that is cheap."""

    def __init__(self, cgroups: Path = _CGROUPS) -> None:
        self._cgroups = cgroups
        self._sweep_after = 0.0

    def look(self) -> Look:
        memory = psutil.virtual_memory()
        swap = psutil.swap_memory()
        total, available = _memory_limit(self._cgroups, memory.total, memory.available)
        return Look(
            at=time.monotonic(),
            cores=_cores(),
            quota=_quota(self._cgroups),
            load=_load(),
            memory_total=total,
            memory_available=available,
            swap_percent=swap.percent if swap.total else None,
            disks=_disks(),
            disk_bytes=_disk_bytes(),
            network_bytes=_network_bytes(),
            temperatures=_temperatures(),
            battery_percent=_battery(),
            processes=len(psutil.pids()),
        )

    def processes(self, *, now: bool = False) -> Sweep | None:
        """All processes, or None while the last sweep is too fresh for its cost."""
        started = time.monotonic()
        if started < self._sweep_after and not now:
            return None
        found = sweep(started, _processes())
        self._sweep_after = time.monotonic() + _SWEEP_SHARE * (time.monotonic() - started)
        return found


def _cores() -> dict[str, CpuTimes]:
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    cores = {}
    for number, times in enumerate(psutil.cpu_times(percpu=True)):
        if allowed is not None and number not in allowed:
            continue
        # The guests' time is in `user` and `nice` already.
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        idle = times.idle + getattr(times, "iowait", 0.0)
        cores[str(number)] = CpuTimes(busy=total - idle, total=total)
    return cores


def _load() -> tuple[float, float, float] | None:
    try:
        return psutil.getloadavg()
    except OSError:
        return None


def _number(path: Path) -> int | None:
    """The number in a file; None when there is none, or it says `max`."""
    try:
        return int(path.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _field(path: Path, name: str) -> int | None:
    """The number after a name, a line each."""
    with suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return None


def _quota(root: Path) -> Quota | None:
    """Only the root of what is mounted here counts: in a container that is the container, on a host the host."""
    with suppress(OSError, ValueError):  # version 2
        allowed, period = (root / "cpu.max").read_text().split()
        used = _field(root / "cpu.stat", "usage_usec")
        if allowed != "max" and used is not None:
            return Quota(int(allowed) / int(period), used / 1e6)
    allowed_us = _number(root / "cpu" / "cpu.cfs_quota_us")  # version 1
    period_us = _number(root / "cpu" / "cpu.cfs_period_us")
    used_ns = _number(root / "cpuacct" / "cpuacct.usage")
    if not allowed_us or allowed_us < 0 or not period_us or used_ns is None:
        return None
    return Quota(allowed_us / period_us, used_ns / 1e9)


def _memory_limit(root: Path, total: int, available: int) -> tuple[int, int]:
    """(limit, available) in bytes, of the control group where it has less than the machine."""
    files = (root / "memory.max", root / "memory.current", root / "memory.stat", "inactive_file")
    old = root / "memory"
    old_files = (
        old / "memory.limit_in_bytes", old / "memory.usage_in_bytes", old / "memory.stat", "total_inactive_file"
    )  # fmt: skip
    for limit_file, used_file, stat_file, cache in (files, old_files):
        limit, used = _number(limit_file), _number(used_file)
        if limit is not None and used is not None and limit < total:
            # Cached files give way as soon as the memory is needed.
            free = limit - used + (_field(stat_file, cache) or 0)
            return limit, max(0, min(free, available))
    return total, available


def _disks() -> dict[str, float]:
    found: dict[str, float] = {}
    devices: set[str] = set()
    for partition in psutil.disk_partitions(all=False):
        if partition.fstype in _NO_REAL_DISK or partition.device in devices:
            continue
        devices.add(partition.device)
        with suppress(OSError):
            found[partition.mountpoint] = psutil.disk_usage(partition.mountpoint).percent
    if not found:  # a container shows no partition, but has a root
        with suppress(OSError):
            found["/"] = psutil.disk_usage("/").percent
    return found


def _disk_bytes() -> dict[str, tuple[int, int]]:
    with suppress(OSError, RuntimeError):
        counters = psutil.disk_io_counters(perdisk=True) or {}
        return {
            name: (disk.read_bytes, disk.write_bytes)
            for name, disk in counters.items()
            if not name.startswith(("loop", "ram", "zram")) and (disk.read_count or disk.write_count)
        }
    return {}


def _network_bytes() -> dict[str, tuple[int, int]]:
    with suppress(OSError):
        up = psutil.net_if_stats()
        return {
            name: (card.bytes_recv, card.bytes_sent)
            for name, card in psutil.net_io_counters(pernic=True).items()
            if name in up and up[name].isup
        }
    return {}


def _temperatures() -> dict[str, float]:
    if not hasattr(psutil, "sensors_temperatures"):
        return {}
    found: dict[str, float] = {}
    with suppress(OSError, ValueError):
        for chip, sensors in psutil.sensors_temperatures().items():
            for number, sensor in enumerate(sensors):
                found[f"{chip}/{sensor.label or number}"] = sensor.current
    return found


def _battery() -> float | None:
    if not hasattr(psutil, "sensors_battery"):
        return None
    with suppress(OSError, ValueError):
        battery = psutil.sensors_battery()
        return None if battery is None else float(battery.percent)
    return None


def _processes() -> Iterator[Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError), process.oneshot():
            times = process.cpu_times()
            yield Process(
                process.pid,
                process.create_time(),
                process.name() or f"pid {process.pid}",
                times.user + times.system,
                process.memory_info().rss,
            )
