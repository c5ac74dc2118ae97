"""From two looks at a host to its readings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tocsin.ingest.core.backlog import Backlog, Waiting
from tocsin.ingest.core.processes import Followed, Process, ProcessUse, Sweep, sweep, top_processes
from tocsin.ingest.core.sampling import CpuTimes, Look, Measured, Quota, capacity, measure
from tocsin.ingest.core.wire import encode_report
from tocsin.ingest.host import Host, _memory_limit, _quota
from tocsin.shared.readings import check_message

BEFORE = Look(
    at=100.0,
    cores={"0": CpuTimes(10.0, 100.0), "1": CpuTimes(20.0, 100.0)},
    quota=None,
    load=(1.0, 0.5, 0.25),
    memory_total=1000,
    memory_available=250,
    swap_percent=None,
    disk_bytes={"sda": (1000, 2000)},
    network_bytes={"eth0": (500, 100)},
)


def values(before: Look, now: Look) -> dict[tuple[str, str | None], float]:
    return {(one.metric, one.instance): one.value for one in measure(before, now, [])}


def test_cpu_is_the_busy_share_of_the_time_that_has_passed_on_each_core() -> None:
    now = replace(BEFORE, at=101.0, cores={"0": CpuTimes(11.0, 101.0), "1": CpuTimes(20.5, 101.0)})
    found = values(BEFORE, now)
    assert found["cpu.core.percent", "0"] == 100.0
    assert found["cpu.core.percent", "1"] == 50.0
    assert found["cpu.percent", None] == 75.0


def test_with_a_quota_100_percent_is_the_quota() -> None:
    before = replace(BEFORE, quota=Quota(0.5, 10.0))
    now = replace(BEFORE, at=102.0, quota=Quota(0.5, 10.75))
    assert values(before, now)["cpu.percent", None] == 75.0
    assert capacity(now) == 0.5
    assert capacity(replace(now, quota=Quota(64, 0.0))) == 2


def test_memory_swap_and_load() -> None:
    found = values(BEFORE, replace(BEFORE, at=101.0))
    assert found["memory.percent", None] == 75.0
    assert found["memory.available.bytes", None] == 250
    assert found["load.15m", None] == 0.25
    assert ("swap.percent", None) not in found
    assert values(BEFORE, replace(BEFORE, swap_percent=12.5))["swap.percent", None] == 12.5


def test_rates_are_per_second_and_a_counter_that_was_reset_has_none() -> None:
    now = replace(BEFORE, at=102.0, disk_bytes={"sda": (3000, 2000), "new": (9, 9)}, network_bytes={"eth0": (100, 300)})
    found = values(BEFORE, now)
    assert found["disk.read.bytes_per_second", "sda"] == 1000.0
    assert found["disk.write.bytes_per_second", "sda"] == 0.0
    assert found["network.tx.bytes_per_second", "eth0"] == 100.0
    assert ("network.rx.bytes_per_second", "eth0") not in found
    assert ("disk.read.bytes_per_second", "new") not in found


def test_an_instance_of_any_bytes_becomes_a_reading_that_is_accepted() -> None:
    for name in ("\udcff\udcfe", "é" * 300, ""):
        reading = Measured("disk.used.percent", 5, "percent", name).reading("PC", 5, None)
        good, rejected = check_message(encode_report([reading], 5)[0])
        assert (len(good), rejected) == (1, [])


def running(at: float, *processes: tuple[int, str, float, int]) -> Sweep:
    return sweep(at, [Process(pid, 1.0, name, cpu, memory) for pid, name, cpu, memory in processes])


def test_processes_are_summed_by_name_and_cpu_is_a_share_of_all_there_is() -> None:
    before = running(10.0, (1, "web", 5.0, 100), (2, "web", 5.0, 100), (3, "db", 1.0, 50))
    now = running(12.0, (1, "web", 6.0, 100), (2, "web", 5.5, 100), (3, "db", 1.0, 50), (4, "new", 0.5, 10))
    uses, followed = top_processes(before, now, 2.0, Followed())
    assert uses == [
        ProcessUse("web", 37.5, 200),
        ProcessUse("new", 12.5, 10),
        ProcessUse("db", None, 50),
    ]
    assert followed == Followed(frozenset({"web", "new"}), frozenset({"web", "db", "new"}))


def test_a_pid_that_came_again_does_not_count_backwards() -> None:
    before = sweep(10.0, [Process(1, 1.0, "old", 500.0, 1)])
    now = sweep(11.0, [Process(1, 10.5, "new", 0.25, 1)])
    uses, _ = top_processes(before, now, 1.0, Followed())
    assert uses[0] == ProcessUse("new", 25.0, 1)


def test_only_the_first_five_are_reported() -> None:
    before = running(10.0)
    now = running(11.0, *((pid, f"p{pid}", pid / 10, pid) for pid in range(1, 9)))
    uses, _ = top_processes(before, now, 1.0, Followed())
    assert [use.name for use in uses] == ["p8", "p7", "p6", "p5", "p4"]


def test_a_process_once_reported_is_heard_of_until_it_has_ended_and_then_once_more() -> None:
    names = [(pid, f"p{pid}", 0.0, 100 + pid) for pid in range(6)]
    followed = Followed(cpu=frozenset({"busy"}))
    quiet = running(11.0, (9, "busy", 5.0, 1), *((pid, name, 0.1, memory) for pid, name, _, memory in names))
    uses, followed = top_processes(running(10.0, (9, "busy", 5.0, 1), *names), quiet, 1.0, followed)
    assert ProcessUse("busy", 0.0, None) in uses
    ended = running(12.0, *((pid, name, 0.2, memory) for pid, name, _, memory in names))
    uses, followed = top_processes(quiet, ended, 1.0, followed)
    assert ProcessUse("busy", 0.0, None) in uses
    uses, _ = top_processes(ended, running(13.0, *names), 1.0, followed)
    assert "busy" not in {use.name for use in uses}


def test_following_is_bounded_and_who_is_let_go_reports_0() -> None:
    before = running(10.0)
    now = running(11.0, *((pid, f"p{pid:02}", pid / 100, 0) for pid in range(40)))
    uses, followed = top_processes(before, now, 1.0, Followed(cpu=frozenset(f"p{pid:02}" for pid in range(30))))
    assert len(followed.cpu) == 25
    assert ProcessUse("p00", 0.0, None) in uses
    assert "p00" not in followed.cpu


def test_the_control_groups_limit_counts_in_both_versions(tmp_path: Path) -> None:
    assert _quota(tmp_path) is None
    assert _memory_limit(tmp_path, 4000, 3000) == (4000, 3000)

    new = tmp_path / "new"
    new.mkdir()
    (new / "cpu.max").write_text("150000 100000\n")
    (new / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    (new / "memory.max").write_text("1000\n")
    (new / "memory.current").write_text("600\n")
    (new / "memory.stat").write_text("anon 1\ninactive_file 100\n")
    assert _quota(new) == Quota(1.5, 2.5)
    assert _memory_limit(new, 4000, 3000) == (1000, 500)
    (new / "cpu.max").write_text("max 100000\n")
    assert _quota(new) is None

    old = tmp_path / "old"
    for folder in ("cpu", "cpuacct", "memory"):
        (old / folder).mkdir(parents=True)
    (old / "cpu" / "cpu.cfs_quota_us").write_text("50000\n")
    (old / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    (old / "cpuacct" / "cpuacct.usage").write_text("2500000000\n")
    (old / "memory" / "memory.limit_in_bytes").write_text("1000\n")
    (old / "memory" / "memory.usage_in_bytes").write_text("600\n")
    assert _quota(old) == Quota(0.5, 2.5)
    assert _memory_limit(old, 4000, 3000) == (1000, 400)
    (old / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert _quota(old) is None


def test_this_very_host_gives_a_report_that_is_accepted_whole() -> None:
    host = Host()
    before, processes = host.look(), host.processes(now=True)
    now, later = host.look(), host.processes(now=True)
    assert processes is not None
    assert later is not None
    top, _ = top_processes(processes, later, capacity(now), Followed())
    readings = [one.reading("PC", 5, {"site": "Berlin"}) for one in measure(before, now, top)]
    (message,) = encode_report(readings, 5)
    good, rejected = check_message(message)
    assert rejected == []
    assert good == readings
    assert {"memory.percent", "memory.available.bytes", "process.count"} <= {one.metric for one in good}


def test_the_backlog_drops_the_oldest_by_age_and_by_number_and_counts_them() -> None:
    backlog = Backlog(max_age_ms=10, max_messages=3)
    for made in range(5):
        backlog.put(Waiting(made, b"%d" % made))
    assert (len(backlog), backlog.dropped) == (3, 2)
    assert [one.made for one in backlog.first(2, now=4)] == [2, 3]
    assert [one.made for one in backlog.first(2, now=13)] == [3, 4]
    assert backlog.dropped == 3


def test_what_was_sent_leaves_the_backlog_and_what_was_dropped_meanwhile_does_not_matter() -> None:
    backlog = Backlog(max_age_ms=1000, max_messages=3)
    for made in range(3):
        backlog.put(Waiting(made, b""))
    batch = backlog.first(2, now=2)
    backlog.put(Waiting(3, b""))
    backlog.settle(batch)
    assert [one.made for one in backlog.first(9, now=3)] == [2, 3]
