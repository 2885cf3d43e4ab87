"""Starts, execs and what they cost: the measurements around a container's life."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from bench.engines import BenchEngine, memory
from bench.measure import IMAGE, Measure, remove_all, seconds


def run_on(network: str) -> Callable[[BenchEngine], float]:
    """A run of `true` on a network."""
    return lambda engine: seconds(engine, "run", "--rm", "--network", network, IMAGE, "true")


def fifty(engine: BenchEngine) -> float:
    """Fifty detached containers, eight at a time; they are removed outside of the measurement."""
    began = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: seconds(engine, "run", "-d", IMAGE, "sleep", "1000"), range(50)))
    took = time.perf_counter() - began
    remove_all(engine)
    return took * 1000


def cold_start(engine: BenchEngine) -> float:
    """From the start of the program to the first answered ping."""
    engine.stop()
    return engine.start() * 1000


def idle_memory(field: str) -> Callable[[BenchEngine], float]:
    """All of the engine's processes, freshly started and having run one container."""

    def take(engine: BenchEngine) -> float:
        engine.docker("run", "--rm", IMAGE, "true")
        return memory(engine.processes(), field)

    return take


def container_memory(field: str) -> Callable[[BenchEngine], float]:
    """What holds a running container beside its own processes, for each of ten."""

    def take(engine: BenchEngine) -> float:
        for _ in range(10):
            engine.docker("run", "-d", IMAGE, "sleep", "1000")
        total = memory(engine.holders(), field)
        remove_all(engine)
        return total / 10

    return take


def exec_true(engine: BenchEngine) -> float:
    """An exec of `true`."""
    return seconds(engine, "exec", "bench", "true")


def eight_execs(engine: BenchEngine) -> float:
    """Eight execs of `true` in one container, all at the same time."""
    began = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: exec_true(engine), range(8)))
    return (time.perf_counter() - began) * 1000


@contextmanager
def one_container(engine: BenchEngine) -> Iterator[None]:
    """A container called `bench` that sleeps."""
    engine.docker("run", "-d", "--name", "bench", IMAGE, "sleep", "100000")
    yield
    remove_all(engine)


def measures(rounds: int) -> list[Measure]:
    """All that is measured."""
    return [
        Measure("run --rm, bridge", "ms", 0.20, rounds, run_on("bridge")),
        Measure("run --rm, host", "ms", 0.35, rounds, run_on("host")),
        Measure("run --rm, none", "ms", 0.35, rounds, run_on("none")),
        Measure("exec true", "ms", 0.40, rounds, exec_true, one_container),
        Measure("8 execs at once", "ms", 0.40, rounds, eight_execs, one_container),
        Measure("ps", "ms", None, rounds, lambda engine: seconds(engine, "ps"), one_container),
        Measure("50 detached, 8 at a time", "ms", None, max(1, rounds // 10), fifty),
        Measure("per container, Pss", "MiB", 0.25, 1, container_memory("Pss")),
        Measure("per container, Rss", "MiB", None, 1, container_memory("Rss")),
        Measure("cold start", "ms", 0.50, max(3, rounds // 4), cold_start),
        Measure("engine idle, Pss", "MiB", 0.50, 1, idle_memory("Pss")),
        Measure("engine idle, Rss", "MiB", 0.50, 1, idle_memory("Rss")),
    ]
