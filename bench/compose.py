"""`darse compose` beside docker compose v2, both on darsed, in turns: fifty services; and the start of commands."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from bench.engines import Darsed
from bench.measure import IMAGE

# Milliseconds that a command may take to its help.
_START_TARGET = 80.0
_SERVICES = 50
_THEIRS = Path.home() / ".cache/darse-clients/bin/docker-compose"
# Each line: what is measured, the words, those that undo it outside of the measurement, the ratio that is aimed at.
_DOWN = ("down", "-t", "0")
_LINES = (
    ("up -d, 50 services", ("up", "-d"), _DOWN, 0.5),
    ("up -d, no change", ("up", "-d"), (), 0.4),
    ("ps", ("ps",), (), 1.0),
    ("config", ("config", "-q"), (), 1.0),
)


def compose(engine: Darsed, rounds: int) -> bool:
    """Measure and print the table; whether all targets are met."""
    directory = engine.root / "fifty"
    directory.mkdir(exist_ok=True)
    service = f"{{image: {IMAGE}, command: sleep 1000, stop_grace_period: 0s, environment: {{A: b}}}}"
    services = "".join(f"  s{number}: {service}\n" for number in range(_SERVICES))
    (directory / "compose.yaml").write_text(f"name: fifty\nservices:\n{services}")
    environment = {
        **engine.darse_environment,
        "XDG_CACHE_HOME": str(engine.root / "cache"),
    }
    programs = {"darse": [engine.darse, "compose"]}
    if _THEIRS.exists():
        programs["docker"] = [str(_THEIRS)]
    else:
        print("\ndocker compose is not installed (make clients): only darse compose is measured")
    columns = f"{'darse ms':>12}{'docker ms':>12}{'ratio':>9}{'target':>9}{'':>10}{'ratio of processor times':>26}"
    print(f"\ncompose, on darsed{'':<14}{columns}")
    met = True
    for name, words, undo, target in _LINES:
        taken: dict[str, list[_Taken]] = {one: [] for one in programs}
        for number in range(max(2, rounds if not undo else rounds // 4)):
            for one in list(programs) if number % 2 == 0 else reversed(programs):
                if undo:
                    _run([*programs["darse"], *undo], directory, environment)
                taken[one].append(_run([*programs[one], *words], directory, environment))
        medians = {one: statistics.median(run.wall for run in found) for one, found in taken.items()}
        processor = {one: statistics.median(run.processor for run in found) for one, found in taken.items()}
        line = f"{name:<32}{medians['darse']:>12.1f}"
        if "docker" in medians:
            ratio = medians["darse"] / medians["docker"]
            met &= ratio <= target
            verdict = "met" if ratio <= target else "MISSED"
            line += f"{medians['docker']:>12.1f}{ratio:>9.2f}{target:>9.2f}  {verdict:<8}"
            line += f"{processor['darse'] / processor['docker']:>26.2f}"
        print(line)
    _run([*programs["darse"], *_DOWN], directory, environment)
    return met & starts(engine.darse, directory, environment, rounds)


def starts(darse: str, directory: Path, environment: dict[str, str], rounds: int) -> bool:
    """How long each command takes until it prints its help: everything that it needs is imported by then."""
    from darse.cli.command_line.index import COMMANDS

    medians = {
        path: statistics.median(
            _run([darse, *path.split(), "--help"], directory, environment).wall for _ in range(rounds)
        )
        for path in COMMANDS
        if path.startswith("compose ")
    }
    slowest = max(medians, key=lambda path: medians[path])
    verdict = "met" if medians[slowest] <= _START_TARGET else "MISSED"
    took = f"{slowest} {medians[slowest]:.1f} ms, {_START_TARGET:.0f}  {verdict}"
    print(f"start of {len(medians)} commands, the slowest: {took}")
    return medians[slowest] <= _START_TARGET


class _Taken(NamedTuple):
    """The milliseconds of a command, and those of them that a processor worked for it (the client alone)."""

    wall: float
    processor: float


def _run(words: list[str], directory: Path, environment: dict[str, str]) -> _Taken:
    """What a command takes to its end. Raises CalledProcessError."""
    began = time.perf_counter()
    done = subprocess.Popen(
        words,
        cwd=directory,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(done.pid, 0)
    done.returncode = os.waitstatus_to_exitcode(status)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, words)
    return _Taken((time.perf_counter() - began) * 1000, (usage.ru_utime + usage.ru_stime) * 1000)
