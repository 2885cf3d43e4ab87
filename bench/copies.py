"""Copies: half a gigabyte, and ten thousand small files, into a container and out of it.

Each goes to a new place and is removed outside of the measurement; what is copied out goes nowhere (`-`), so that the
disk of this machine, which is the same for both engines, is in it once only.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from bench.engines import BenchEngine
from bench.measure import IMAGE, Measure, seconds

_BYTES = 500_000_000
_FILES = 10_000
_NAME = "copied"


@cache
def _sources() -> tempfile.TemporaryDirectory[str]:
    """What is copied; it goes with the bench."""
    directory = tempfile.TemporaryDirectory(prefix="bench-copies-")
    chance = random.Random(1)
    with open(Path(directory.name) / "large", "wb") as file:
        for _ in range(_BYTES // 1_000_000):
            file.write(chance.randbytes(1_000_000))
    for number in range(_FILES):
        path = Path(directory.name) / "tree" / f"d{number // 100}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(2000))
    return directory


def _into(what: str) -> Callable[[BenchEngine], float]:
    def take(engine: BenchEngine) -> float:
        source = str(Path(_sources().name) / what)
        engine.docker("run", "-d", "--name", _NAME, IMAGE, "sleep", "1000")
        try:
            return seconds(engine, "cp", "-q", source, f"{_NAME}:/copied")
        finally:
            engine.docker("rm", "-f", _NAME)

    return take


def _out_of(what: str) -> Callable[[BenchEngine], float]:
    def take(engine: BenchEngine) -> float:
        engine.docker("run", "-d", "--name", _NAME, IMAGE, "sleep", "1000")
        try:
            seconds(engine, "cp", "-q", str(Path(_sources().name) / what), f"{_NAME}:/copied")
            return seconds(engine, "cp", "-q", f"{_NAME}:/copied", "-")
        finally:
            engine.docker("rm", "-f", _NAME)

    return take


def measures(rounds: int) -> list[Measure]:
    """All that is measured."""
    few = max(3, rounds // 4)
    return [
        Measure("cp 500 MB in", "ms", 1.00, few, _into("large")),
        Measure("cp 500 MB out", "ms", 1.00, few, _out_of("large")),
        Measure("cp 10,000 files in", "ms", 1.00, few, _into("tree")),
        Measure("cp 10,000 files out", "ms", 1.00, few, _out_of("tree")),
    ]
