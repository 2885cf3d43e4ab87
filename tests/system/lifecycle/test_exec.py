"""exec: another program in a running container."""

from __future__ import annotations

import hashlib
import os

import pytest
from tests.support.engine import BUSYBOX, Client, Engine
from tests.support.leaks import processes_of
from tests.support.waiting import wait_until, wait_while


@pytest.fixture
def running(cli: Client) -> Client:
    cli("run", "-d", "--name", "cc", "-e", "FROM=container", "-w", "/tmp", BUSYBOX, "sleep", "1000").ok()
    return cli


def test_output_and_errors(running: Client) -> None:
    done = running("exec", "cc", "sh", "-c", "echo out; echo err >&2").ok()
    assert (done.out, done.err) == ("out\n", "err\n")


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 3"], 3),
        (["/etc/passwd"], 126),
        (["nothing"], 127),
        (["sh", "-c", "kill -9 $$"], 137),
    ],
)
def test_exit_status(running: Client, command: list[str], status: int) -> None:
    assert running("exec", "cc", *command).status == status


def test_says_why_it_did_not_start(running: Client) -> None:
    done = running("exec", "cc", "nothing")
    assert 'exec: "nothing": executable file not found in $PATH' in done.out + done.err
    done = running("exec", "-u", "nobody-knows", "cc", "true")
    assert done.status != 0
    assert "unable to find user nobody-knows: no matching entries in passwd file" in done.out + done.err


def test_input(running: Client) -> None:
    data = os.urandom(5 << 20)
    done = running("exec", "-i", "cc", "sha256sum", input=data).ok()
    assert done.out.split()[0] == hashlib.sha256(data).hexdigest()


def test_options(running: Client) -> None:
    assert running("exec", "cc", "pwd").ok().line == "/tmp"
    assert running("exec", "-w", "/etc", "cc", "pwd").ok().line == "/etc"
    assert running("exec", "-u", "33:100", "cc", "id").ok().line.startswith("uid=33(www-data) gid=100(users)")
    assert running("exec", "-u", "www-data", "cc", "id", "-u").ok().line == "33"
    environment = running("exec", "-e", "MINE=1", "cc", "env").ok().out.splitlines()
    assert {"FROM=container", "MINE=1"} <= set(environment)


def test_privileged(running: Client) -> None:
    script = "grep CapEff /proc/self/status | cut -f2"
    plain = int(running("exec", "cc", "sh", "-c", script).ok().line, 16)
    privileged = int(running("exec", "--privileged", "cc", "sh", "-c", script).ok().line, 16)
    assert plain & privileged == plain
    assert privileged & (1 << 21)  # CAP_SYS_ADMIN


def test_detached(running: Client) -> None:
    running("exec", "-d", "cc", "sh", "-c", "echo done > /tmp/file").ok()
    wait_until(lambda: running("exec", "cc", "cat", "/tmp/file").out == "done\n", what="the detached program")


def test_ends_with_its_container(running: Client) -> None:
    process = running.popen("exec", "cc", "sh", "-c", "echo ready; sleep 1000")
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    running("kill", "cc").ok()
    process.communicate(timeout=20)
    assert process.returncode == 137


def test_refuses_what_does_not_run(cli: Client) -> None:
    cli("create", "--name", "cc", BUSYBOX, "true").ok()
    done = cli("exec", "cc", "true")
    assert done.status == 1
    assert "is not running" in done.err
    done = cli("exec", "nobody", "true")
    assert done.status == 1
    assert "No such container: nobody" in done.err


def test_inspect_of_an_exec(running: Client, engine: Engine) -> None:
    created = engine.api("POST", "/containers/cc/exec", {"Cmd": ["sh", "-c", "exit 5"], "AttachStdout": True})
    assert created.status == 201
    identity = created.json()["Id"]
    assert engine.api("GET", f"/exec/{identity}/json").json()["Running"] is False
    assert engine.api("POST", f"/exec/{identity}/start", {"Detach": True}).status == 200
    wait_until(lambda: engine.api("GET", f"/exec/{identity}/json").json()["ExitCode"] == 5, what="the exec's end")
    again = engine.api("POST", f"/exec/{identity}/start", {"Detach": True})
    assert again.status == 409


def monitors_of(engine: Engine, exec_id: str) -> list[int]:
    """The pids of the conmons that have an exec's directory in their command line."""
    return [pid for pid, command in processes_of(engine.root) if exec_id in command and "conmon" in command]


def created(engine: Engine, container: str, command: list[str]) -> str:
    body = {"Cmd": command, "AttachStdout": True, "AttachStderr": True}
    return engine.api("POST", f"/containers/{container}/exec", body).json()["Id"]


def test_a_monitor_waits_for_the_start_of_its_exec_and_is_given_up_when_none_comes(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "cc", BUSYBOX, "sleep", "1000").ok()
    exec_id = created(engine, "cc", ["echo", "late"])
    wait_until(lambda: monitors_of(engine, exec_id), what="the monitor")
    wait_while(lambda: monitors_of(engine, exec_id), what="the wait of the monitor")
    assert b"late" in engine.api("POST", f"/exec/{exec_id}/start", {}).body


def test_what_was_created_and_not_started_never_runs_when_the_engine_is_killed(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "cc", BUSYBOX, "sleep", "1000").ok()
    exec_id = created(engine, "cc", ["touch", "/ran"])
    wait_until(lambda: monitors_of(engine, exec_id), what="the monitor")
    engine.kill9()
    engine.up()
    wait_while(lambda: monitors_of(engine, exec_id), what="the monitor of an engine that is gone")
    assert engine.docker("exec", "cc", "ls", "/ran").status == 1
    assert engine.api("GET", f"/exec/{exec_id}/json").json()["ExitCode"] is None
    assert engine.api("POST", f"/exec/{exec_id}/start", {}).status == 200
    engine.docker("exec", "cc", "ls", "/ran").ok()


def test_a_monitor_that_waits_goes_with_its_container(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "cc", BUSYBOX, "sleep", "1000").ok()
    exec_ids = [created(engine, "cc", ["true"]) for _ in range(12)]
    engine.docker("rm", "-f", "cc").ok()
    wait_while(lambda: [pid for one in exec_ids for pid in monitors_of(engine, one)], seconds=4, what="their monitors")
