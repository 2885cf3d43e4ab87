"""Logs: how fast a container can write to one that is kept on disk."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.engines import BenchEngine
from bench.measure import IMAGE, Measure, remove_all

_MEGABYTES = 200
_LINES = 10_000  # of 100 bytes in a megabyte


@contextmanager
def lines(engine: BenchEngine) -> Iterator[None]:
    """A file of lines of 100 bytes, for a container to print."""
    path = engine.root / "lines"
    path.write_bytes((b"%099d\n" % 7) * _LINES * _MEGABYTES)
    yield
    path.unlink()


def throughput(engine: BenchEngine) -> float:
    """Megabytes of output a second, from a container's start to its end, in the log of the default driver."""
    mount = f"{engine.root / 'lines'}:/lines:ro"
    began = time.perf_counter()
    container = engine.docker("run", "-d", "--network", "none", "-v", mount, IMAGE, "cat", "/lines").strip()
    engine.docker("wait", container)
    took = time.perf_counter() - began
    remove_all(engine)
    return _MEGABYTES / took


def measures(rounds: int) -> list[Measure]:
    """All that is measured."""
    return [Measure("log throughput", "MB/s", 1.0, max(3, rounds // 7), throughput, lines, rate=True)]
