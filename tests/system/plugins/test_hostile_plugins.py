"""A managed volume plugin that hangs, dies, lies, answers megabytes, or calls the engine while the engine calls it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.managed_plugins import plugin_directory
from tests.support.others import others_are_quick, prepare_others
from tests.support.waiting import wait_until

PROGRAM = Path(__file__).resolve().parents[2] / "support" / "obedient_plugin.py"


class Plugin:
    """`me/plugin`, and the files that say what it does."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def calls(self, method: str) -> list[dict[str, Any]]:
        """The bodies of the calls of a method, in order."""
        file = self.state / "calls"
        lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [body for called, body in lines if called == method]

    def hang(self, method: str) -> None:
        os.mkfifo(self.state / f"hang.{method}")

    def release(self) -> None:
        """Have every method answered that hangs."""
        for fifo in self.state.glob("hang.*"):
            aside = fifo.rename(self.state / f"released.{fifo.name}")
            # Opened for both, which never waits: whoever reads has an end of the fifo when it is closed.
            os.close(os.open(aside, os.O_RDWR))
            wait_until(lambda aside=aside: _readers_are_gone(aside), what=f"the end of {fifo.name}")
            aside.unlink()

    def says(self, method: str, answer: bytes) -> None:
        (self.state / f"answer.{method}").write_bytes(answer)


def _readers_are_gone(fifo: Path) -> bool:
    try:
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return True
    return False


@pytest.fixture
def plugin(engine: Engine, tmp_path: Path) -> Iterator[Plugin]:
    """It is enabled; the engine is emptied before it goes."""
    state = tmp_path / "state"
    state.mkdir()
    mounts = [
        {"source": str(place), "destination": inside, "type": "bind", "options": ["rbind"]}
        for place, inside in ((state, "/state"), (engine.exec_root, "/engine"))
    ]
    interface = {"types": ["docker.volumedriver/1.0"], "socket": "obedient.sock"}
    made = plugin_directory("directory-volumes", tmp_path / "plugin", mounts=mounts, interface=interface, env=[])
    shutil.copy(PROGRAM, made / "rootfs" / "plugin.py")
    engine.darse("plugin", "create", "me/plugin", str(made)).ok()
    engine.darse("plugin", "enable", "me/plugin").ok()
    controlled = Plugin(state)
    yield controlled
    controlled.release()
    for file in state.glob("answer.*"):
        file.unlink()
    engine.remove_all()


def _make(engine: Engine, volume: str) -> None:
    engine.docker("volume", "create", "-d", "me/plugin", volume).ok()


def _container(engine: Engine, name: str, volume: str) -> None:
    engine.docker("create", "--name", name, "-v", f"{volume}:/data", BUSYBOX, "sleep", "600").ok()


@pytest.mark.parametrize("method", ["Create", "Get", "Mount", "Unmount", "Remove", "Capabilities", "List"])
def test_one_that_hangs_delays_nobody_else(
    engine: Engine, plugin: Plugin, method: str, tell: Callable[[str], None]
) -> None:
    _make(engine, "ready")
    _container(engine, "waits", "ready")
    prepare_others(engine)
    if method == "Unmount":
        engine.docker("start", "waits").ok()
    call = {
        "Mount": ["start", "waits"],
        "Unmount": ["kill", "waits"],
        "Remove": ["volume", "rm", "spent"],
        "Get": ["volume", "inspect", "ready"],
        "List": ["volume", "ls"],
    }.get(method, ["volume", "create", "-d", "me/plugin", "made"])
    if method == "Remove":
        _make(engine, "spent")
    before = len(plugin.calls(method))
    plugin.hang(method)
    waiting = engine.docker.popen(*call)
    wait_until(lambda: len(plugin.calls(method)) > before, what="the call that hangs")
    took = others_are_quick(engine, "/containers/waits/json")
    tell(f"a managed plugin hangs in {method}; the slowest of others: {max(took.values()) * 1000:.0f} ms")
    plugin.release()
    waiting.communicate(timeout=60)
    assert waiting.returncode == 0


@pytest.mark.parametrize("method", ["Create", "Mount", "Unmount"])
def test_one_that_dies_within_a_call(engine: Engine, plugin: Plugin, method: str) -> None:
    """The call fails, or is made again by nobody; the plugin is started again, and serves."""
    _make(engine, "ready")
    _container(engine, "user", "ready")
    if method == "Unmount":
        engine.docker("start", "user").ok()
    (plugin.state / f"die.{method}").touch()
    call = {
        "Create": ("volume", "create", "-d", "me/plugin", "made"),
        "Mount": ("start", "user"),
        "Unmount": ("rm", "-f", "user"),
    }[method]
    done = engine.docker(*call)
    assert (done.status == 0) == (method == "Unmount"), done.err
    wait_until(lambda: not (plugin.state / f"die.{method}").exists(), what="its death")
    wait_until(
        lambda: engine.docker("run", "--rm", "-v", "ready:/data", BUSYBOX, "touch", "/data/after").status == 0,
        30,
        "the plugin again",
    )


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b'{"Mountpoint": "/etc"}', "not in its propagated mount"),
        (b'{"Mountpoint": "/mnt/volumes/../../etc"}', "not in its propagated mount"),
        (b'{"Mountpoint": "/mnt/volumes/missing"}', "missing"),
        (b'{"Mountpoint": 7}', "with what it cannot be"),
        (b"<html>", "with what it cannot be"),
        (b'{"Mountpoint": "' + b"x" * (8 << 20) + b'"}', "longer than"),
    ],
    ids=["outside", "above", "missing", "a number", "no json", "megabytes"],
)
def test_one_that_lies_about_a_mount(engine: Engine, plugin: Plugin, answer: bytes, error: str) -> None:
    _make(engine, "ready")
    _container(engine, "user", "ready")
    plugin.says("Mount", answer)
    failed = engine.docker("start", "user")
    assert failed.status != 0
    assert error in failed.err
    wait_until(lambda: len(plugin.calls("Unmount")) == 1, what="the end of the mount")
    (plugin.state / "answer.Mount").unlink()
    engine.docker("start", "user").ok()


def test_one_that_calls_the_engine_from_within_mount(engine: Engine, plugin: Plugin) -> None:
    _make(engine, "ready")
    _container(engine, "user", "ready")
    paths = ["/containers/json?all=1", "/containers/user/json", "/volumes", "/volumes/ready", "/info", "/plugins"]
    (plugin.state / "within.Mount").write_text("\n".join(paths))
    engine.docker("start", "user").ok()
    assert json.loads((plugin.state / "seen").read_text()) == [200] * len(paths)


def test_one_unmount_for_a_mount_that_the_engine_did_not_live_to_see(engine: Engine, plugin: Plugin) -> None:
    _make(engine, "ready")
    _container(engine, "user", "ready")
    plugin.hang("Mount")
    waiting = engine.docker.popen("start", "user")
    wait_until(lambda: plugin.calls("Mount"), what="the mount")
    engine.kill9()
    plugin.release()
    waiting.communicate(timeout=20)
    engine.up()
    mount_id = plugin.calls("Mount")[0]["ID"]

    def unmounts() -> int:
        # Those of containers before this one, whose unmounts a plugin has not lived to answer, come now, too.
        return [one["ID"] for one in plugin.calls("Unmount")].count(mount_id)

    wait_until(unmounts, 30, "it is unmounted")
    engine.restart()
    assert unmounts() == 1
    engine.docker("start", "user").ok()
    engine.docker("rm", "-f", "user").ok()
    wait_until(lambda: unmounts() == 2, what="the second unmount")
    assert [one["ID"] for one in plugin.calls("Mount")] == [mount_id] * 2
