"""Metrics of containers, with cAdvisor's names and labels, so that dashboards made for it show them.

See https://github.com/google/cadvisor/blob/master/docs/storage/prometheus.md. What cAdvisor has no name for begins with
`darse_container_`, and is there for containers that do not run, too.

All of this runs in a thread: the loop only lists the containers. The thread lets go of the interpreter at each of the
files that it reads, so that requests are answered meanwhile. First all containers are read, then each family is
written: a list comprehension of a thousand lines takes a quarter of a millisecond, and the lines of one family alone
are in memory."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

from darse.containers.dependencies import Dependencies
from darse.containers.model import Container, Record, RunState, Status
from darse.observing.metrics.exposition import Family, label_name, labels_text
from darse.runtime.cgroups.scrape import ContainerCounters, CounterReader, DeviceIO

_HEALTH = {"healthy": 1, "": -1, "none": -1}

Value = Callable[[ContainerCounters], float]

#: What is one number for each container: the family, and of each of its samples further labels and the number.
COUNTED: tuple[tuple[Family, tuple[tuple[str, Value], ...]], ...] = (
    (
        Family("container_cpu_usage_seconds_total", "counter", "Processor time of the container in seconds"),
        (('cpu="total"', attrgetter("cpu")),),
    ),
    (
        Family("container_cpu_user_seconds_total", "counter", "Processor time in user mode in seconds"),
        (("", attrgetter("cpu_user")),),
    ),
    (
        Family("container_cpu_system_seconds_total", "counter", "Processor time in kernel mode in seconds"),
        (("", attrgetter("cpu_system")),),
    ),
    (
        Family("container_cpu_cfs_periods_total", "counter", "Periods of the limit of processor time"),
        (("", attrgetter("throttling.periods")),),
    ),
    (
        Family("container_cpu_cfs_throttled_periods_total", "counter", "Periods in which that limit was reached"),
        (("", attrgetter("throttling.throttled")),),
    ),
    (
        Family("container_cpu_cfs_throttled_seconds_total", "counter", "Seconds that tasks waited at that limit"),
        (("", attrgetter("throttling.seconds")),),
    ),
    (
        Family("container_memory_usage_bytes", "gauge", "Memory that is charged to the container, its cache included"),
        (("", attrgetter("memory")),),
    ),
    (
        Family("container_memory_max_usage_bytes", "gauge", "The most memory that was ever charged to it"),
        (("", attrgetter("memory_peak")),),
    ),
    (
        Family("container_memory_working_set_bytes", "gauge", "Its memory without files that were not used lately"),
        (("", attrgetter("working_set")),),
    ),
    (Family("container_memory_rss", "gauge", "Anonymous memory in bytes"), (("", attrgetter("rss")),)),
    (Family("container_memory_cache", "gauge", "Cache of files in bytes"), (("", attrgetter("cache")),)),
    (Family("container_memory_mapped_file", "gauge", "Mapped files in bytes"), (("", attrgetter("mapped_file")),)),
    (Family("container_memory_swap", "gauge", "Swapped memory in bytes"), (("", attrgetter("swap")),)),
    (
        Family("container_memory_failcnt", "unknown", "How often its limit of memory was reached"),
        (("", attrgetter("memory_fails")),),
    ),
    (
        Family("container_memory_failures_total", "counter", "Page faults"),
        (
            ('failure_type="pgfault",scope="hierarchy"', attrgetter("page_faults")),
            ('failure_type="pgmajfault",scope="hierarchy"', attrgetter("major_faults")),
        ),
    ),
    (
        Family("container_oom_events_total", "counter", "Processes that were killed because memory ran out"),
        (("", attrgetter("oom_kills")),),
    ),
    (Family("container_processes", "gauge", "Processes in the container"), (("", attrgetter("processes")),)),
    (Family("container_threads", "gauge", "Threads in the container"), (("", attrgetter("threads")),)),
)
DISK: tuple[tuple[Family, Callable[[DeviceIO], int]], ...] = (
    (Family("container_fs_reads_bytes_total", "counter", "Bytes read from the device"), attrgetter("read_bytes")),
    (Family("container_fs_writes_bytes_total", "counter", "Bytes written to the device"), attrgetter("written_bytes")),
    (Family("container_fs_reads_total", "counter", "Reads of the device"), attrgetter("reads")),
    (Family("container_fs_writes_total", "counter", "Writes to the device"), attrgetter("writes")),
)
#: In the order of `ContainerCounters.networks`.
NETWORK = tuple(
    Family(f"container_network_{way}_{what}_total", "counter", f"{shown} {verb} by the interface")
    for way, verb in (("receive", "received"), ("transmit", "sent"))
    for what, shown in (
        ("bytes", "Bytes"),
        ("packets", "Packets"),
        ("errors", "Packets with errors,"),
        ("packets_dropped", "Packets dropped that were"),
    )
)
#: By the resource, then of `some` and of `full` (psi.rst).
PRESSURE = {
    resource: tuple(
        Family(
            f"container_pressure_{resource}_{how}_seconds_total", "counter", f"Seconds in which {who} waited for {text}"
        )
        for how, who in (("waiting", "some tasks"), ("stalled", "all tasks"))
    )
    for resource, text in (("cpu", "a processor"), ("memory", "memory"), ("io", "a disk"))
}
SPECIFIED: tuple[tuple[Family, Callable[[Container], float | None]], ...] = (
    (
        Family("container_spec_memory_limit_bytes", "gauge", "Its limit of memory; 0 where it has none"),
        lambda c: max(0, c.record.host.Memory),
    ),
    (
        Family("container_spec_memory_swap_limit_bytes", "gauge", "Its limit of memory and swap; 0: none"),
        lambda c: max(0, c.record.host.MemorySwap),
    ),
    (
        Family("container_spec_memory_reservation_limit_bytes", "gauge", "Its soft limit of memory; 0: none"),
        lambda c: max(0, c.record.host.MemoryReservation),
    ),
    (
        Family("container_spec_cpu_period", "gauge", "Its period of processor time in microseconds"),
        lambda c: _quota(c)[1],
    ),
    (
        Family("container_spec_cpu_quota", "gauge", "Its processor time in each period, in microseconds"),
        lambda c: _quota(c)[0],
    ),
    (
        Family("container_spec_cpu_shares", "gauge", "Its shares of the processors"),
        lambda c: c.record.host.CpuShares or 1024,
    ),
    (
        Family("container_threads_max", "gauge", "Its limit of threads; 0 where it has none"),
        lambda c: max(0, c.record.host.PidsLimit or 0),
    ),
)
LAST_SEEN = Family("container_last_seen", "gauge", "When the container was seen last, in seconds since the epoch")
START_TIME = Family("container_start_time_seconds", "gauge", "When its process began, in seconds since the epoch")
HEALTH = Family("container_health_state", "gauge", "Its health check: 1 healthy, 0 not (yet), -1 it has none")
STATE = Family("darse_container_state", "gauge", "1; its label says in which state the container is")
RESTARTS = Family("darse_container_restarts_total", "counter", "Restarts by the restart policy")
EXIT_CODE = Family("darse_container_exit_code", "gauge", "The exit status of its last end")
OOM_KILLED = Family("darse_container_oom_killed", "gauge", "1 where memory ran out in its last run")
FAILING_STREAK = Family(
    "darse_container_health_failing_streak", "gauge", "Failed health checks without one that did not"
)


def families() -> list[Family]:
    """All of them, each once, in the order of the text."""
    found = [family for family, _ in COUNTED] + [family for family, _ in DISK]
    found += [*NETWORK, *(one for pair in PRESSURE.values() for one in pair)]
    found += [family for family, _ in SPECIFIED]
    return [*found, LAST_SEEN, START_TIME, HEALTH, STATE, RESTARTS, EXIT_CODE, OOM_KILLED, FAILING_STREAK]


class _Row(NamedTuple):
    """A container, as the lines need it. `counters` is None where it does not run."""

    labels: str
    container: Container
    state: RunState
    counters: ContainerCounters | None


_Running: TypeAlias = tuple[str, _Row, ContainerCounters]


class ContainerMetrics:
    """Reads the containers, and writes the lines."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies
        self._reader = CounterReader(dependencies.cgroups)
        self._labels: dict[str, tuple[Record, str]] = {}

    def lines(self, containers: Iterable[Container]) -> Iterator[tuple[Family, list[str]]]:
        """The samples of all families, of those that have any; to be called in a thread, by one at a time."""
        rows = self._read(containers)
        running = [(row.labels, row, row.counters) for row in rows if row.counters is not None]
        for family, samples in (*_counted(running), *_specified(running), *_known(rows)):
            if samples:
                yield family, samples

    def _read(self, containers: Iterable[Container]) -> list[_Row]:
        rows: list[_Row] = []
        labels: dict[str, tuple[Record, str]] = {}
        for container in containers:
            record, state = container.record, container.state
            known = self._labels.get(record.id)
            if known is None or known[0] is not record:
                known = (record, self._label(container))
            labels[record.id] = known
            counters = None
            if state.alive:
                with contextlib.suppress(OSError):  # it has just ended
                    counters = self._reader.read(
                        self._dependencies.cgroup_path(container), state.pid, _unlimited(container)
                    )
            rows.append(_Row(known[1], container, state, counters))
        self._labels = labels
        return rows

    def _label(self, container: Container) -> str:
        record = container.record
        own = [
            ("id", self._dependencies.cgroup_path(container)),
            ("image", record.image_reference),
            ("name", record.name),
        ]
        given = record.config.Labels or {}
        return labels_text([*own, *((f"container_label_{label_name(key)}", given[key]) for key in sorted(given))])


def _counted(rows: list[_Running]) -> Iterator[tuple[Family, list[str]]]:
    """What their control groups and networks count."""
    for family, parts in COUNTED:
        samples: list[str] = []
        for more, value in parts:
            begin, end = f"{family.name}{{", f"{',' if more else ''}{more}}} "
            samples += [f"{begin}{labels}{end}{value(counters)}\n" for labels, _, counters in rows]
        yield family, samples
    devices = [(f'{labels},device="{name}"', one) for labels, _, c in rows for name, one in c.devices.items()]
    for family, moved in DISK:
        yield family, [f"{family.name}{{{labels}}} {moved(device)}\n" for labels, device in devices]
    interfaces = [
        (f"{labels},{labels_text([('interface', name)])}", numbers)
        for labels, _, counters in rows
        for name, numbers in (counters.networks or {}).items()
    ]
    for place, family in enumerate(NETWORK):
        yield family, [f"{family.name}{{{labels}}} {numbers[place]}\n" for labels, numbers in interfaces]
    for resource, pair in PRESSURE.items():
        waits = [(labels, c.pressure[resource]) for labels, _, c in rows if resource in c.pressure]
        for place, family in enumerate(pair):
            yield family, [f"{family.name}{{{labels}}} {seconds[place]}\n" for labels, seconds in waits]


def _specified(rows: list[_Running]) -> Iterator[tuple[Family, list[str]]]:
    """What is known of containers that run."""
    for family, limit in SPECIFIED:
        limits = [(labels, limit(row.container)) for labels, row, _ in rows]
        yield family, [f"{family.name}{{{labels}}} {number}\n" for labels, number in limits if number is not None]
    now = int(time.time())
    yield LAST_SEEN, [f"{LAST_SEEN.name}{{{labels}}} {now}\n" for labels, _, _ in rows]
    yield (
        START_TIME,
        [f"{START_TIME.name}{{{labels}}} {row.state.started_ns / 1e9:.3f}\n" for labels, row, _ in rows],
    )
    yield HEALTH, [f"{HEALTH.name}{{{labels}}} {_health(row.state)}\n" for labels, row, _ in rows]


def _known(rows: list[_Row]) -> Iterator[tuple[Family, list[str]]]:
    """What is known of any container without looking at it."""
    yield STATE, [f'{STATE.name}{{{row.labels},state="{_status(row.state)}"}} 1\n' for row in rows]
    yield RESTARTS, [f"{RESTARTS.name}{{{row.labels}}} {row.state.restart_count}\n" for row in rows]
    ended = [row for row in rows if row.state.finished_ns]
    yield EXIT_CODE, [f"{EXIT_CODE.name}{{{row.labels}}} {row.state.exit_code}\n" for row in ended]
    yield OOM_KILLED, [f"{OOM_KILLED.name}{{{row.labels}}} {int(row.state.oom_killed)}\n" for row in rows]
    checked = [(row.labels, row.state.health.FailingStreak) for row in rows if row.state.health is not None]
    yield FAILING_STREAK, [f"{FAILING_STREAK.name}{{{labels}}} {streak}\n" for labels, streak in checked]


def _health(state: RunState) -> int:
    return _HEALTH.get(state.health.Status if state.health is not None else "", 0)


def _status(state: RunState) -> Status:
    return Status.CREATED if state.status is Status.CREATING else state.status


def _unlimited(container: Container) -> frozenset[str]:
    """See `CounterReader.read`."""
    host = container.record.host
    free = (("cpu", not (host.NanoCpus or host.CpuQuota > 0)), ("memory", host.Memory <= 0))
    return frozenset(name for name, is_free in free if is_free)


def _quota(container: Container) -> tuple[float | None, float | None]:
    """The processor time of each period, and the period, in microseconds; None where there is no limit."""
    host: Any = container.record.host
    if host.NanoCpus:
        return host.NanoCpus // 10_000, 100_000
    if host.CpuQuota > 0:
        return host.CpuQuota, host.CpuPeriod or 100_000
    return None, None
