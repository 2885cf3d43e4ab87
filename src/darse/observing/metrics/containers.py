"""Metrics of containers, with cAdvisor's names and labels, so that dashboards made for it show them.

See https://github.com/google/cadvisor/blob/master/docs/storage/prometheus.md. What cAdvisor has no name for begins with
`darse_container_`, and is there for containers that do not run, too.

All of this runs in a thread: the loop only lists the containers. The thread lets go of the interpreter at each of the
files that it reads, so that requests are answered meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from darse.containers.dependencies import Dependencies
from darse.containers.model import Container, Record, RunState, Status
from darse.observing.metrics.exposition import Family, label_name, labels_text
from darse.runtime.cgroups.scrape import ContainerCounters, CounterReader

_HEALTH = {"healthy": 1, "": -1, "none": -1}

Value = Callable[[ContainerCounters], float]

#: What is one number for each container: the family, further labels, and the number.
COUNTED: tuple[tuple[Family, str, Value], ...] = (
    (
        Family("container_cpu_usage_seconds_total", "counter", "Processor time of the container in seconds"),
        'cpu="total"',
        lambda c: c.cpu,
    ),
    (
        Family("container_cpu_user_seconds_total", "counter", "Processor time in user mode in seconds"),
        "",
        lambda c: c.cpu_user,
    ),
    (
        Family("container_cpu_system_seconds_total", "counter", "Processor time in kernel mode in seconds"),
        "",
        lambda c: c.cpu_system,
    ),
    (
        Family("container_cpu_cfs_periods_total", "counter", "Periods of the limit of processor time"),
        "",
        lambda c: c.throttling.periods,
    ),
    (
        Family("container_cpu_cfs_throttled_periods_total", "counter", "Periods in which that limit was reached"),
        "",
        lambda c: c.throttling.throttled,
    ),
    (
        Family("container_cpu_cfs_throttled_seconds_total", "counter", "Seconds that tasks waited at that limit"),
        "",
        lambda c: c.throttling.seconds,
    ),
    (
        Family("container_memory_usage_bytes", "gauge", "Memory that is charged to the container, its cache included"),
        "",
        lambda c: c.memory,
    ),
    (
        Family("container_memory_max_usage_bytes", "gauge", "The most memory that was ever charged to it"),
        "",
        lambda c: c.memory_peak,
    ),
    (
        Family("container_memory_working_set_bytes", "gauge", "Its memory without files that were not used lately"),
        "",
        lambda c: c.working_set,
    ),
    (Family("container_memory_rss", "gauge", "Anonymous memory in bytes"), "", lambda c: c.rss),
    (Family("container_memory_cache", "gauge", "Cache of files in bytes"), "", lambda c: c.cache),
    (Family("container_memory_mapped_file", "gauge", "Mapped files in bytes"), "", lambda c: c.mapped_file),
    (Family("container_memory_swap", "gauge", "Swapped memory in bytes"), "", lambda c: c.swap),
    (
        Family("container_memory_failcnt", "unknown", "How often its limit of memory was reached"),
        "",
        lambda c: c.memory_fails,
    ),
    (
        Family("container_memory_failures_total", "counter", "Page faults"),
        'failure_type="pgfault",scope="hierarchy"',
        lambda c: c.page_faults,
    ),
    (
        Family("container_memory_failures_total", "counter", "Page faults"),
        'failure_type="pgmajfault",scope="hierarchy"',
        lambda c: c.major_faults,
    ),
    (
        Family("container_oom_events_total", "counter", "Processes that were killed because memory ran out"),
        "",
        lambda c: c.oom_kills,
    ),
    (Family("container_processes", "gauge", "Processes in the container"), "", lambda c: c.processes),
    (Family("container_threads", "gauge", "Threads in the container"), "", lambda c: c.threads),
)
DISK: tuple[tuple[Family, str], ...] = (
    (Family("container_fs_reads_bytes_total", "counter", "Bytes read from the device"), "read_bytes"),
    (Family("container_fs_writes_bytes_total", "counter", "Bytes written to the device"), "written_bytes"),
    (Family("container_fs_reads_total", "counter", "Reads of the device"), "reads"),
    (Family("container_fs_writes_total", "counter", "Writes to the device"), "writes"),
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
    """All of them, each once."""
    found = [family for family, *_ in COUNTED]
    found += [family for family, _ in DISK]
    found += [*NETWORK, *(one for pair in PRESSURE.values() for one in pair)]
    found += [family for family, _ in SPECIFIED]
    found += [LAST_SEEN, START_TIME, HEALTH, STATE, RESTARTS, EXIT_CODE, OOM_KILLED, FAILING_STREAK]
    return list(dict.fromkeys(found))


class ContainerMetrics:
    """Reads the containers, and writes the lines."""

    def __init__(self, context: Dependencies) -> None:
        self._context = context
        self._reader = CounterReader(context.cgroups)
        self._labels: dict[str, tuple[Record, str]] = {}

    def lines(self, containers: Iterable[Container]) -> Iterator[tuple[Family, list[str]]]:
        """The samples of all families, of those that have any; to be called in a thread, by one at a time."""
        known_families = families()
        lines: dict[str, list[str]] = {family.name: [] for family in known_families}
        labels: dict[str, tuple[Record, str]] = {}
        for container in containers:
            record, state = container.record, container.state
            known = self._labels.get(record.id)
            if known is None or known[0] is not record:
                known = (record, self._label(container))
            labels[record.id] = known
            self._add_state(lines, container, state, known[1])
            if state.alive:
                try:
                    counters = self._reader.read(self._context.cgroup_path(container), state.pid, _unlimited(container))
                except OSError:
                    continue  # it has just ended
                self._add(lines, container, state, counters, known[1])
        self._labels = labels
        return ((family, some) for family in known_families if (some := lines[family.name]))

    def _label(self, container: Container) -> str:
        record = container.record
        own = [
            ("id", self._context.cgroup_path(container)),
            ("image", record.image_reference),
            ("name", record.name),
        ]
        given = record.config.Labels or {}
        return labels_text([*own, *((f"container_label_{label_name(key)}", given[key]) for key in sorted(given))])

    def _add_state(self, lines: dict[str, list[str]], container: Container, state: RunState, labels: str) -> None:
        """What is known of any container without looking at it."""
        status = Status.CREATED if state.status is Status.CREATING else state.status
        lines[STATE.name].append(f'{STATE.name}{{{labels},state="{status}"}} 1\n')
        lines[RESTARTS.name].append(f"{RESTARTS.name}{{{labels}}} {state.restart_count}\n")
        lines[OOM_KILLED.name].append(f"{OOM_KILLED.name}{{{labels}}} {int(state.oom_killed)}\n")
        if state.finished_ns:
            lines[EXIT_CODE.name].append(f"{EXIT_CODE.name}{{{labels}}} {state.exit_code}\n")
        if state.health is not None:
            lines[FAILING_STREAK.name].append(f"{FAILING_STREAK.name}{{{labels}}} {state.health.FailingStreak}\n")

    def _add(
        self,
        lines: dict[str, list[str]],
        container: Container,
        state: RunState,
        counters: ContainerCounters,
        labels: str,
    ) -> None:
        for family, more, value in COUNTED:
            lines[family.name].append(f"{family.name}{{{labels}{',' if more else ''}{more}}} {value(counters)}\n")
        for device, moved in counters.devices.items():
            for family, field in DISK:
                lines[family.name].append(f'{family.name}{{{labels},device="{device}"}} {getattr(moved, field)}\n')
        for interface, numbers in (counters.networks or {}).items():
            shown = labels_text([("interface", interface)])
            for family, number in zip(NETWORK, numbers, strict=True):
                lines[family.name].append(f"{family.name}{{{labels},{shown}}} {number}\n")
        for resource, seconds in counters.pressure.items():
            for family, waited in zip(PRESSURE[resource], seconds, strict=True):
                lines[family.name].append(f"{family.name}{{{labels}}} {waited}\n")
        for family, specified in SPECIFIED:
            limit = specified(container)
            if limit is not None:
                lines[family.name].append(f"{family.name}{{{labels}}} {limit}\n")
        health = state.health.Status if state.health is not None else ""
        lines[LAST_SEEN.name].append(f"{LAST_SEEN.name}{{{labels}}} {int(time.time())}\n")
        lines[START_TIME.name].append(f"{START_TIME.name}{{{labels}}} {state.started_ns / 1e9:.3f}\n")
        lines[HEALTH.name].append(f"{HEALTH.name}{{{labels}}} {_HEALTH.get(health, 0)}\n")


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
