"""Managed plugins: the examples as they are, through both clients, a registry, kills of plugins and of the engine."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Client, Engine
from tests.support.managed_plugins import plugin_directory, plugin_process
from tests.support.registry import Registry
from tests.support.waiting import wait_until


@pytest.fixture(autouse=True)
def emptied(engine: Engine) -> Iterator[None]:
    yield
    engine.remove_all()
    for volume in engine.docker("volume", "ls", "-q").ok().out.split():
        engine.docker("volume", "rm", "-f", volume).ok()
    for plugin in engine.api("GET", "/plugins").json():
        engine.docker("plugin", "rm", "-f", plugin["Name"]).ok()


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with Registry() as started:
        yield started


@pytest.fixture
def volumes(engine: Engine, tmp_path: Path) -> Path:
    """The example's volume driver, enabled as `me/volumes`; the directory that it keeps its volumes in."""
    state = tmp_path / "state"
    state.mkdir()
    made = plugin_directory("directory-volumes", tmp_path / "plugin")
    engine.darse("plugin", "create", "me/volumes", str(made)).ok()
    engine.darse("plugin", "set", "me/volumes", f"state={state}").ok()
    engine.darse("plugin", "enable", "me/volumes").ok()
    return state


def test_a_volume_driver_keeps_its_volumes(engine: Engine, volumes: Path) -> None:
    assert engine.docker("ps", "-aq").ok().out == ""
    listed = engine.docker("plugin", "ls", "--format", "{{.Name}} {{.Enabled}}").ok().line
    assert listed == "me/volumes:latest true"
    engine.docker("volume", "create", "-d", "me/volumes", "data").ok()
    engine.docker("run", "-d", "--name", "user", "-v", "data:/data", BUSYBOX, "sleep", "600").ok()
    engine.docker("exec", "user", "sh", "-c", "echo kept > /data/file").ok()
    assert (volumes / "data" / "file").read_text() == "kept\n"
    refused = engine.docker("plugin", "disable", "me/volumes")
    assert "is in use by volume data" in refused.err

    # The plugin dies, and is there again; then the engine does; then both.
    before = plugin_process(volumes)
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: plugin_process(volumes) not in (0, before), what="the plugin again")
    engine.docker("run", "--rm", "-v", "data:/data", BUSYBOX, "cat", "/data/file").ok()
    engine.kill9()
    engine.restart()
    assert engine.docker("exec", "user", "cat", "/data/file").ok().out == "kept\n"
    engine.kill9()
    os.kill(plugin_process(volumes), signal.SIGKILL)
    engine.restart()
    assert engine.docker("run", "--rm", "-v", "data:/data", BUSYBOX, "cat", "/data/file").ok().out == "kept\n"
    assert engine.docker("ps", "-q").ok().out.count("\n") == 1
    engine.docker("rm", "-f", "user").ok()
    assert engine.docker("volume", "inspect", "data", "-f", "{{.Status.users}}").ok().line == "0"
    engine.docker("volume", "rm", "data").ok()
    assert not (volumes / "data").exists()
    engine.docker("plugin", "disable", "me/volumes").ok()
    assert "found but disabled" in engine.docker("volume", "create", "-d", "me/volumes", "other").err


def test_a_container_that_needs_a_plugin_starts_after_it(engine: Engine, volumes: Path) -> None:
    options = ("--restart", "always", "-v", "data:/data", "--volume-driver", "me/volumes")
    engine.docker("run", "-d", "--name", "user", *options, BUSYBOX, "sleep", "600").ok()
    container = engine.api("GET", "/containers/user/json").json()
    engine.kill9()
    for pid in (container["State"]["Pid"], plugin_process(volumes)):
        os.kill(pid, signal.SIGKILL)
    engine.restart()
    wait_until(
        lambda: engine.api("GET", "/containers/user/json").json()["State"]["Status"] == "running", what="the container"
    )
    engine.docker("exec", "user", "touch", "/data/again").ok()
    assert (volumes / "data" / "again").exists()


def test_a_plugin_goes_through_a_registry(engine: Engine, registry: Registry, tmp_path: Path, cli: Client) -> None:
    name = f"{registry.address}/me/gate"
    made = plugin_directory("request-gate", tmp_path / "plugin")
    cli("plugin", "create", f"{name}:1", str(made)).ok()
    cli("plugin", "push", f"{name}:1").ok()
    cli("plugin", "rm", f"{name}:1").ok()
    asked = cli("plugin", "install", f"{name}:1", input="n\n")
    assert asked.status == 1
    assert "is requesting the following privileges" in asked.out
    assert " - mount: [/usr]" in asked.out
    cli("plugin", "install", "--grant-all-permissions", "--alias", "gate", f"{name}:1", "REFUSE=DELETE:/x").ok()
    found = json.loads(cli("plugin", "inspect", "gate").ok().out)[0]
    assert (found["Name"], found["PluginReference"], found["Enabled"]) == ("gate:latest", f"{name}:1", True)
    assert found["Settings"]["Env"] == ["REFUSE=DELETE:/x"]
    assert found["Config"]["Interface"]["Types"] == ["docker.authz/1.0"]
    assert cli("plugin", "upgrade", "gate", f"{name}:1", "--grant-all-permissions").status == 1
    cli("plugin", "disable", "gate").ok()
    cli("plugin", "upgrade", "--grant-all-permissions", "gate", f"{name}:1").ok()
    assert json.loads(cli("plugin", "inspect", "gate").ok().out)[0]["Settings"]["Env"] == ["REFUSE=DELETE:/x"]
    assert "not settable" in cli("plugin", "set", "gate", "REFUSE.name=x").err or True
    cli("plugin", "enable", "gate").ok()
    assert cli("plugin", "rm", "gate").status == 1
    cli("plugin", "rm", "-f", "gate").ok()
    assert engine.api("GET", "/plugins").json() == []


def test_a_log_driver(engine: Engine, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    engine.docker("plugin", "create", "me/logs", str(plugin_directory("file-logs", tmp_path / "plugin"))).ok()
    engine.docker("plugin", "set", "me/logs", f"logs={logs}").ok()
    engine.docker("plugin", "enable", "me/logs").ok()
    options = ("--log-driver", "me/logs", "--log-opt", "cache-disabled=true")
    container = engine.docker("run", "-d", *options, BUSYBOX, "sh", "-c", "echo one; echo two >&2").ok().line
    file = logs / f"{container}.jsonl"
    wait_until(lambda: file.exists() and file.read_text().count("\n") == 2, what="both lines")
    assert {json.loads(line)["log"] for line in file.read_text().splitlines()} == {"one", "two"}
    assert engine.docker("logs", container).ok().out == "one\n"


def test_a_plugin_that_cannot_run_is_not_enabled(engine: Engine, tmp_path: Path) -> None:
    made = plugin_directory("request-gate", tmp_path / "plugin", entrypoint=["/nothing"])
    engine.docker("plugin", "create", "me/broken", str(made)).ok()
    assert engine.docker("plugin", "enable", "me/broken").status == 1
    assert not engine.api("GET", "/plugins/me/broken/json").json()["Enabled"]
    assert engine.docker("plugin", "create", "me/broken", str(made)).status == 1
