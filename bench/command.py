"""Our own command beside docker's client, on the same engine: the time to its end, and the processor time it takes.

Processor time tells how much of a difference is the programs': other work on the machine disturbs it less.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.engines import BenchEngine, Darsed
from bench.measure import IMAGE, Measure
from bench.starts import one_container


@dataclass(frozen=True)
class Line:
    """A command line of both, and the ratio to docker's that is aimed at."""

    name: str
    words: tuple[str, ...]
    target: float


LINES = (
    Line("run --rm", ("run", "--rm", IMAGE, "true"), 1.15),
    Line("ps", ("ps",), 1.0),
    Line("exec true", ("exec", "bench", "true"), 1.0),
)
# What Python takes before it runs anything of ours, and what a command takes that needs no engine.
_START_TARGET = 2.5


def own(words: tuple[str, ...]) -> Callable[[BenchEngine], float]:
    """What the command of an engine's own tree takes to its end, in milliseconds."""

    def take(engine: BenchEngine) -> float:
        assert isinstance(engine, Darsed)
        return _take([engine.darse, *words], engine.darse_environment)[0]

    return take


def measures(rounds: int) -> list[Measure]:
    """The same command lines for `--before`: each tree's command on its own engine."""
    return [Measure(f"darse {line.name}", "ms", None, rounds, own(line.words), one_container) for line in LINES]


def command(engine: Darsed, rounds: int) -> bool:
    """Measure and print the table; whether all targets are met."""
    darse, environment = engine.darse, engine.darse_environment
    programs = {
        "python -IS -c pass": [sys.executable, "-IS", "-c", "pass"],
        "python -c pass": [sys.executable, "-c", "pass"],
        "darse version --client": [darse, "version", "--client"],
        "docker --version": ["docker", "--version"],
    }
    for line in LINES:
        programs[f"darse {line.name}"] = [darse, *line.words]
        programs[f"docker {line.name}"] = ["docker", *line.words]
    with one_container(engine):
        taken = _measured(programs, environment, rounds)
    print(f"\nour own command, on darsed{'':<2}{'ms':>12}{'CPU ms':>12}{'ratio':>9}{'of CPU':>9}{'target':>9}")
    met = True
    for name, (took, worked) in taken.items():
        line = f"{name:<28}{took:>12.1f}{worked:>12.1f}"
        other, target = _compared(name)
        if other:
            ratio = took / taken[other][0]
            met &= ratio <= target
            verdict = "met" if ratio <= target else "MISSED"
            line += f"{ratio:>9.2f}{worked / taken[other][1]:>9.2f}{target:>9.2f}  {verdict}"
        print(line)
    return met


def _compared(name: str) -> tuple[str, float]:
    """What a line is compared with, and the target."""
    if name == "darse version --client":
        return "python -c pass", _START_TARGET
    found = next((line for line in LINES if name == f"darse {line.name}"), None)
    return (f"docker {found.name}", found.target) if found else ("", 0.0)


def _measured(
    programs: dict[str, list[str]], environment: dict[str, str], rounds: int
) -> dict[str, tuple[float, float]]:
    """Medians of the milliseconds and of those of processor time, in turns."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for number in range(rounds):
        for name in list(programs) if number % 2 == 0 else reversed(programs):
            taken[name].append(_take(programs[name], environment))
    return {
        name: (statistics.median(one[0] for one in pairs), statistics.median(one[1] for one in pairs))
        for name, pairs in taken.items()
    }


def _take(program: list[str], environment: dict[str, str]) -> tuple[float, float]:
    began = time.perf_counter()
    it = subprocess.Popen(program, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(it.pid, 0)
    took = time.perf_counter() - began
    it.returncode = os.waitstatus_to_exitcode(status)
    if it.returncode != 0:
        raise subprocess.CalledProcessError(it.returncode, program)
    return took * 1000, (used.ru_utime + used.ru_stime) * 1000
