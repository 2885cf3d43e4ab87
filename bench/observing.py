"""Looking: what `docker stats` of a hundred containers costs the engine."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.engines import BenchEngine
from bench.measure import IMAGE, Measure, remove_all

_CONTAINERS = 100
_SECONDS = 5.0
_TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def hundred(engine: BenchEngine) -> Iterator[None]:
    """A hundred sleeping containers."""
    with ThreadPoolExecutor(4) as threads:
        for made in [threads.submit(_sleeper, engine) for _ in range(_CONTAINERS)]:
            made.result()
    yield
    remove_all(engine)


def _sleeper(engine: BenchEngine) -> None:
    engine.docker("run", "-d", IMAGE, "sleep", "100000")


def processor_time(pids: list[int]) -> float:
    """Seconds that processes have computed so far, user and kernel time (proc_pid_stat(5))."""
    ticks = 0
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def stats_cost(engine: BenchEngine) -> float:
    """Milliseconds of processor time for a second of `docker stats`: of the engine, and its helpers at containers."""
    client = subprocess.Popen(
        ["docker", "stats", "--format", "{{.CPUPerc}}"], env=engine.environment, stdout=subprocess.DEVNULL
    )
    try:
        time.sleep(2)  # until all streams run
        pids = engine.processes() + engine.holders()
        before, began = processor_time(pids), time.perf_counter()
        time.sleep(_SECONDS)
        return (processor_time(pids) - before) / (time.perf_counter() - began) * 1000
    finally:
        client.terminate()
        client.wait()


def measures(rounds: int) -> list[Measure]:
    """All that is measured."""
    return [Measure("stats of 100, CPU ms/s", "ms", 1.0, max(1, rounds // 7), stats_cost, hundred)]
