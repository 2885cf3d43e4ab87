"""checkpoint: the processes of a container, in files."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Client, Engine, docker_program
from tests.support.waiting import wait_until

COUNT = "i=0; while :; do i=$((i+1)); echo $i > /new; mv /new /count; echo $i; sleep 0.05; done"


@pytest.fixture(scope="module")
def experimental() -> Iterator[Engine]:
    """docker's client offers checkpoints only to engines that say they are experimental."""
    engine = Engine.start("--experimental")
    yield engine
    engine.close()


@pytest.fixture(params=["docker", "darse"])
def cli(request: pytest.FixtureRequest, experimental: Engine) -> Iterator[Client]:
    if request.param == "docker" and docker_program() is None:
        pytest.skip("docker's client is not installed")
    assert importlib.util.find_spec("darse.cli.commands.containers.checkpoint")
    client: Client = getattr(experimental, request.param)
    yield client
    experimental.remove_all()


@pytest.fixture
def counting(cli: Client) -> Client:
    """A container `cc` that counts, where CRIU works."""
    if shutil.which("runc") is None:
        pytest.skip("runc is not installed: crun of Debian 12 knows no checkpoints")
    if shutil.which("criu") is None:
        pytest.skip("criu is not installed")
    checked = subprocess.run(["criu", "check"], capture_output=True, text=True, timeout=60, check=False)
    if checked.returncode != 0:
        pytest.skip(f"criu does not work on this kernel: {(checked.stderr or checked.stdout).strip().splitlines()[0]}")
    cli("run", "-d", "--name", "cc", "--runtime", "runc", BUSYBOX, "sh", "-c", COUNT).ok()
    wait_until(lambda: counted(cli) > 3, what="the count")
    return cli


def counted(cli: Client) -> int:
    return int(cli("exec", "cc", "cat", "/count").out.strip() or 0)


def test_goes_on_from_where_it_was(counting: Client) -> None:
    assert counting("checkpoint", "create", "cc", "one").ok().line == "one"
    wait_until(lambda: counting("inspect", "-f", "{{.State.Status}}", "cc").ok().line == "exited", what="the end")
    assert counting("checkpoint", "ls", "cc").ok().out.split() == ["CHECKPOINT", "NAME", "one"]
    before = int(counting("logs", "--tail", "1", "cc").ok().line)
    counting("start", "--checkpoint", "one", "cc").ok()
    wait_until(lambda: counted(counting) > before + 3, what="more of the count")
    lines = [int(line) for line in counting("logs", "cc").ok().out.split()]
    assert lines == list(range(1, len(lines) + 1))
    assert counting("exec", "cc", "ls", "/sys/class/net").ok().out.split() == ["eth0", "lo"]
    counting("stop", "-t", "1", "cc").ok()
    counting("checkpoint", "rm", "cc", "one").ok()
    assert counting("checkpoint", "ls", "cc").ok().out.split() == ["CHECKPOINT", "NAME"]


def test_leaves_it_running(counting: Client, tmp_path: Path) -> None:
    options = ("--leave-running", "--checkpoint-dir", str(tmp_path))
    counting("checkpoint", "create", *options, "cc", "two").ok()
    seen = counted(counting)
    wait_until(lambda: counted(counting) > seen, what="more of the count")
    assert "two" in counting("checkpoint", "ls", "--checkpoint-dir", str(tmp_path), "cc").ok().out
    again = counting("checkpoint", "create", *options, "cc", "two")
    assert "checkpoint with name two already exists" in again.err
    counting("kill", "cc").ok()
    counting("start", "--checkpoint-dir", str(tmp_path), "--checkpoint", "two", "cc").ok()
    wait_until(lambda: counted(counting) > seen, what="more of the count")
    counting("checkpoint", "rm", "--checkpoint-dir", str(tmp_path), "cc", "two").ok()
    assert list(tmp_path.iterdir()) == []


def test_a_failed_one_leaves_nothing_and_says_why(cli: Client) -> None:
    cli("run", "-d", "--name", "cc", BUSYBOX, "sleep", "1000").ok()
    done = cli("checkpoint", "create", "cc", "one")
    if done.status == 0:
        pytest.skip("crun knows checkpoints here")
    assert "is built without CRIU (hint: create the container with --runtime runc)" in done.err
    assert cli("checkpoint", "ls", "cc").ok().out.split() == ["CHECKPOINT", "NAME"]
    assert cli("inspect", "-f", "{{.State.Running}}", "cc").ok().line == "true"


def test_refused(cli: Client, tmp_path: Path) -> None:
    cli("create", "--name", "cc", BUSYBOX, "true").ok()
    assert "Container cc not running" in cli("checkpoint", "create", "cc", "one").err
    for name in ("../one", ".", "a/b"):
        assert "Invalid checkpoint ID" in cli("checkpoint", "create", "cc", name).err
    assert "checkpoint one does not exist for container" in cli("start", "--checkpoint", "one", "cc").err
    assert "checkpoint one does not exist for container" in cli("checkpoint", "rm", "cc", "one").err
    assert "No such container: nobody" in cli("checkpoint", "ls", "nobody").err
    assert "cannot restore multiple containers at once" in cli("start", "--checkpoint", "one", "cc", "cc").err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    assert cli("checkpoint", "rm", "--checkpoint-dir", str(tmp_path), "cc", "mine").status == 1
    assert (tmp_path / "mine" / "file").exists()


def test_not_with_a_terminal(cli: Client) -> None:
    cli("run", "-dt", "--name", "cc", BUSYBOX, "sleep", "1000").ok()
    assert "checkpoint not supported on containers with tty" in cli("checkpoint", "create", "cc", "one").err
