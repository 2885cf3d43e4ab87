"""kill -9 of the engine, of a volume plugin, or of both, at random instants of what is done with the plugin's volumes.

The plugin is the example, as it is. After each: what was acknowledged is there, data that a container has written is
whole, and once the containers are gone nobody holds a mount. `DARSE_FAULT_SEED` repeats a run; the seed is printed.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.http import Response
from tests.support.managed_plugins import plugin_directory, plugin_process
from tests.support.waiting import wait_until

PLUGIN = "me/volumes"
WRITE = "echo whole > /data/.new && mv /data/.new /data/file; sleep 0.05"


class PluginCrashes:
    """One engine with the plugin; `crash` is one instant."""

    def __init__(self, engine: Engine, directory: Path, seed: int) -> None:
        self.engine = engine
        self.state = directory / "state"
        self.state.mkdir()
        made = plugin_directory("directory-volumes", directory / "plugin")
        engine.darse("plugin", "create", PLUGIN, str(made)).ok()
        engine.darse("plugin", "set", PLUGIN, f"state={self.state}").ok()
        engine.darse("plugin", "enable", PLUGIN).ok()
        self.random = random.Random(seed)
        self.seed = seed
        self.number = 0
        self.seen: Counter[str] = Counter()

    def crash_often(self, count: int, tell: Callable[[str], None]) -> None:
        """Crash `count` times; tell what was done."""
        try:
            for _ in range(count):
                self.crash()
        finally:
            done = ", ".join(f"{what} {often}" for what, often in sorted(self.seen.items()))
            tell(f"kill -9 with a volume plugin: {self.number} instants: {done}; DARSE_FAULT_SEED={self.seed}")

    def crash(self) -> None:
        """Kill in the middle of one operation, and check."""
        self.number += 1
        volume, user = f"volume{self.number}", f"user{self.number}"
        operation = ("create", "start", "run on", "stop", "rm", "volume rm")[self.number % 6]
        victims = self.random.choice((("engine",), ("plugin",), ("engine", "plugin")))
        self._prepare(operation, volume, user)
        request = {
            "create": ("POST", "/volumes/create", {"Name": volume, "Driver": PLUGIN}),
            "start": ("POST", f"/containers/{user}/start", None),
            "run on": ("GET", f"/containers/{user}/logs?follow=1&stdout=1", None),
            "stop": ("POST", f"/containers/{user}/stop?t=0", None),
            "rm": ("DELETE", f"/containers/{user}?force=1", None),
            "volume rm": ("DELETE", f"/volumes/{volume}", None),
        }[operation]
        acknowledged = self._cut(victims, *request)
        self.seen[f"{operation}, {' and '.join(victims)} killed"] += 1
        self._check(operation, volume, user, acknowledged=acknowledged)

    def _ok(self, method: str, path: str, body: object = None) -> Response:
        answer = self.engine.api(method, path, body)
        assert answer.status < http.client.BAD_REQUEST, (method, path, answer.status, answer.body)
        return answer

    def _prepare(self, operation: str, volume: str, user: str) -> None:
        if operation == "create":
            return
        self._ok("POST", "/volumes/create", {"Name": volume, "Driver": PLUGIN})
        if operation == "volume rm":
            return
        body: dict[str, Any] = {"Image": BUSYBOX, "Cmd": ["sh", "-c", f"{WRITE}; exec sleep 600"]}
        self._ok("POST", f"/containers/create?name={user}", {**body, "HostConfig": {"Binds": [f"{volume}:/data"]}})
        if operation != "start":
            self._ok("POST", f"/containers/{user}/start")
            wait_until((self.state / volume / "file").exists, what="what the container writes")

    def _cut(self, victims: tuple[str, ...], method: str, path: str, body: object) -> bool:
        """Whether the request was acknowledged before the end, or in spite of it."""
        answers: list[Response] = []

        def send() -> None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                answers.append(self.engine.api(method, path, body))

        before = wait_until(lambda: plugin_process(self.state), 30, "the plugin's process")
        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        # The one place where a test waits for a time: it is the random variable.
        threading.Event().wait(self.random.uniform(0, 0.15))
        if "plugin" in victims:
            os.kill(before, signal.SIGKILL)
        if "engine" in victims:
            self.engine.kill9()
            self.engine.up()
        if "follow" in path and "engine" not in victims:
            return False  # it goes on as long as the container does
        thread.join()
        return bool(answers) and answers[0].status < http.client.BAD_REQUEST

    def _check(self, operation: str, volume: str, user: str, *, acknowledged: bool) -> None:
        wait_until(self._plugin_serves, 30, "the plugin again")
        known = self.engine.api("GET", f"/volumes/{volume}").status
        if operation == "volume rm":
            assert known in ((404,) if acknowledged else (200, 404)), (operation, known)
        elif operation == "create":
            assert known in ((200,) if acknowledged else (200, 404)), (operation, known)
            self._ok("POST", "/volumes/create", {"Name": volume, "Driver": PLUGIN})
        else:
            assert known == http.client.OK, (operation, known)
            found = self.engine.api("GET", f"/containers/{user}/json")
            assert found.status in ((200, 404) if operation == "rm" else (200,)), found
            if found.status == http.client.OK:
                self._goes_on(operation, user, found.json()["State"], acknowledged=acknowledged)
                self._ok("DELETE", f"/containers/{user}?force=1")
            assert (self.state / volume / "file").read_text() == "whole\n"
            wait_until(lambda: self._users(volume) == 0, 20, "the end of all mounts")
        self.engine.api("DELETE", f"/volumes/{volume}?force=1")
        assert not (self.state / volume).exists()

    def _goes_on(self, operation: str, user: str, state: dict[str, Any], *, acknowledged: bool) -> None:
        """What runs has its data; what was not started can be."""
        if operation == "run on" or (operation == "start" and acknowledged):
            assert state["Running"], state
        if not state["Running"]:
            self._ok("POST", f"/containers/{user}/start")
        if operation == "start":
            volume = user.replace("user", "volume")
            wait_until((self.state / volume / "file").exists, what="what the container writes")

    def _plugin_serves(self) -> bool:
        answer = self.engine.api("POST", "/volumes/create", {"Name": "probe", "Driver": PLUGIN})
        return answer.status == http.client.CREATED

    def _users(self, volume: str) -> int:
        users = json.loads((self.state / ".users.json").read_text())
        return len(users.get(volume, ()))


@pytest.fixture
def crashes(new_engine: Callable[..., Engine], tmp_path: Path) -> Iterator[PluginCrashes]:
    seed = int(os.environ.get("DARSE_FAULT_SEED") or random.SystemRandom().getrandbits(32))
    engine = new_engine()
    made = PluginCrashes(engine, tmp_path, seed)
    yield made
    engine.remove_all()


def test_some_kills_with_a_plugin(crashes: PluginCrashes, tell: Callable[[str], None]) -> None:
    """The short form of every test run: each operation once."""
    crashes.crash_often(6, tell)


@pytest.mark.heavy
@pytest.mark.timeout(1800)
def test_a_hundred_kills_with_a_plugin(crashes: PluginCrashes, tell: Callable[[str], None]) -> None:
    crashes.crash_often(100, tell)
