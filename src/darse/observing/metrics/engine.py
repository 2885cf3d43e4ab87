"""Metrics of the engine itself, its host, images and volumes; with dockerd's names where it has them.

https://docs.docker.com/engine/daemon/prometheus/ names none of them; they are in moby's `daemon/internal/metrics`.
"""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

from darse import __version__, revision
from darse.containers.model import Status
from darse.images.snapshots.service import DRIVER
from darse.observing.metrics.exposition import Family, gauge_samples, labels_text, sample

if TYPE_CHECKING:
    from darse.engine.engine import Engine
    from darse.wire.system import Info

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
Lines = list[tuple[Family, list[str]]]

INFO = Family("engine_daemon_engine_info", "gauge", "What the engine is, and what its host is; always 1")
CPUS = Family("engine_daemon_engine_cpus_cpus", "gauge", "Processors of the host")
MEMORY = Family("engine_daemon_engine_memory_bytes", "gauge", "Memory of the host")
STATES = Family("engine_daemon_container_states_containers", "gauge", "Containers by state")
# dockerd calls this gauge a total; as a gauge, promtool would refuse it by its name.
SUBSCRIBERS = Family("engine_daemon_events_subscribers_total", "unknown", "Clients that follow events now")
EVENTS = Family("engine_daemon_events_total", "counter", "Events since the start")
HEALTH_CHECKS = Family("engine_daemon_health_checks_total", "counter", "Health checks that were run")
HEALTH_FAILED = Family("engine_daemon_health_checks_failed_total", "counter", "Health checks that failed")
MACHINE_CPUS = Family("machine_cpu_cores", "gauge", "Processors of the host")
MACHINE_MEMORY = Family("machine_memory_bytes", "gauge", "Memory of the host")
IMAGES = Family("darse_images", "gauge", "Images in the store")
IMAGE_SIZE = Family("darse_image_size_bytes", "gauge", "Unpacked size of an image, layers that others share included")
LAYERS = Family("darse_image_layers", "gauge", "Unpacked layers in the store")
LAYERS_SIZE = Family("darse_image_layers_bytes", "gauge", "Unpacked size of all layers, each counted once")
DISK_SIZE = Family("darse_data_root_size_bytes", "gauge", "Size of the file system that holds the data root")
DISK_FREE = Family("darse_data_root_free_bytes", "gauge", "What of it is free")
CPU_SECONDS = Family("process_cpu_seconds_total", "counter", "Processor time of the engine in seconds")
RESIDENT = Family("process_resident_memory_bytes", "gauge", "Resident memory of the engine")
VIRTUAL = Family("process_virtual_memory_bytes", "gauge", "Virtual memory of the engine")
OPEN_FILES = Family("process_open_fds", "gauge", "Open file descriptors of the engine")
MOST_FILES = Family("process_max_fds", "gauge", "Its limit of open file descriptors")
STARTED = Family("process_start_time_seconds", "gauge", "When the engine was started, in seconds since the epoch")


def info_lines(engine: Engine, info: Info) -> Lines:
    """What does not change while the engine runs."""
    labels = labels_text(
        {
            "architecture": info.Architecture,
            "commit": revision.identity()[0],
            "daemon_id": engine.system.id,
            "graphdriver": DRIVER,
            "kernel": info.KernelVersion,
            "os": info.OperatingSystem,
            "os_type": "linux",
            "os_version": info.OSVersion,
            "version": __version__,
        }.items()
    )
    return [
        (INFO, [sample(INFO.name, 1, labels)]),
        (CPUS, [sample(CPUS.name, info.NCPU)]),
        (MEMORY, [sample(MEMORY.name, info.MemTotal)]),
        (MACHINE_CPUS, [sample(MACHINE_CPUS.name, info.NCPU)]),
        (MACHINE_MEMORY, [sample(MACHINE_MEMORY.name, info.MemTotal)]),
    ]


def state_lines(engine: Engine) -> Lines:
    """What the services know; to be called on the event loop."""
    counts = engine.dependencies.store.counts()
    paused, running = counts[Status.PAUSED], counts[Status.RUNNING]
    states = {"paused": paused, "running": running, "stopped": sum(counts.values()) - paused - running}
    health = engine.containers.health
    sizes = engine.images.layer_sizes()
    images = [
        sample(IMAGE_SIZE.name, image.size, labels_text([("id", image.id), ("name", name)]))
        for image, name in engine.images.names_and_sizes()
    ]
    return [
        (STATES, gauge_samples(STATES.name, "state", states)),
        (SUBSCRIBERS, [sample(SUBSCRIBERS.name, engine.events.listeners)]),
        (EVENTS, [sample(EVENTS.name, engine.events.count)]),
        (HEALTH_CHECKS, [sample(HEALTH_CHECKS.name, health.probes)]),
        (HEALTH_FAILED, [sample(HEALTH_FAILED.name, health.failed_probes)]),
        (IMAGES, [sample(IMAGES.name, engine.images.count)]),
        (IMAGE_SIZE, images),
        (LAYERS, [sample(LAYERS.name, len(sizes))]),
        (LAYERS_SIZE, [sample(LAYERS_SIZE.name, sum(sizes.values()))]),
    ]


def process_lines(data_root: Path) -> Lines:
    """What the kernel counts of the engine's process and its disk (proc_pid_stat(5)); for a thread."""
    fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    used = resource.getrusage(resource.RUSAGE_SELF)
    disk = os.statvfs(data_root)
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    values = (
        (CPU_SECONDS, used.ru_utime + used.ru_stime),
        (RESIDENT, int(fields[21]) * _PAGE),
        (VIRTUAL, int(fields[20])),
        (OPEN_FILES, len(os.listdir("/proc/self/fd")) - 1),
        (MOST_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        (STARTED, round(boot + int(fields[19]) / _TICKS, 2)),
        (DISK_SIZE, disk.f_blocks * disk.f_frsize),
        (DISK_FREE, disk.f_bavail * disk.f_frsize),
    )
    return [(family, [sample(family.name, value)]) for family, value in values]
