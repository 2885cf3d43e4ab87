"""A private registry as people use it: log in, pull and run, log out; with docker's client and with `darse`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.engine import Client, Engine
from tests.support.registry import Registry, needs_registry
from tests.support.small_images import Made, tar

pytestmark = needs_registry


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry for users, with an image that was there before it became private."""
    storage = tmp_path_factory.mktemp("registry") / "storage"
    with Registry(storage) as public:
        Made(tar({"etc/app": b"1"})).push(public.address, "team/app", "1")
        Made(tar({"etc/app": b"1"}), docker=True).push(public.address, "team/app", "2")
    with Registry(storage, users={"me": "secret"}) as registry:
        yield registry


@pytest.fixture
def logged_out(cli: Client, tmp_path: Path) -> Client:
    """The client, with a config directory of its own and nothing in it."""
    cli.environment["DOCKER_CONFIG"] = str(tmp_path / "config")
    return cli


def test_log_in_pull_log_out(logged_out: Client, private: Registry, tmp_path: Path, engine: Engine) -> None:
    cli, name = logged_out, f"{private.address}/team/app:1"
    denied = cli("pull", name)
    assert denied.status == 1
    assert "no basic auth credentials" in denied.err
    wrong = cli("login", "-u", "me", "--password-stdin", private.address, input="wrong")
    assert wrong.status == 1
    assert "unauthorized" in wrong.err.lower()
    assert not (tmp_path / "config" / "config.json").exists()
    assert cli("login", "-u", "me", "--password-stdin", private.address, input="secret").ok().line == "Login Succeeded"
    assert list(json.loads((tmp_path / "config" / "config.json").read_text())["auths"]) == [private.address]
    out = cli("pull", name).ok().out.splitlines()
    assert out[0] == "1: Pulling from team/app"
    assert out[-1] == name
    assert cli("login", private.address).ok().line.endswith("Login Succeeded")
    assert cli("logout", private.address).ok().line == f"Removing login credentials for {private.address}"
    assert "no basic auth credentials" in cli("pull", f"{private.address}/team/app:2").err
    assert cli("rmi", name).ok()


def test_push(logged_out: Client, private: Registry) -> None:
    cli, source = logged_out, f"{private.address}/team/app:1"
    target = f"{private.address}/{cli.name}/pushed"
    cli("login", "-u", "me", "--password-stdin", private.address, input="secret").ok()
    cli("pull", "-q", source).ok()
    for tag in ("1", "2", "latest"):
        cli("tag", source, f"{target}:{tag}").ok()
    out = cli("push", target).ok().out.splitlines()
    assert out[:2] == ["Using default tag: latest", f"The push refers to repository [{target}]"]
    assert re.fullmatch(r"latest: digest: sha256:[0-9a-f]{64} size: \d+", out[-1])
    assert cli("push", "-q", f"{target}:1").ok().out == f"{target}:1\n"
    cli("push", "-a", target).ok()
    assert private.tags(f"{cli.name}/pushed") == ["1", "2", "latest"]
    cli("logout", private.address).ok()
    denied = cli("push", f"{target}:1")
    assert denied.status == 1
    assert "no basic auth credentials" in denied.err
    missing = cli("push", f"{target}:none")
    assert missing.status == 1
    assert f"tag does not exist: {target}:none" in missing.err
    cli("rmi", source, f"{target}:1", f"{target}:2", f"{target}:latest").ok()


def test_login_without_an_engine(logged_out: Client, private: Registry, tmp_path: Path) -> None:
    nowhere = {"DOCKER_HOST": "unix:///nonexistent.sock", "DARSE_HOST": "unix:///nonexistent.sock"}
    line = ("login", "-u", "me", "--password-stdin", private.address)
    assert "unauthorized" in logged_out(*line, input="wrong", env=nowhere).err.lower()
    assert logged_out(*line, input="secret", env=nowhere).ok().line == "Login Succeeded"
    assert list(json.loads((tmp_path / "config" / "config.json").read_text())["auths"]) == [private.address]


def test_create_pulls_with_credentials(logged_out: Client, private: Registry) -> None:
    cli, name = logged_out, f"{private.address}/team/app:2"
    missing = cli("create", "--name", "made", name, "/no")
    assert missing.err.startswith(f"Unable to find image '{name}' locally\n")
    assert "no basic auth credentials" in missing.err
    cli("login", "-u", "me", "--password-stdin", private.address, input="secret").ok()
    created = cli("create", "--name", "made", name, "/no").ok()
    assert f"Status: Downloaded newer image for {name}" in created.err
    assert re.fullmatch("[0-9a-f]{64}", created.line)
    again = cli("create", "-q", "--pull", "always", name, "/no").ok()
    assert again.err == ""
    assert "No such image" in cli("create", "--pull", "never", f"{private.address}/team/app:1", "/no").err
    cli("rm", "made", again.line).ok()
    cli("rmi", name).ok()


def test_search_of_a_registry(logged_out: Client, private: Registry) -> None:
    cli = logged_out
    cli("login", "-u", "me", "--password-stdin", private.address, input="secret").ok()
    found = cli("search", "--format", "{{.Name}} {{.StarCount}}", f"{private.address}/team").ok().out
    assert "team/app 0\n" in found


def test_a_pull_on_a_terminal_keeps_a_line_per_layer(logged_out: Client, private: Registry) -> None:
    """What the terminal shows in the end, when all that moves has moved."""
    cli, name = logged_out, f"{private.address}/team/app:2"
    cli("login", "-u", "me", "--password-stdin", private.address, input="secret").ok()
    cli("rmi", name)
    with cli.terminal("pull", name, columns=70, timeout=60) as terminal:
        terminal.expect_exact(name)
        terminal.expect_exact("\r\n")
        shown = (terminal.before or b"").decode()
        terminal.wait()
    assert terminal.exitstatus == 0
    assert max(len(re.sub("\x1b\\[[0-9]*[A-Za-z]", "", line)) for line in re.split("[\r\n]", shown)) < 70
    cli("rmi", name).ok()
