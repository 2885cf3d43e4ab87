"""Volumes of plugins: the calls they get, and what becomes of those that hang, end, lie, or call the engine."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.engine import BUSYBOX, Client, Engine
from tests.support.others import others_are_quick, prepare_others
from tests.support.plugin_server import VolumePlugin
from tests.support.waiting import wait_until


@pytest.fixture
def plugin(engine: Engine, tmp_path: Path) -> Iterator[VolumePlugin]:
    """A plugin called `fake` of the session's engine, which is emptied before the plugin ends."""
    made = VolumePlugin(engine.exec_root / "plugins" / "fake.sock", tmp_path / "volumes")
    yield made
    made.answers.clear()
    made.hanging.clear()
    made.released.set()
    engine.remove_all()
    made.close()


def _create(engine: Engine, name: str, volume: str) -> None:
    body = {"Image": BUSYBOX, "Cmd": ["sleep", "600"], "HostConfig": {"Binds": [f"{volume}:/data"]}}
    assert engine.api("POST", f"/containers/create?name={name}", body).status == 201


def test_a_volume_of_a_plugin(engine: Engine, plugin: VolumePlugin) -> None:
    engine.docker("volume", "create", "-d", "fake", "-o", "size=3", "shared").ok()
    assert plugin.options == {"shared": {"size": "3"}}
    engine.docker("run", "--rm", "-v", "shared:/data", BUSYBOX, "sh", "-c", "echo kept > /data/file").ok()
    assert (plugin.root / "shared" / "file").read_text() == "kept\n"
    again = engine.docker(
        "run", "--rm", "-v", "shared:/a", "-v", "shared:/b", BUSYBOX, "cat", "/a/file", "/b/file"
    ).ok()
    assert again.out == "kept\nkept\n"
    mounts, unmounts = plugin.bodies("VolumeDriver.Mount"), plugin.bodies("VolumeDriver.Unmount")
    assert [one["Name"] for one in mounts] == ["shared"] * 3
    assert len({one["ID"] for one in mounts}) == 3
    wait_until(lambda: not plugin.mounted, what="every mount is ended")
    assert sorted(one["ID"] for one in unmounts) == sorted(one["ID"] for one in mounts)
    found = engine.api("GET", "/volumes/shared").json()
    assert (found["Driver"], found["Options"], found["Status"]) == ("fake", {"size": "3"}, {"mounts": 0})
    assert found["Mountpoint"] == str(plugin.root / "shared")
    assert "fake" in engine.api("GET", "/info").json()["Plugins"]["Volume"]
    assert engine.docker("volume", "prune", "-af").ok().out.count("shared") == 0
    engine.docker("volume", "rm", "shared").ok()
    assert plugin.options == {}


def test_a_volume_that_the_plugin_has_already_is_taken_as_it_is(engine: Engine, plugin: VolumePlugin) -> None:
    plugin.answer("VolumeDriver.Create", {"Name": "old", "Opts": {}})
    plugin.calls.clear()
    engine.docker("run", "--rm", "--volume-driver", "fake", "-v", "old:/data", BUSYBOX, "touch", "/data/x").ok()
    assert "VolumeDriver.Create" not in plugin.methods
    assert (plugin.root / "old" / "x").exists()


def test_volumes_that_only_a_plugin_has(engine: Engine, plugin: VolumePlugin, cli: Client) -> None:
    """They are listed, inspected, used and removed without having been made here; names are the plugin's to judge."""
    engine.docker("volume", "create", "mine").ok()
    for name in ("pool/vol", "spare"):
        plugin.answer("VolumeDriver.Create", {"Name": name, "Opts": {}})

    def listed(*options: str) -> list[str]:
        return cli("volume", "ls", "--format", "{{.Driver}} {{.Name}}", *options).ok().out.splitlines()

    wait_until(lambda: listed() == ["local mine", "fake pool/vol", "fake spare"], what="the plugin's volumes")
    assert listed("-f", "driver=fake", "-f", "name=pool") == ["fake pool/vol"]
    seen = json.loads(cli("volume", "inspect", "pool/vol").ok().out)[0]
    assert (seen["Driver"], seen["Mountpoint"]) == ("fake", str(plugin.root / "pool/vol"))
    assert seen["Status"] == {"mounts": 0}
    cli("run", "--name", "user", "-v", "pool/vol:/data", BUSYBOX, "sh", "-c", "echo kept > /data/file").ok()
    assert (plugin.root / "pool/vol/file").read_text() == "kept\n"
    assert "VolumeDriver.Create" not in {method for method, _ in plugin.calls[2:]}
    assert listed("-f", "dangling=true") == ["local mine", "fake spare"]
    assert "volume is in use" in cli("volume", "rm", "pool/vol").err
    cli("rm", "user").ok()
    for name in ("pool/vol", "spare"):
        cli("volume", "rm", name).ok()
    assert plugin.options == {}
    assert listed() == ["local mine"]


def test_what_a_plugin_refuses_is_said_and_leaves_nothing(engine: Engine, plugin: VolumePlugin) -> None:
    plugin.answers["VolumeDriver.Create"] = {"Err": "no room"}
    failed = engine.docker("volume", "create", "-d", "fake", "shared")
    assert "create shared: VolumeDriver.Create: no room" in failed.err
    assert engine.docker("volume", "ls", "-q").ok().out == ""
    missing = engine.docker("volume", "create", "-d", "other", "shared")
    assert 'error looking up volume plugin other: plugin "other" not found' in missing.err
    plugin.answers.clear()
    engine.docker("volume", "create", "-d", "fake", "shared").ok()
    plugin.answers["VolumeDriver.Remove"] = {"Err": "in use elsewhere"}
    assert "in use elsewhere" in engine.docker("volume", "rm", "shared").err
    assert engine.docker("volume", "ls", "-q").ok().out == "shared\n"
    engine.docker("volume", "rm", "-f", "shared").ok()
    with sqlite3.connect(f"file:{engine.data_root}/state.sqlite?mode=ro", uri=True) as state:
        assert state.execute("SELECT name FROM volumes").fetchall() == []
    # The plugin has it all the same, and says so.
    wait_until(lambda: engine.docker("volume", "ls", "-q").ok().out == "shared\n", what="the plugin's list")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"Mountpoint": "relative"}, "names no mount point"),
        ({"Mountpoint": ""}, "names no mount point"),
        ({"Mountpoint": "/does/not/exist"}, "/does/not/exist"),
        ({"Mountpoint": 7}, "answers VolumeDriver.Mount with what it cannot be"),
        (b"x" * (4 << 20), "longer than"),
    ],
)
def test_a_plugin_that_lies_about_a_mount(
    engine: Engine, plugin: VolumePlugin, answer: dict[str, Any] | bytes, error: str
) -> None:
    engine.docker("volume", "create", "-d", "fake", "shared").ok()
    plugin.answers["VolumeDriver.Mount"] = answer
    failed = engine.docker("run", "--name", "one", "-v", "shared:/data", BUSYBOX, "true")
    assert error in failed.err
    wait_until(lambda: len(plugin.bodies("VolumeDriver.Unmount")) == 1, what="the mount is ended")
    plugin.answers.clear()
    engine.docker("start", "-a", "one").ok()


@pytest.mark.parametrize("method", ["Create", "Get", "Mount", "Unmount", "Remove", "Capabilities", "List"])
def test_a_plugin_that_hangs_delays_its_own_calls_only(engine: Engine, plugin: VolumePlugin, method: str) -> None:
    engine.docker("volume", "create", "-d", "fake", "ready").ok()
    prepare_others(engine)
    _create(engine, "waits", "ready")
    if method == "Unmount":
        engine.docker("start", "waits").ok()
    plugin.hanging.add(f"VolumeDriver.{method}")
    call = {
        "Mount": ["start", "waits"],
        "Unmount": ["kill", "waits"],
        "Remove": ["volume", "rm", "spent"],
        "Get": ["volume", "inspect", "ready"],
        "List": ["volume", "ls"],
    }.get(method, ["volume", "create", "-d", "fake", "made"])
    if method == "Remove":
        engine.docker("volume", "create", "-d", "fake", "spent").ok()
    waiting = engine.docker.popen(*call)
    wait_until(lambda: f"VolumeDriver.{method}" in plugin.methods, what="the call that hangs")
    others_are_quick(engine, "/containers/waits/json")
    plugin.released.set()
    waiting.communicate(timeout=60)
    assert waiting.returncode == 0


def test_a_plugin_may_call_the_engine_from_within_mount(engine: Engine, plugin: VolumePlugin) -> None:
    engine.docker("volume", "create", "-d", "fake", "shared").ok()
    _create(engine, "one", "shared")
    seen: list[int] = []

    def ask() -> None:
        for path in ("/containers/json", "/containers/one/json", "/volumes", "/info"):
            seen.append(engine.api("GET", path).status)
        seen.append(engine.api("POST", "/volumes/create", {"Name": "beside"}).status)

    plugin.within["VolumeDriver.Mount"] = ask
    engine.docker("start", "one").ok()
    assert seen == [200, 200, 200, 200, 201]


def test_an_engine_that_is_killed_between_mount_and_start_unmounts_once(engine: Engine, plugin: VolumePlugin) -> None:
    engine.docker("volume", "create", "-d", "fake", "shared").ok()
    _create(engine, "one", "shared")
    plugin.hanging.add("VolumeDriver.Mount")
    waiting = engine.docker.popen("start", "one")
    wait_until(lambda: "VolumeDriver.Mount" in plugin.methods, what="the mount")
    engine.kill9()
    plugin.hanging.clear()
    plugin.released.set()
    waiting.communicate(timeout=20)
    wait_until(lambda: plugin.mounted, what="the mount that the killed engine has asked for")
    engine.up()
    wait_until(lambda: not plugin.mounted, 30, "it is unmounted")
    engine.restart()
    engine.docker("start", "one").ok()
    engine.docker("rm", "-f", "one").ok()
    wait_until(lambda: len(plugin.bodies("VolumeDriver.Unmount")) == 2, what="the second unmount")
    ids = [one["ID"] for one in (*plugin.bodies("VolumeDriver.Mount"), *plugin.bodies("VolumeDriver.Unmount"))]
    assert len(ids) == 4
    assert len(set(ids)) == 1


def test_a_container_that_runs_keeps_its_mount_across_engines_and_plugins(engine: Engine, plugin: VolumePlugin) -> None:
    engine.docker("run", "-d", "--name", "one", "--volume-driver", "fake", "-v", "shared:/data", BUSYBOX, "top").ok()
    engine.kill9()
    engine.up()
    assert plugin.bodies("VolumeDriver.Unmount") == []
    engine.docker("exec", "one", "touch", "/data/x").ok()
    plugin.stop()
    assert engine.docker("volume", "ls", "-q").ok().out == "shared\n"
    engine.docker("exec", "one", "touch", "/data/y").ok()
    plugin.path.unlink()
    plugin.listen()
    engine.docker("restart", "-t", "0", "one").ok()
    assert engine.docker("exec", "one", "ls", "/data").ok().out == "x\ny\n"
    engine.docker("rm", "-f", "one").ok()
    wait_until(lambda: not plugin.mounted, what="the mount is ended")
    assert len(plugin.bodies("VolumeDriver.Mount")) == len(plugin.bodies("VolumeDriver.Unmount")) == 2


def test_an_anonymous_volume_of_a_plugin_goes_with_its_container(engine: Engine, plugin: VolumePlugin) -> None:
    engine.docker("run", "--rm", "--volume-driver", "fake", "-v", "/data", BUSYBOX, "touch", "/data/x").ok()
    wait_until(lambda: plugin.options == {}, what="the volume is removed")
    assert engine.docker("volume", "ls", "-q").ok().out == ""
