"""`kill -9` of engine and client while a project goes up and down: run again, it converges, and nothing is lost.

The instant is a part of what the same command took before, so that it falls into all of its parts, however busy the
machine is. `DARSE_FAULT_SEED` repeats a run; the seed is printed.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.waiting import wait_until

DARSE = str(Path(sys.executable).with_name("darse"))
_FILE = """
name: shop
services:
  store:
    image: BUSYBOX
    command: sh -c 'echo @N@ >>/data/rounds; echo x >>/anonymous/file; exec sleep 1000'
    volumes: [kept:/data, /anonymous]
    stop_grace_period: 0s
    labels: {round: "@N@"}
  web:
    image: BUSYBOX
    command: sleep 1000
    environment: {ROUND: "@N@"}
    scale: 2
    stop_grace_period: 0s
    depends_on: {store: {condition: service_started, restart: true}, once: {condition: service_completed_successfully}}
    networks: [front, default]
  once:
    image: BUSYBOX
    command: "true"
networks: {front: {}}
volumes: {kept: {}}
"""
_NAMES = {"/shop-store-1", "/shop-web-1", "/shop-web-2", "/shop-once-1"}


class ComposeKiller:
    """A project that is brought up and taken down, and interrupted, on one engine."""

    def __init__(self, engine: Engine, seed: int, directory: Path) -> None:
        self._engine = engine
        self._chance = random.Random(seed)
        self._directory = directory
        self._environment = {
            **os.environ,
            "DARSE_HOST": engine.host,
            "DARSE_RECONNECT": "1",
            "DOCKER_CONFIG": str(directory / "config"),
        }
        self._round = 0
        self._took = {"up": 2.0, "down": 1.0}
        self.counts: Counter[str] = Counter()

    def cut(self, what: str) -> None:
        """Begin `up` or `down`, kill `what`, and do it again: all must be as if nothing had happened."""
        self._round += 1
        is_up = bool(self._containers())
        # Two of three are `up`: on nothing, or with changes that make every container anew.
        word = "down" if is_up and self._chance.random() < 0.4 else "up"
        text = _FILE.replace("BUSYBOX", BUSYBOX).replace("@N@", str(self._round))
        if word == "up":
            (self._directory / "compose.yaml").write_text(text)
        ended = self._interrupted(word, what)
        self.counts[f"{word}, {what}: {'after its end' if ended else 'cut'}"] += 1
        if what == "engine":
            self._engine.up()
        self._run(word)
        if word == "up":
            self._is_up()
        else:
            self._is_down()

    def _command(self, word: str) -> list[str]:
        return [DARSE, "compose", word, *(("-d",) if word == "up" else ())]

    def _interrupted(self, word: str, what: str) -> bool:
        process = subprocess.Popen(
            self._command(word),
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        # No event tells of an instant of chance.
        time.sleep(self._chance.uniform(0, self._took[word]))
        ended = process.poll() is not None
        if what == "engine":
            self._engine.kill9()
        process.kill()
        process.wait()
        return ended

    def _run(self, word: str) -> None:
        begun = time.monotonic()
        done = subprocess.run(
            self._command(word),
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{word}: {done.stderr}\n{self._engine.log()}"
        self._took[word] = (self._took[word] + time.monotonic() - begun) / 2

    def _containers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._engine.api("GET", "/containers/json?all=1").json()
        return found

    def _rounds(self) -> list[str]:
        """What containers of the store have written into the volume that outlives them."""
        printed = self._engine.docker(
            "run", "--rm", "-v", "shop_kept:/data", BUSYBOX, "cat", "/data/rounds", timeout=120
        )
        return printed.ok().out.split()

    def _is_up(self) -> None:
        # Nobody waits for it where `web` runs already.
        self._engine.api("POST", "/containers/shop-once-1/wait")
        found = self._containers()
        assert {one["Names"][0] for one in found} == _NAMES, [one["Names"] for one in found]
        assert len(found) == len(_NAMES)
        states = {one["Names"][0]: one["State"] for one in found}
        assert states == {**dict.fromkeys(_NAMES, "running"), "/shop-once-1": "exited"}
        (store,) = [one for one in found if one["Names"] == ["/shop-store-1"]]
        assert store["Labels"]["round"] == str(self._round)
        names = sorted(one["Name"] for one in self._engine.api("GET", "/networks").json() if "shop" in one["Name"])
        assert names == ["shop_default", "shop_front"]
        # A container runs before its process has written anything.
        wait_until(lambda: self._rounds()[-1:] == [str(self._round)], 30, "what this round's store writes")
        assert self._rounds()[0] == self._first

    @property
    def _first(self) -> str:
        """The first round in which a store has written: no data is lost that was there once."""
        if not hasattr(self, "_first_round"):
            self._first_round = self._rounds()[0]
        return self._first_round

    def _is_down(self) -> None:
        assert self._containers() == []
        assert [one["Name"] for one in self._engine.api("GET", "/networks").json() if "shop" in one["Name"]] == []
        assert "shop_kept" in [one["Name"] for one in self._engine.api("GET", "/volumes").json()["Volumes"]]


def kill(engine: Engine, directory: Path, count: int, tell: Callable[[str], None]) -> None:
    """Kill engine and client in turn, so many times, and say what was hit."""
    engine.docker("pull", BUSYBOX).ok()
    seed = int(os.environ.get("DARSE_FAULT_SEED") or random.SystemRandom().getrandbits(32))
    killer = ComposeKiller(engine, seed, directory)
    try:
        for number in range(count):
            killer.cut("engine" if number % 2 else "client")
    finally:
        tell(f"kill -9 in compose: {dict(killer.counts)}; DARSE_FAULT_SEED={seed}")


@pytest.mark.timeout(900)
def test_some_kills_in_compose(new_engine: Callable[..., Engine], tmp_path: Path, tell: Callable[[str], None]) -> None:
    """The short form of every test run."""
    kill(new_engine(), tmp_path, 12, tell)


@pytest.mark.heavy
@pytest.mark.timeout(7200)
def test_many_kills_in_compose(new_engine: Callable[..., Engine], tmp_path: Path, tell: Callable[[str], None]) -> None:
    kill(new_engine(), tmp_path, int(os.environ.get("DARSE_FAULT_COUNT", "100")), tell)
