"""`kill -9` of engine and client while images are built: nothing left, a sound store, a cache that can be used.

The instant is found by what a build says: after so many of its lines, and a few milliseconds more. So it falls into all
of its parts, however busy the machine is. `DARSE_FAULT_SEED` repeats a run; the seed is printed.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Client, Engine
from tests.support.leaks import find_orphans
from tests.support.waiting import wait_until

_DOCKERFILE = f"""\
FROM {BUSYBOX} AS one
ARG ROUND
RUN --mount=type=cache,target=/cache date >>/cache/log; echo $ROUND >/one
FROM {BUSYBOX} AS two
ARG ROUND
COPY files /files
RUN --mount=type=secret,id=word cat /run/secrets/word >/dev/null; dd if=/dev/zero of=/two bs=64k count=40 2>/dev/null
RUN --mount=type=bind,from=one,target=/other cat /other/one >/seen
FROM scratch AS three
COPY --link files/d1 /linked
FROM {BUSYBOX}
ARG ROUND
COPY --from=one /one /
COPY --from=two /two /seen /
COPY --from=three / /
RUN echo $ROUND $(cat /one) $(cat /seen) >/last
"""
# Some fewer than such a build says.
_LINES = 40
_AFTERWARDS_SECONDS = 0.05


class BuildKiller:
    """Builds that are cut, on one engine."""

    def __init__(self, engine: Engine, seed: int, directory: Path) -> None:
        self._engine = engine
        self._chance = random.Random(seed)
        self._directory = directory
        self._rounds = 0
        self.counts: Counter[str] = Counter()
        (directory / "Dockerfile").write_text(_DOCKERFILE)
        for number in range(300):
            path = directory / "files" / f"d{number % 3}" / f"f{number}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._chance.randbytes(3000))
        (directory / "word").write_text("secret\n")

    def cut(self, what: str) -> None:
        """Begin a build and kill `what`, the engine or the client; then look whether all is as it must be."""
        self._rounds += 1
        client = self._chance.choice((self._engine.docker, self._engine.darse))
        ended = self._run_until(client, self._chance.randint(0, _LINES), what)
        self.counts[f"{what}, {client.name}: {'after its end' if ended else 'cut'}"] += 1
        if what == "engine":
            self._engine.up()
        self._nothing_is_left()
        if self._rounds % 10 == 0:
            self._all_is_usable()

    def _command(self, client: Client) -> list[str]:
        arguments = ["build", "-t", "cut", "--build-arg", f"ROUND={self._rounds}", str(self._directory)]
        if client.name == "darse":
            arguments[1:1] = ["--progress=rawjson", "--secret", f"id=word,src={self._directory}/word"]
        return [client.program, *arguments]

    def _run_until(self, client: Client, lines: int, what: str) -> bool:
        environment = {**client.environment, "DOCKER_BUILDKIT": "0"}
        process = subprocess.Popen(
            self._command(client), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert process.stdout is not None
        for _ in range(lines):
            if not process.stdout.readline():
                break
        # No event tells of what happens between two lines: that is what these milliseconds are for.
        time.sleep(self._chance.uniform(0, _AFTERWARDS_SECONDS))
        ended = process.poll() is not None
        if what == "engine":
            self._engine.kill9()
            process.stdout.read()
        else:
            process.kill()
        process.stdout.close()
        process.wait()
        return ended

    def _nothing_is_left(self) -> None:
        """Neither on the host nor below the engine's roots."""
        root = self._engine.root / "d"
        places = [root / "build/contexts", root / "build/scratch", root / "snapshots-active", root / "trash"]
        last: list[str] = []

        def clean() -> bool:
            last[:] = find_orphans(self._engine)
            last.extend(str(path) for place in places if place.exists() for path in place.iterdir())
            return not last

        try:
            wait_until(clean, 30, "nothing of the build")
        except AssertionError:
            raise AssertionError("left:\n  " + "\n  ".join(last) + f"\n{self._engine.log()}") from None

    def _all_is_usable(self) -> None:
        """The store is sound, and the same build gives what it must, twice, with what is in the cache."""
        messages = self._engine.api("GET", "/darse/check").body.splitlines()
        assert messages[-1].startswith(b'{"doing":"done"'), messages
        assert not [message for message in messages if b'"finding"' in message], messages
        self._rounds += 1
        for client in (self._engine.darse, self._engine.docker):
            command = self._command(client)[1:]
            done = client(*command, env={"DOCKER_BUILDKIT": "0"}, timeout=300).ok()
        assert "Using cache" in done.out, done.out
        assert "---> Running" not in done.out, done.out
        ran = self._engine.docker("run", "--rm", "cut", "cat", "/last", "/linked/f1", timeout=120).ok()
        wanted = f"{self._rounds} {self._rounds} {self._rounds}\n".encode()
        assert ran.raw == wanted + (self._directory / "files/d1/f1").read_bytes()


def kill(engine: Engine, directory: Path, count: int, tell: Callable[[str], None]) -> None:
    """Kill engine and client in turn, so many times, and say what was hit."""
    seed = int(os.environ.get("DARSE_FAULT_SEED") or random.SystemRandom().getrandbits(32))
    killer = BuildKiller(engine, seed, directory)
    try:
        for number in range(count):
            killer.cut("engine" if number % 2 else "client")
    finally:
        tell(f"kill -9 in builds: {dict(killer.counts)}; DARSE_FAULT_SEED={seed}")


@pytest.mark.timeout(600)
def test_some_kills_in_builds(new_engine: Callable[..., Engine], tmp_path: Path, tell: Callable[[str], None]) -> None:
    """The short form of every test run."""
    kill(new_engine(), tmp_path, 10, tell)


@pytest.mark.heavy
@pytest.mark.timeout(7200)
def test_many_kills_in_builds(new_engine: Callable[..., Engine], tmp_path: Path, tell: Callable[[str], None]) -> None:
    kill(new_engine(), tmp_path, int(os.environ.get("DARSE_FAULT_COUNT", "200")), tell)
