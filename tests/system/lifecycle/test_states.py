"""create, start, stop, kill, restart, pause, wait, rename, rm: the states of a container."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Client, Engine
from tests.support.relay import Relay
from tests.support.waiting import wait_until

TRAP = 'trap "echo stopped; exit 9" TERM; trap "echo quit; exit 11" QUIT; echo ready; while :; do sleep 0.05; done'


def state(cli: Client, container: str) -> dict:
    return json.loads(cli("inspect", "-f", "{{json .State}}", container).ok().out)


def wait_ready(cli: Client, container: str) -> None:
    wait_until(lambda: "ready" in cli("logs", container).ok().out, what="the program's first line")


def test_create_start_wait(cli: Client) -> None:
    container = cli("create", "--name", "steps", BUSYBOX, "sh", "-c", "echo done; exit 4").ok().line
    assert state(cli, "steps")["Status"] == "created"
    assert cli("start", "steps").ok().line == "steps"
    assert cli("wait", container[:12]).ok().line == "4"
    after = state(cli, "steps")
    assert (after["Status"], after["ExitCode"], after["Running"], after["Pid"]) == ("exited", 4, False, 0)
    assert after["StartedAt"] < after["FinishedAt"]
    assert cli("logs", "steps").ok().out == "done\n"


def test_start_attached_returns_the_status(cli: Client) -> None:
    cli("create", "--name", "attached", "-i", BUSYBOX, "sh", "-c", "cat; exit 5").ok()
    done = cli("start", "-ai", "attached", input="passed\n")
    assert (done.status, done.out) == (5, "passed\n")


def test_start_again_keeps_the_file_system(cli: Client) -> None:
    cli("run", "--name", "again", BUSYBOX, "sh", "-c", "echo x >> /count; cat /count").ok()
    assert cli("start", "-a", "again").ok().out == "x\nx\n"


def test_start_of_a_running_container_is_no_error(cli: Client) -> None:
    cli("run", "-d", "--name", "busy", BUSYBOX, "sleep", "100").ok()
    cli("start", "busy").ok()


def test_stop_sends_term_and_waits(cli: Client) -> None:
    cli("run", "-d", "--name", "stopped", BUSYBOX, "sh", "-c", TRAP).ok()
    wait_ready(cli, "stopped")
    assert cli("stop", "stopped").ok().line == "stopped"
    assert state(cli, "stopped")["ExitCode"] == 9
    assert cli("logs", "stopped").ok().out == "ready\nstopped\n"


def test_stop_kills_after_the_timeout(cli: Client) -> None:
    cli("run", "-d", "--name", "deaf", BUSYBOX, "sleep", "100").ok()
    began = time.monotonic()
    cli("stop", "-t", "1", "deaf").ok()
    took = time.monotonic() - began
    assert 0.9 < took < 5
    assert state(cli, "deaf")["ExitCode"] == 137


def test_stop_honours_the_containers_signal_and_timeout(cli: Client) -> None:
    cli("run", "-d", "--name", "quits", "--stop-signal", "QUIT", "--stop-timeout", "3", BUSYBOX, "sh", "-c", TRAP).ok()
    wait_ready(cli, "quits")
    cli("stop", "quits").ok()
    assert state(cli, "quits")["ExitCode"] == 11


def test_stop_with_a_signal_of_its_own(cli: Client) -> None:
    cli.needs(23, "stop --signal")
    cli("run", "-d", "--name", "other", BUSYBOX, "sh", "-c", TRAP).ok()
    wait_ready(cli, "other")
    cli("stop", "-s", "SIGQUIT", "other").ok()
    assert state(cli, "other")["ExitCode"] == 11


def test_stop_of_a_stopped_container_is_no_error(cli: Client) -> None:
    cli("run", "--name", "over", BUSYBOX, "true").ok()
    cli("stop", "over").ok()


@pytest.mark.parametrize("signal", ["KILL", "SIGKILL", "9"])
def test_kill(cli: Client, signal: str) -> None:
    cli("run", "-d", "--name", "victim", BUSYBOX, "sleep", "100").ok()
    cli("kill", "-s", signal, "victim").ok()
    assert cli("wait", "victim").ok().line == "137"


def test_kill_with_a_signal_that_does_not_end_it(cli: Client) -> None:
    script = 'trap "echo usr1" USR1; echo ready; while :; do sleep 0.05; done'
    cli("run", "-d", "--name", "lives", BUSYBOX, "sh", "-c", script).ok()
    wait_ready(cli, "lives")
    cli("kill", "--signal", "USR1", "lives").ok()
    wait_until(lambda: "usr1" in cli("logs", "lives").out, what="the signal")
    assert state(cli, "lives")["Running"] is True


def test_kill_refuses_what_does_not_run_and_what_is_no_signal(cli: Client) -> None:
    cli("run", "--name", "ended", BUSYBOX, "true").ok()
    done = cli("kill", "ended")
    assert done.status == 1
    assert "is not running" in done.err
    cli("start", "ended")
    cli("run", "-d", "--name", "runs", BUSYBOX, "sleep", "100").ok()
    done = cli("kill", "-s", "NOSUCH", "runs")
    assert done.status == 1
    assert "nvalid signal" in done.err


def test_restart(cli: Client) -> None:
    cli("run", "-d", "--name", "twice", BUSYBOX, "sh", "-c", TRAP).ok()
    wait_ready(cli, "twice")
    before = state(cli, "twice")
    cli("restart", "-t", "2", "twice").ok()
    after = state(cli, "twice")
    assert after["Running"] is True
    assert after["Pid"] != before["Pid"]
    wait_until(lambda: cli("logs", "twice").out == "ready\nstopped\nready\n", what="the second start")


def test_restart_starts_a_stopped_container(cli: Client) -> None:
    cli("create", "--name", "cold", BUSYBOX, "sleep", "100").ok()
    cli("restart", "cold").ok()
    assert state(cli, "cold")["Running"] is True


def test_pause_and_unpause(cli: Client) -> None:
    cli("run", "-d", "--name", "frozen", BUSYBOX, "sh", "-c", "while :; do echo tick; sleep 0.02; done").ok()
    cli("pause", "frozen").ok()
    assert state(cli, "frozen")["Paused"] is True
    assert "(Paused)" in cli("ps", "--format", "{{.Status}}").ok().out
    ticks = cli("logs", "frozen").out
    again = cli("pause", "frozen")
    assert again.status == 1
    assert "already paused" in again.err
    assert cli("exec", "frozen", "true").status != 0
    assert cli("logs", "frozen").out == ticks
    cli("unpause", "frozen").ok()
    wait_until(lambda: len(cli("logs", "frozen").out) > len(ticks), what="the next tick")


def test_stop_of_a_paused_container(cli: Client) -> None:
    cli("run", "-d", "--name", "stiff", BUSYBOX, "sleep", "100").ok()
    cli("pause", "stiff").ok()
    cli("stop", "-t", "1", "stiff").ok()
    assert state(cli, "stiff")["Status"] == "exited"


def test_rm_refuses_a_running_container(cli: Client) -> None:
    container = cli("run", "-d", "--name", "kept", BUSYBOX, "sleep", "100").ok().line
    done = cli("rm", "kept")
    assert done.status == 1
    assert "container is running" in done.err
    assert container[:12] in cli("ps", "-q").out
    assert cli("rm", "-f", "kept").ok().line == "kept"
    assert cli("ps", "-aq").out == ""


def test_rm_of_an_unknown_container(cli: Client) -> None:
    done = cli("rm", "nobody")
    assert done.status == 1
    assert "No such container: nobody" in done.err
    cli("rm", "-f", "nobody").ok()


def test_rm_v_removes_anonymous_volumes(cli: Client) -> None:
    cli("run", "--name", "volumes", "-v", "/anonymous", "-v", "named:/named", BUSYBOX, "true").ok()
    assert len(cli("volume", "ls", "-q").ok().out.split()) == 2
    cli("rm", "-v", "volumes").ok()
    assert cli("volume", "ls", "-q").ok().out == "named\n"


def test_rename(cli: Client) -> None:
    cli("run", "-d", "--name", "before", BUSYBOX, "sleep", "100").ok()
    cli("run", "-d", "--name", "beside", BUSYBOX, "sleep", "100").ok()
    cli("rename", "before", "after").ok()
    assert cli("inspect", "-f", "{{.Name}}", "after").ok().line == "/after"
    assert cli("inspect", "before").status == 1
    done = cli("rename", "after", "beside")
    assert done.status == 1
    assert "already in use" in done.err


def test_container_prune(cli: Client) -> None:
    cli("run", "--name", "old", BUSYBOX, "true").ok()
    cli("run", "-d", "--name", "young", BUSYBOX, "sleep", "100").ok()
    assert "Total reclaimed space" in cli("container", "prune", "-f").ok().out
    assert cli("ps", "-a", "--format", "{{.Names}}").ok().line == "young"


def test_wait_for_several(cli: Client) -> None:
    for status in (1, 2):
        cli("run", "-d", "--name", f"ends{status}", BUSYBOX, "sh", "-c", f"exit {status}").ok()
    assert cli("wait", "ends1", "ends2").ok().out == "1\n2\n"


def test_wait_for_removal(cli: Client, engine: Engine, tmp_path: Path) -> None:
    # Not by an exec: docker's client asks for its exit code when the container may be gone, and the exec with it.
    script = "until [ -e /from/go ]; do sleep 0.05; done; exit 6"
    cli("run", "-d", "--rm", "--name", "goes", "-v", f"{tmp_path}:/from", BUSYBOX, "sh", "-c", script).ok()
    with Relay(tmp_path / "relay", engine) as relay:
        waiting = cli.popen("-H", relay.host, "wait", "goes")
        wait_until(lambda: relay.answered("/containers/goes/wait"), 30, "the wait")
        (tmp_path / "go").touch()
        assert waiting.communicate(timeout=60) == (b"6\n", b"")
    wait_until(lambda: cli("inspect", "goes").status == 1, what="the removal")


def test_wait_conditions(cli: Client, engine) -> None:
    """The API's conditions: not-running answers at once for what never ran, next-exit waits, removed outlives it."""
    cli("create", "--name", "conditions", BUSYBOX, "sh", "-c", "exit 8").ok()
    assert engine.api("POST", "/containers/conditions/wait?condition=not-running").json()["StatusCode"] == 0
    bad = engine.api("POST", "/containers/conditions/wait?condition=nonsense")
    assert bad.status == 400
    assert "nonsense" in bad.message


def test_states_of_what_is_unknown(cli: Client) -> None:
    for command in ("start", "stop", "kill", "restart", "pause", "unpause", "wait", "logs", "port", "rename"):
        arguments = ("other",) if command == "rename" else ()
        done = cli(command, "nobody", *arguments)
        assert done.status == 1, command
        assert "No such container: nobody" in done.err, (command, done.err)
