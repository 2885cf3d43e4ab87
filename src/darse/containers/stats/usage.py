"""What all running containers use, in one answer: for those who keep a history, as the dashboard does.

A stream for each container would cost a request, and a document of all its counters, each second.
"""

from __future__ import annotations

import asyncio
import time

from darse.containers.dependencies import Dependencies
from darse.containers.model import Container
from darse.containers.stats.service import open_usage
from darse.core import executors
from darse.linux.proc.host_usage import read_host
from darse.runtime.cgroups.stats import CgroupUsage, HostCPU
from darse.wire.observation import ContainerUsage, HostUsage, UsageSample

# How many containers are read before others may have the event loop: some 2 ms.
_BATCH = 4
_ANY_HOST = HostCPU(0, 0)


async def usage(dependencies: Dependencies) -> UsageSample:
    """Sample the host, and each container that runs."""
    host = HostUsage(*await executors.kernel.run(read_host, dependencies.config.data_root))
    taken = time.time_ns()
    found = []
    for number, container in enumerate(list(dependencies.store)):
        if number and number % _BATCH == 0:
            await asyncio.sleep(0)
        if container.state.alive and (sample := _sample(dependencies, container)) is not None:
            found.append(_usage(container, sample))
    return UsageSample(taken, host, found)


def _sample(dependencies: Dependencies, container: Container) -> CgroupUsage | None:
    try:
        reader = open_usage(dependencies, container)
    except OSError:
        return None  # it has just ended
    try:
        return reader.read(_ANY_HOST)
    except OSError:
        return None
    finally:
        reader.close()


def _usage(container: Container, sample: CgroupUsage) -> ContainerUsage:
    networks = (sample.networks or {}).values()
    moved = sample.block_io.io_service_bytes_recursive or ()
    stats = sample.memory.stats or {}
    # As docker's client: without what the kernel gives back first.
    cache = stats.get("total_inactive_file", stats.get("inactive_file", 0))
    return ContainerUsage(
        Id=container.id,
        Name=container.name,
        CPU=sample.cpu.cpu_usage.total_usage,
        Memory=max(0, sample.memory.usage - cache),
        MemoryLimit=sample.memory.limit,
        Received=sum(one.rx_bytes for one in networks),
        Sent=sum(one.tx_bytes for one in networks),
        Read=sum(one.value for one in moved if one.op == "read"),
        Written=sum(one.value for one in moved if one.op == "write"),
        Processes=sample.pids.current,
    )
