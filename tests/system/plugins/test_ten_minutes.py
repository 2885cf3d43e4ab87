"""Volume plugins that hang for ten minutes, each in another of their calls, all of them in one engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.others import others_are_quick, prepare_others_by_api
from tests.support.plugin_server import VolumePlugin
from tests.support.waiting import wait_until

_SECONDS = 600.0
# Each question is put for a minute or two, as dockerd's: who asks is refused then, and asks again.
_LONGEST_CALL = 200.0
_METHODS = {
    "Plugin.Activate": (("volume", "create", "-d", "{plugin}", "{made}"),),
    "VolumeDriver.Capabilities": (("volume", "create", "-d", "{plugin}", "{made}"),),
    "VolumeDriver.Create": (("volume", "create", "-d", "{plugin}", "{made}"),),
    "VolumeDriver.Get": (("volume", "inspect", "{ready}"),),
    "VolumeDriver.List": (("volume", "ls"),),
    "VolumeDriver.Mount": (("start", "{container}"),),
    "VolumeDriver.Unmount": (("kill", "{container}"), ("start", "{container}")),
    "VolumeDriver.Remove": (("volume", "rm", "{ready}"),),
}


class _Hanging:
    """A plugin that hangs in one method, and a client that asks for it again whenever it is refused."""

    def __init__(self, engine: Engine, method: str, scratch: Path) -> None:
        self.method = method
        short = method.rpartition(".")[2].lower()
        self._names = {
            "plugin": f"in-{short}",
            "made": f"made-{short}",
            "ready": f"ready-{short}",
            "container": f"user-{short}",
        }
        self._engine = engine
        self.server = VolumePlugin(engine.exec_root / "plugins" / f"in-{short}.sock", scratch / short)
        self.server.patience = 2 * _SECONDS
        self._asking = threading.Thread(target=self._ask_again_and_again)

    def waits(self) -> bool:
        """Whether the plugin was asked, and whoever has it asked is there."""
        return self.method in self.server.methods and self._asking.is_alive()

    def begin(self) -> None:
        """Have what the method needs, and call it."""
        ready, container = self._names["ready"], self._names["container"]
        if self.method not in ("Plugin.Activate", "VolumeDriver.List"):
            self._engine.docker("volume", "create", "-d", self._names["plugin"], ready).ok()
        if self.method in ("VolumeDriver.Mount", "VolumeDriver.Unmount"):
            self._engine.docker("create", "--name", container, "-v", f"{ready}:/data", BUSYBOX, "sleep", "9000").ok()
        if self.method == "VolumeDriver.Unmount":
            self._engine.docker("start", container).ok()
        self.server.calls.clear()
        self.server.hanging.add(self.method)
        self._asking.start()

    def _ask_again_and_again(self) -> None:
        for words in cycle(_METHODS[self.method]):
            if self.server.released.wait(1):  # a list is there at once, without what hangs
                return
            self._engine.docker(*(word.format(**self._names) for word in words), timeout=_LONGEST_CALL)

    def release(self) -> None:
        """Answer all that it was asked, by now many times."""
        # Removals find volumes that were never made, for a creation may have been answered so.
        self.server.answers |= {self.method: {}, "VolumeDriver.Remove": {}}
        self.server.released.set()

    def end(self) -> None:
        """Answer, and wait until nobody asks any more."""
        self.release()
        self._asking.join(_LONGEST_CALL)
        assert not self._asking.is_alive()


@pytest.fixture
def hanging(engine: Engine, tmp_path: Path) -> Iterator[list[_Hanging]]:
    """One for each method; the engine is emptied before they end."""
    made = [_Hanging(engine, method, tmp_path) for method in _METHODS]
    yield made
    for one in made:
        one.release()
    engine.remove_all()
    for one in made:
        one.server.close()


@pytest.mark.heavy
@pytest.mark.timeout(1500)
def test_plugins_that_hang_for_ten_minutes_delay_nobody_else(
    engine: Engine, hanging: list[_Hanging], tell: Callable[[str], None]
) -> None:
    """`ps`, `inspect`, `volume ls`, and `rm` of others within 100 ms, all along."""
    for one in hanging:
        one.begin()
    for one in hanging:
        wait_until(one.waits, 30, f"the call of {one.method}")
    began, slowest, rounds = time.monotonic(), 0.0, 0
    while time.monotonic() - began < _SECONDS:
        prepare_others_by_api(engine)
        took = others_are_quick(engine, "/containers/user-mount/json", "/containers/user-unmount/json")
        slowest, rounds = max(slowest, *took.values()), rounds + 1
        for one in hanging:
            assert one.waits(), f"nobody waits for {one.method} any more"
        hanging[0].server.released.wait(5)  # so that the machine does something else, too
    asked = {one.method.rpartition(".")[2]: one.server.methods.count(one.method) for one in hanging}
    # Two minutes are the longest that one is waited for.
    assert min(asked.values()) >= _SECONDS // 120 - 1, asked
    for one in hanging:
        one.end()
    elapsed = time.monotonic() - began
    tell(f"{elapsed:.0f} s, {rounds} looks at others, the slowest {slowest * 1000:.0f} ms; calls that hung: {asked}")
