"""Trees of any depth and width: every operation on them answers, and the engine answers others meanwhile."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.http import ApiClient
from tests.system.trees.making import nest, spread

from darse.linux.fs.contained import remove_tree

# What the engine may take beyond what it took before.
_MOST_MEGABYTES = 150
SIZES = [
    pytest.param((3_000, 20_000, 60), id="small"),
    pytest.param((50_000, 2_000_000, 1800), id="full", marks=[pytest.mark.heavy, pytest.mark.timeout(7200)]),
]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine.start()
    yield engine
    engine.close()


class _Watch:
    """Pings the engine all the time, and looks at its memory.

    It does so in a process of its own: this one is busy with what the commands print, which are millions of lines.
    """

    def __init__(self, engine: Engine) -> None:
        assert engine.pid is not None
        self._before = _resident(engine.pid)
        self._ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=_ping_until_asked, args=(theirs, str(engine.socket), engine.pid))
        self.slowest = 0.0
        self.grown = 0

    def __enter__(self) -> _Watch:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.look()
        self._process.terminate()
        self._process.join()

    def look(self) -> float:
        """How many seconds the slowest answer took since the last look; `grown` is in megabytes."""
        self._ours.send(None)
        slowest, memory = self._ours.recv()
        self.slowest = max(self.slowest, slowest)
        self.grown = max(self.grown, (memory - self._before) >> 20)
        return float(slowest)


def _ping_until_asked(asked: Connection, socket: str, pid: int) -> None:
    """The process of a `_Watch`: send the slowest answer and the most memory, each time that somebody asks."""
    api = ApiClient(socket)
    slowest, memory = 0.0, 0
    while True:
        if asked.poll(0.02):
            asked.recv()
            asked.send((slowest, memory))
            slowest = 0.0
        begun = time.monotonic()
        assert api("GET", "/_ping").status == 200
        slowest = max(slowest, time.monotonic() - begun)
        memory = max(memory, _resident(pid))


def _resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(pid)


def _create(engine: Engine) -> tuple[str, Path]:
    """A container that has not run, and its upper directory."""
    container = engine.docker("create", BUSYBOX, "true").ok().line
    upper = json.loads(engine.docker("inspect", container).ok().out)[0]["GraphDriver"]["Data"]["UpperDir"]
    top = Path(upper, "top")
    top.mkdir()
    return container, top


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", ["deep", "long", "wide"])
def test_every_operation_answers(
    request: pytest.FixtureRequest,
    engine: Engine,
    size: tuple[int, int, int],
    shape: str,
    tell: Callable[[str], None],
    tmp_path: Path,
) -> None:
    depth, width, seconds = size
    # pytest keeps the directories of the last runs, and removes them by recursion.
    request.addfinalizer(lambda: remove_tree(tmp_path / "out"))
    container, top = _create(engine)
    if shape == "wide":
        spread(top, width, "f" * 10)
    else:
        nest(top, depth, "d" if shape == "deep" else "n" * 255)
    docker = engine.docker
    figures = []

    def timed(name: str, *arguments: str, **options: Any) -> Any:
        begun = time.monotonic()
        done = docker(*arguments, timeout=seconds, **options)
        figures.append(f"{name} {time.monotonic() - begun:.1f} s ({watch.look() * 1000:.0f} ms)")
        return done

    with _Watch(engine) as watch:
        timed("df", "system", "df").ok()
        timed("ps -s", "ps", "-as").ok()
        changed = timed("diff", "diff", container).ok().out.splitlines()
        timed("start", "start", "-a", container).ok()
        copied = timed("cp", "cp", f"{container}:/top", str(tmp_path / "out"))
        exported = timed("export", "export", "-o", str(tmp_path / "out.tar"), container)
        committed = timed("commit", "commit", container, "trees")
        timed("rm", "rm", container).ok()
    tell(f"tree {shape}, {depth if shape != 'wide' else width}: {', '.join(figures)}")
    tell(f"  slowest _ping {watch.slowest * 1000:.0f} ms, memory +{watch.grown} MB")
    if shape == "wide":
        assert len(changed) == width + 1
        for done in (copied, exported, committed):
            done.ok()
        assert sum(1 for _ in (tmp_path / "out").iterdir()) == width
    else:
        # No path of a change is longer than programs can name, and an archive says so.
        assert 10 < len(changed) <= 2048
        for done in (copied, exported, committed):
            assert done.status != 0
        assert "is nested too deeply: paths have at most 4095 bytes" in committed.err, committed.err
        assert "is nested too deeply" in engine.log()
    assert watch.grown < _MOST_MEGABYTES
    # A machine that runs other tests is slow, whatever the engine does.
    assert watch.slowest < (1 if depth < 50_000 else 0.1)
