"""What a measurement is, and what several of them need."""

from __future__ import annotations

import contextlib
import fnmatch
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from bench.engines import BenchEngine

IMAGE = "builtin/busybox"
# The part by which a line of an earlier darse may be exceeded.
_NOISE = 0.03


@dataclass(frozen=True)
class Measure:
    """One line of the table: what is measured, in which unit, and the ratio to dockerd's that is aimed at.

    `prepare` makes what a measurement needs, once for all its rounds on an engine. Of a `rate` more is better: its
    target is the least ratio, not the largest. A target that is `alone` is of darsed's value, whatever dockerd's is.
    """

    name: str
    unit: str
    target: float | None
    rounds: int
    take: Callable[[BenchEngine], float]
    prepare: Callable[[BenchEngine], AbstractContextManager[object]] | None = None
    rate: bool = False
    alone: bool = False

    def met_by(self, ratio: float) -> bool:
        """Whether a ratio to dockerd's meets the target."""
        if self.target is None:
            return True
        return ratio >= self.target if self.rate else ratio <= self.target


Results = list[tuple[Measure, dict[str, list[float]]]]


def seconds(engine: BenchEngine, *arguments: str) -> float:
    """How long docker's client takes, in milliseconds."""
    began = time.perf_counter()
    done = subprocess.run(
        ["docker", *arguments], env=engine.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    took = time.perf_counter() - began
    if done.returncode != 0:
        raise RuntimeError(f"{engine.name}: docker {' '.join(arguments)}: {done.stderr.decode()}")
    return took * 1000


def remove_all(engine: BenchEngine) -> None:
    """Remove all containers."""
    containers = engine.docker("ps", "-aq").split()
    if containers:
        engine.docker("rm", "-f", *containers)


def measure(engines: list[BenchEngine], wanted: Sequence[Measure]) -> Results:
    """Take each measure on each engine in turn, again and again."""
    results = []
    for one in wanted:
        values: dict[str, list[float]] = {engine.name: [] for engine in engines}
        with contextlib.ExitStack() as prepared:
            able = list(engines)
            for engine in engines if one.prepare is not None else ():
                with _leaving_out(able, engine):
                    prepared.enter_context(one.prepare(engine))
            for number in range(one.rounds):
                # The first in a pair is not always the same one.
                for engine in list(able) if number % 2 == 0 else reversed(able):
                    with _leaving_out(able, engine):
                        engine.take_turn()
                        values[engine.name].append(one.take(engine))
        results.append((one, values))
    return results


@contextlib.contextmanager
def _leaving_out(able: list[BenchEngine], engine: BenchEngine) -> Iterator[None]:
    """An engine that may lack what the block needs measures no more of it."""
    try:
        yield
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        if not engine.may_lack:
            raise
        able.remove(engine)
        print(f"{engine.name} cannot do this: {error}"[:200])


def chosen(measures: Sequence[Measure], pattern: str | None) -> list[Measure]:
    """Those whose names match a shell pattern; all without one."""
    return [one for one in measures if pattern is None or fnmatch.fnmatchcase(one.name, pattern)]


def not_slower(measures: Sequence[Measure]) -> list[Measure]:
    """The same measures with what a change may cost as the target, for an earlier darse in dockerd's place."""
    allowed = 1 + _NOISE
    return [replace(one, target=1 / allowed if one.rate else allowed, alone=False) for one in measures]


def report(engines: list[BenchEngine], results: Results) -> bool:
    """Print the table; whether all targets are met."""
    paired = len(engines) > 1
    print(f"{'median of alternating runs':<28}{'':>5}" + "".join(f"{engine.name:>12}" for engine in engines), end="")
    print(f"{'ratio':>9}{'target':>9}" if paired else "")
    met = True
    for one, values in results:
        medians = [statistics.median(values[engine.name]) for engine in engines if values[engine.name]]
        line = f"{one.name:<28}{one.unit:>5}" + "".join(f"{median:>12.1f}" for median in medians)
        if len(medians) < len(engines):
            line += f"{'-':>12}"
        elif paired:
            ratio = medians[0] / medians[1]
            line += f"{ratio:>9.2f}"
            if one.target is not None:
                good = one.met_by(medians[0] if one.alone else ratio)
                met &= good
                line += f"{one.target:>9.2f}  {'met' if good else 'MISSED'}{', alone' if one.alone else ''}"
        print(line)
    return met
