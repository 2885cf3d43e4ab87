"""Networks of the user's: made and removed, connected and disconnected, many at once, and published ports."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.engines import BenchEngine
from bench.measure import IMAGE, Measure, remove_all, seconds

_MANY = 25


def create_and_remove(engine: BenchEngine) -> float:
    """One network, made and removed."""
    return seconds(engine, "network", "create", "bench-one") + seconds(engine, "network", "rm", "bench-one")


def connect_and_disconnect(engine: BenchEngine) -> float:
    """A running container, connected to a second network and disconnected."""
    return seconds(engine, "network", "connect", "bench-second", "bench") + seconds(
        engine, "network", "disconnect", "bench-second", "bench"
    )


def many_networks(engine: BenchEngine) -> float:
    """Milliseconds for each of as many networks, made one after another and then removed in one command."""
    names = [f"bench-{number}" for number in range(_MANY)]
    began = time.perf_counter()
    for name in names:
        seconds(engine, "network", "create", name)
    seconds(engine, "network", "rm", *names)
    return (time.perf_counter() - began) * 1000 / _MANY


def run_published(engine: BenchEngine) -> float:
    """A run of `true` with a port of the host."""
    return seconds(engine, "run", "--rm", "-p", "18080:80", IMAGE, "true")


@contextmanager
def connectable(engine: BenchEngine) -> Iterator[None]:
    """A container called `bench` on one network, and a second network."""
    for name in ("bench-first", "bench-second"):
        engine.docker("network", "create", name)
    engine.docker("run", "-d", "--name", "bench", "--network", "bench-first", IMAGE, "sleep", "100000")
    yield
    remove_all(engine)
    engine.docker("network", "rm", "bench-first", "bench-second")


def measures(rounds: int) -> list[Measure]:
    """All that is measured."""
    few = max(1, rounds // 10)
    return [
        Measure("network create and rm", "ms", 0.50, rounds, create_and_remove),
        Measure("network connect, disconnect", "ms", 0.50, rounds, connect_and_disconnect, connectable),
        Measure(f"{_MANY} networks, each", "ms", 0.50, few, many_networks),
        Measure("run --rm -p", "ms", 0.25, rounds, run_published),
    ]
