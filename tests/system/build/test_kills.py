"""Engines and clients that are killed while they build, by users' commands: the store is whole, the cache usable."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.leaks import find_orphans
from tests.support.waiting import wait_until

_KILLS = 200
_LOOK_EVERY = 20


@pytest.fixture
def killed() -> Iterator[Engine]:
    """An engine that a test may kill."""
    engine = Engine.start()
    yield engine
    engine.close()


def _begin(engine: Engine, name: str, *arguments: str) -> subprocess.Popen[bytes]:
    client = engine.darse if name == "darse" else engine.docker
    environment = {**client.environment, "DOCKER_BUILDKIT": "0"}
    return subprocess.Popen(
        (client.program, "build", *arguments), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _nothing_is_left(engine: Engine) -> None:
    root = engine.data_root
    places = [root / "build/contexts", root / "build/scratch", root / "snapshots-active", root / "trash"]
    wait_until(
        lambda: not find_orphans(engine) and not [one for place in places if place.exists() for one in place.iterdir()],
        30,
        "nothing of the build",
    )


def _write(directory: Path, files: int, content: bytes) -> None:
    for number in range(files):
        (directory / f"f{number}").write_bytes(content + b"%d" % number)


@pytest.mark.parametrize("name", ["darse", "docker"])
def test_an_engine_that_is_killed_while_a_context_comes(killed: Engine, tmp_path: Path, name: str) -> None:
    """Whichever client sends it, in part or as an archive: the next engine has nothing of it, and takes it anew."""
    (tmp_path / "Dockerfile").write_text(f"FROM {BUSYBOX}\nCOPY . /src\nRUN cat /src/f* | wc -c >/count\n")
    _write(tmp_path, 1_000, os.urandom(20_000))
    contexts = killed.data_root / "build" / "contexts"
    client = _begin(killed, name, "-t", "sent", str(tmp_path))

    def begun() -> bool:
        found = [path for path in contexts.glob("*/*/**/f*") if path.is_file()] if contexts.exists() else []
        return len(found) > 20 or client.poll() is not None

    wait_until(begun, 60, "some of the context")
    assert client.poll() is None
    killed.kill9()
    assert client.wait(60) != 0
    killed.up()
    _nothing_is_left(killed)
    for _ in range(2):
        assert _begin(killed, name, "-t", "sent", str(tmp_path)).wait(120) == 0
    expected = sum(path.stat().st_size for path in tmp_path.glob("f*"))
    assert killed.docker("run", "--rm", "sent", "cat", "/count", timeout=60).ok().line == str(expected)


@pytest.mark.heavy
@pytest.mark.timeout(7200)
def test_two_hundred_kills(killed: Engine, tmp_path: Path, tell: Callable[[str], None]) -> None:
    chance = random.Random(16)
    counts: Counter[str] = Counter()
    text = (
        f"FROM {BUSYBOX} AS one\nCOPY . /src\nRUN cat /src/* | sha256sum >/sum\n"
        f"FROM {BUSYBOX} AS two\nRUN echo NUMBER >/two\n"
        f"FROM {BUSYBOX}\nCOPY --from=one /sum /\nCOPY --from=two /two /\nRUN cat /two\n"
    )
    longest = 3.0
    wanted = int(os.environ.get("DARSE_KILLS", _KILLS))
    for number in itertools.count():
        if counts["clients"] + counts["engines"] >= wanted:
            break
        _write(tmp_path, 200, b"%d " % number)
        (tmp_path / "Dockerfile").write_text(text.replace("NUMBER", str(number)))
        client = _begin(killed, chance.choice(("darse", "docker")), "-t", "kills", str(tmp_path))
        try:
            client.wait(chance.uniform(0.05, longest))
            counts["over before"] += 1
            longest = max(0.5, longest * 0.9)
            continue
        except subprocess.TimeoutExpired:
            longest = min(10.0, longest * 1.05)
        if chance.random() < 0.5:
            client.kill()
            client.wait()
            counts["clients"] += 1
        else:
            killed.kill9()
            client.wait(60)
            killed.up()
            counts["engines"] += 1
        if number % _LOOK_EVERY == 0:
            _look(killed, tmp_path, number, counts)
    _look(killed, tmp_path, -1, counts)
    assert counts["clients"]
    assert counts["engines"]
    tell(f"kills: {dict(counts)}")


def _look(engine: Engine, directory: Path, number: int, counts: Counter[str]) -> None:
    """The store is whole, nothing is left, and what was made is used."""
    _nothing_is_left(engine)
    marked = f"{number} {time.time_ns()}"
    dockerfile = directory / "Dockerfile"
    dockerfile.write_text(f"{dockerfile.read_text()}RUN echo {marked} >/marked\n")
    arguments = ("build", "-t", "kills", "--progress=plain", str(directory))
    engine.darse(*arguments, timeout=120).ok()
    again = engine.darse(*arguments, timeout=120).ok()
    assert (again.out + again.err).count("CACHED") >= 4, again.err
    assert engine.docker("run", "--rm", "kills", "cat", "/marked", timeout=60).ok().line == marked
    checked = engine.darse("system", "check", timeout=120)
    assert checked.status == 0, checked.out + checked.err
    counts["looks"] += 1
