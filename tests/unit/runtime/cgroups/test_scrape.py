"""One reading of a container's counters, from files such as the kernel writes, of both versions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from darse.runtime.cgroups.hierarchies import Cgroups, Hierarchy
from darse.runtime.cgroups.scrape import CounterReader, DeviceIO, Throttling

V2 = {
    "cpu.stat": "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\nnr_periods 7\nnr_throttled 3\n"
    "throttled_usec 250000\n",
    "memory.current": "9000\n",
    "memory.peak": "12000\n",
    "memory.swap.current": "77\n",
    "memory.stat": "anon 1000\nfile 5000\nfile_mapped 600\ninactive_file 4000\npgfault 11\npgmajfault 2\n",
    "memory.events": "low 0\nhigh 0\nmax 5\noom 1\noom_kill 1\n",
    "pids.current": "4\n",
    "cgroup.procs": "10\n11\n",
    "io.stat": "999:7 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n",
    "cpu.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\nfull avg10=0.00 avg60=0.00 total=500000\n",
    "memory.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 total=0\n",
}
V1 = {
    "cpuacct.usage": "2500000000\n",
    "cpuacct.stat": "user 200\nsystem 50\n",
    "cpu.stat": "nr_periods 7\nnr_throttled 3\nthrottled_time 250000000\n",
    "memory.usage_in_bytes": "9000\n",
    "memory.max_usage_in_bytes": "12000\n",
    "memory.failcnt": "5\n",
    "memory.stat": "cache 1\ntotal_cache 5000\ntotal_rss 1000\ntotal_mapped_file 600\ntotal_swap 77\n"
    "total_inactive_file 4000\ntotal_pgfault 11\ntotal_pgmajfault 2\n",
    "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    "pids.current": "4\n",
    "cgroup.procs": "10\n11\n",
    "blkio.throttle.io_service_bytes_recursive": "999:7 Read 4096\n999:7 Write 8192\n999:7 Total 12288\nTotal 12288\n",
    "blkio.throttle.io_serviced_recursive": "999:7 Read 1\n999:7 Write 2\nTotal 3\n",
}
CONTROLLERS = frozenset({"cpu", "cpuacct", "memory", "pids", "blkio"})


@pytest.fixture(params=[1, 2])
def cgroups(request: pytest.FixtureRequest, tmp_path: Path) -> Cgroups:
    """A host with one container, `/parent/one`."""
    directory = tmp_path / "tree" / "parent" / "one"
    directory.mkdir(parents=True)
    for name, text in (V2 if request.param == 2 else V1).items():
        (directory / name).write_text(text)
    made = Cgroups()
    made.hierarchies = (
        Hierarchy(tmp_path / "tree", request.param, CONTROLLERS if request.param == 1 else frozenset()),
    )
    return made


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """The /proc of process 10, which has a network of its own."""
    (tmp_path / "proc/10/ns").mkdir(parents=True)
    (tmp_path / "proc/10/net").mkdir()
    (tmp_path / "proc/10/ns/net").write_text("")
    (tmp_path / "proc/10/net/dev").write_text(
        "Inter-|   Receive                                                |  Transmit\n"
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls\n"
        "    lo:     1       1    0    0    0     0          0         0        1       1    0    0    0     0\n"
        "  eth0:   100      10    1    2    0     0          0         0      200      20    3    4    0     0\n"
    )
    return tmp_path / "proc"


def test_every_counter_is_read(cgroups: Cgroups, proc: Path) -> None:
    read = CounterReader(cgroups, proc).read("/parent/one", 10)
    assert (read.cpu, read.cpu_user, read.cpu_system) == (2.5, 2.0, 0.5)
    assert read.throttling == Throttling(7, 3, 0.25)
    assert (read.memory, read.memory_peak, read.memory_fails, read.working_set) == (9000, 12000, 5, 5000)
    assert (read.rss, read.cache, read.mapped_file, read.swap) == (1000, 5000, 600, 77)
    assert (read.page_faults, read.major_faults, read.oom_kills) == (11, 2, 1)
    assert (read.processes, read.threads) == (2, 4)
    assert read.devices == {"999:7": DeviceIO(4096, 8192, 1, 2)}
    assert read.networks == {"eth0": (100, 10, 1, 2, 200, 20, 3, 4)}
    # A kernel without io.pressure has that of the others all the same.
    assert read.pressure == ({"cpu": (1.5, 0.5), "memory": (0.0, 0.0)} if cgroups.unified else {})


def test_a_container_with_the_hosts_network_has_none_of_its_own(cgroups: Cgroups, proc: Path) -> None:
    assert CounterReader(cgroups, Path("/proc")).read("/parent/one", os.getpid()).networks is None


def test_a_container_that_has_ended_is_an_error(cgroups: Cgroups, proc: Path) -> None:
    reader = CounterReader(cgroups, proc)
    with pytest.raises(FileNotFoundError):
        reader.read("/parent/two", 10)
    assert reader.read("/parent/one", 10).memory == 9000


def test_what_counts_how_often_a_limit_was_reached_is_not_read_without_one(cgroups: Cgroups, proc: Path) -> None:
    reader = CounterReader(cgroups, proc)
    limited = reader.read("/parent/one", 10)
    free = reader.read("/parent/one", 10, frozenset(("cpu", "memory")))
    if not cgroups.unified:
        assert (limited.throttling.periods > 0, limited.memory_fails > 0) == (True, True)
        assert (free.throttling.periods, free.throttling.seconds, free.memory_fails) == (0, 0.0, 0)
    assert (free.cpu, free.memory, free.oom_kills) == (limited.cpu, limited.memory, limited.oom_kills)


def test_of_one_thread_the_processes_are_not_listed(cgroups: Cgroups, proc: Path) -> None:
    directory = cgroups.hierarchies[0].path / "parent" / "one"
    (directory / "pids.current").write_text("1\n")
    (directory / "cgroup.procs").unlink()
    read = CounterReader(cgroups, proc).read("/parent/one", 10)
    assert (read.processes, read.threads) == (1, 1)


def test_a_container_without_input_and_output_has_no_device(cgroups: Cgroups, proc: Path) -> None:
    directory = cgroups.hierarchies[0].path / "parent" / "one"
    for name in ("blkio.throttle.io_service_bytes_recursive", "io.stat"):
        (directory / name).write_text("" if cgroups.unified else "Total 0\n")
    assert CounterReader(cgroups, proc).read("/parent/one", 10).devices == {}
