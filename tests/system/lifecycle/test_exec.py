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


def spares(engine: Engine) -> list[str]:
    """The ids of the execs that no client has created: they wait for one."""
    return [path.name for path in (engine.exec_root / "execs").iterdir() if not (path / "exec.json").exists()]


def with_a_spare(engine: Engine, *options: str) -> str:
    """Run a container and something in it, and return the id of the exec that then waits for the next."""
    engine.docker("run", "-d", "--name", "cc", *options, BUSYBOX, "sleep", "1000").ok()
    engine.docker("exec", "cc", "true").ok()
    wait_until(lambda: spares(engine), what="an exec made ready")
    (spare,) = spares(engine)
    return spare


def test_the_next_exec_takes_the_one_that_was_made_ready(engine: Engine) -> None:
    spare = with_a_spare(engine)
    exec_id = created(engine, "cc", ["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert exec_id == spare
    body = engine.api("POST", f"/exec/{exec_id}/start", {}).body
    assert b"out\n" in body
    assert b"err\n" in body
    assert engine.api("GET", f"/exec/{exec_id}/json").json()["ExitCode"] == 3


def test_one_that_was_made_ready_is_given_up_when_nobody_comes(engine: Engine) -> None:
    spare = with_a_spare(engine)
    wait_while(lambda: monitors_of(engine, spare) or spares(engine), what="its wait")
    engine.docker("exec", "cc", "true").ok()


@pytest.mark.parametrize("command", [["nothing"], ["/etc/passwd"], ["sh", "-c", "exit 7"]])
def test_a_command_that_fails_says_so_from_one_made_ready_too(engine: Engine, command: list[str]) -> None:
    engine.docker("run", "-d", "--name", "cc", BUSYBOX, "sleep", "1000").ok()
    first = engine.docker("exec", "cc", *command)
    engine.docker("exec", "cc", "true").ok()
    wait_until(lambda: spares(engine), what="an exec made ready")
    again = engine.docker("exec", "cc", *command)
    assert (again.status, again.out, again.err) == (first.status, first.out, first.err)


def test_other_options_do_not_take_one_made_for_the_last(running: Client, engine: Engine) -> None:
    running("exec", "cc", "true").ok()
    for options in (["-i"], ["-d"], ["-u", "33"], ["-w", "/etc"], ["-e", "A=1"]):
        running("exec", *options, "cc", "sh", "-c", "id -u; pwd; echo $A; cat", input=b"said").ok()
    # crun sets the size of an exec's terminal beside the process's start; before that, stty says nothing, with 0.
    size = "tty; until stty size 2>/dev/null | grep .; do sleep 0.01; done"
    terminal = running.terminal("exec", "-it", "cc", "sh", "-c", size, rows=31, columns=77)
    terminal.expect("/dev/pts/0")
    terminal.expect("31 77")
    done = running(
        "exec", "-i", "-u", "33", "-w", "/etc", "-e", "A=1", "cc", "sh", "-c", "id -u; pwd; echo $A; cat", input=b"said"
    )
    assert done.ok().out == "33\n/etc\n1\nsaid"


@pytest.mark.parametrize("size", [60_000, 70_000, 1_500_000])
def test_a_process_larger_than_a_pipe(engine: Engine, size: int) -> None:
    with_a_spare(engine)
    environment = [f"V{number}={'x' * 1000}" for number in range(size // 1000)]
    for command, expected in ((["sh", "-c", "env | wc -l"], str(len(environment)).encode()), (["nothing"], b"nothing")):
        body = {"Cmd": command, "Env": environment, "AttachStdout": True, "AttachStderr": True}
        exec_id = engine.api("POST", "/containers/cc/exec", body).json()["Id"]
        output = engine.api("POST", f"/exec/{exec_id}/start", {}).body
        assert expected in output or int(output[8:] or b"0") > len(environment)


def test_one_made_ready_does_not_outlive_its_container(engine: Engine) -> None:
    spare = with_a_spare(engine)
    engine.docker("restart", "-t", "0", "cc").ok()
    wait_while(lambda: monitors_of(engine, spare), seconds=4, what="an exec made ready for a container that ended")
    assert engine.docker("exec", "cc", "cat", "/proc/1/cmdline").ok().out == "sleep\x001000\x00"


def test_one_made_ready_waits_through_a_pause(engine: Engine) -> None:
    with_a_spare(engine)
    engine.docker("pause", "cc").ok()
    assert "paused" in engine.docker("exec", "cc", "true").err
    engine.docker("unpause", "cc").ok()
    assert engine.docker("exec", "cc", "echo", "on").ok().out == "on\n"


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_what_was_made_ready_goes_with_the_engine(engine: Engine, how: str) -> None:
    spare = with_a_spare(engine)
    if how == "killed":
        engine.kill9()
    else:
        engine.stop()
    wait_while(lambda: monitors_of(engine, spare), what="an exec made ready by an engine that is gone")
    engine.up()
    assert not (engine.exec_root / "execs" / spare).exists()
    engine.docker("exec", "cc", "true").ok()


def test_a_health_check_leaves_nothing_ready(engine: Engine) -> None:
    engine.docker(
        *("run", "-d", "--name", "cc", "--health-cmd", "true", "--health-interval", "1s"), BUSYBOX, "sleep", "1000"
    ).ok()
    wait_until(lambda: "(healthy)" in engine.docker("ps").out, what="the first check")
    assert spares(engine) == []
