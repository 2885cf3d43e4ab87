"""Restart policies: who comes back after an end, after a stop, and with the engine."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Client, Engine
from tests.support.waiting import wait_until


def look(cli: Client, container: str) -> dict:
    return json.loads(cli("inspect", container).ok().out)[0]


def status(cli: Client, container: str) -> str:
    return look(cli, container)["State"]["Status"]


def restarts(cli: Client, container: str) -> int:
    return look(cli, container)["RestartCount"]


def end(pid: int) -> None:
    """SIGKILL a process of the host, and return when it has ended."""
    descriptor = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        assert select.select([descriptor], [], [], 10)[0], f"process {pid} did not end"
    finally:
        os.close(descriptor)


def test_always_comes_back_with_growing_delays(cli: Client) -> None:
    loop = cli("run", "-d", "--name", "loop", "--restart", "always", BUSYBOX, "sh", "-c", "echo x; exit 3").ok().line
    wait_until(lambda: restarts(cli, "loop") >= 4, what="the fourth end")
    assert look(cli, "loop")["State"]["Running"]
    events = cli(
        "events",
        "--since",
        "1m",
        "--until",
        f"{time.time():.9f}",
        "--filter",
        f"container={loop}",
        "--format",
        "{{json .}}",
    )
    told = [json.loads(line) for line in events.ok().out.splitlines()]
    ends = [one["timeNano"] for one in told if one["Action"] == "die"]
    starts = [one["timeNano"] for one in told if one["Action"] == "start"]
    delays = [(start - end) / 1e9 for end, start in zip(ends[:3], starts[1:4], strict=True)]
    assert all(wanted <= delay < wanted + 1 for wanted, delay in zip((0.1, 0.2, 0.4), delays, strict=True)), delays
    assert cli("logs", "loop").ok().out.count("x\n") >= 4


def test_while_it_waits_it_is_restarting(cli: Client) -> None:
    cli("run", "-d", "--name", "crash", "--restart", "always", BUSYBOX, "sh", "-c", "exit 7").ok()
    wait_until(lambda: restarts(cli, "crash") >= 5 and status(cli, "crash") == "restarting", what="a pause")
    state = look(cli, "crash")["State"]
    assert (state["Running"], state["Restarting"], state["ExitCode"], state["Pid"]) == (True, True, 7, 0)
    assert cli("ps", "--format", "{{.Status}}").ok().line.startswith("Restarting (7) ")
    assert cli("ps", "-q", "--filter", "status=restarting").ok().line
    for command in (("exec", "crash", "true"), ("pause", "crash"), ("attach", "crash")):
        done = cli(*command)
        assert done.status != 0
        assert "restarting" in done.err, done
        assert "wait until" in done.err, done
    done = cli("rm", "crash")
    assert done.status == 1
    assert 'cannot remove container "/crash": container is restarting: stop the container before removing' in done.err
    cli("start", "crash").ok()  # as docker: it counts as running
    assert cli("stop", "crash").ok().line == "crash"
    assert status(cli, "crash") == "exited"
    before = restarts(cli, "crash")
    cli("start", "crash").ok()
    assert restarts(cli, "crash") <= before
    cli("rm", "-f", "crash").ok()


def test_on_failure_ends_after_its_tries_or_a_success(cli: Client) -> None:
    cli("run", "-d", "--name", "thrice", "--restart", "on-failure:2", BUSYBOX, "sh", "-c", "echo x; exit 1").ok()
    wait_until(lambda: status(cli, "thrice") == "exited", what="the end of the tries")
    assert (restarts(cli, "thrice"), cli("logs", "thrice").ok().out) == (2, "x\nx\nx\n")
    script = "test -e /done && exit 0; touch /done; exit 1"
    cli("run", "-d", "--name", "once", "--restart", "on-failure", BUSYBOX, "sh", "-c", script).ok()
    wait_until(lambda: status(cli, "once") == "exited", what="the success")
    assert (restarts(cli, "once"), look(cli, "once")["State"]["ExitCode"]) == (1, 0)


def test_stop_and_kill_are_for_good(cli: Client) -> None:
    for name, how in (("stopped", ("stop", "-t", "0")), ("killed", ("kill",)), ("termed", ("kill", "-s", "TERM"))):
        script = "trap 'exit 4' TERM; echo ready; while :; do sleep 0.05; done"
        cli("run", "-d", "--name", name, "--restart", "always", BUSYBOX, "sh", "-c", script).ok()
        wait_until(lambda name=name: "ready" in cli("logs", name).ok().out, what="the program")
        cli(*how, name).ok()
        wait_until(lambda name=name: status(cli, name) == "exited", what="the end")
        assert restarts(cli, name) == 0


def test_another_signal_leaves_the_policy_in_force(cli: Client) -> None:
    cli(
        "run",
        "-d",
        "--name",
        "hup",
        "--restart",
        "always",
        BUSYBOX,
        "sh",
        "-c",
        "trap 'exit 5' HUP; echo ready; while :; do sleep 0.05; done",
    ).ok()
    wait_until(lambda: "ready" in cli("logs", "hup").ok().out, what="the program")
    cli("kill", "-s", "HUP", "hup").ok()
    wait_until(lambda: restarts(cli, "hup") == 1 and status(cli, "hup") == "running", what="the restart")


def test_an_attached_client_gets_the_first_end(cli: Client) -> None:
    done = cli("run", "--name", "first", "--restart", "on-failure:1", BUSYBOX, "sh", "-c", "echo out; exit 6")
    assert (done.status, done.out) == (6, "out\n")


def test_restart_does_not_count_and_ends_waiting(cli: Client) -> None:
    cli("run", "-d", "--name", "again", "--restart", "always", BUSYBOX, "sleep", "100").ok()
    cli("restart", "-t", "0", "again").ok()
    assert (status(cli, "again"), restarts(cli, "again")) == ("running", 0)


def test_who_comes_back_with_the_engine(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine("--live-restore=false")
    cli = engine.docker
    for name, policy in (("no", "no"), ("always", "always"), ("unless", "unless-stopped"), ("failure", "on-failure")):
        cli("run", "-d", "--name", name, "--restart", policy, BUSYBOX, "sleep", "1000").ok()
    for name, policy in (("always-stopped", "always"), ("unless-stopped", "unless-stopped")):
        cli("run", "-d", "--name", name, "--restart", policy, BUSYBOX, "sleep", "1000").ok()
        cli("stop", "-t", "0", name).ok()
    cli("create", "--name", "created", "--restart", "always", BUSYBOX, "sleep", "1000").ok()
    engine.restart()
    wait_until(lambda: status(cli, "always-stopped") == "running", what="always")
    for name in ("always", "unless", "failure"):
        wait_until(lambda name=name: status(cli, name) == "running", what=name)
    assert status(cli, "no") == "exited"
    assert status(cli, "unless-stopped") == "exited"
    assert status(cli, "created") == "created"


@pytest.mark.parametrize("said", ["stopping", "running"])
def test_containers_are_stopped_when_the_machine_is(
    new_engine: Callable[..., Engine], tmp_path: Path, said: str
) -> None:
    """As systemd says it; they are back with the engine after the boot. At other times they run on."""
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f'#!/bin/sh\n[ "$*" = is-system-running ] && echo {said}; exit 1\n')
    systemctl.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    engine = new_engine(environment={"PATH": path, "INVOCATION_ID": "00112233445566778899aabbccddeeff"})
    script = "trap 'echo asked >>/v/log; exit 0' TERM; echo ready; sleep 1000 & wait"
    options = ("--restart", "unless-stopped", "-v", "data:/v")
    engine.docker("run", "-d", "--name", "box", *options, BUSYBOX, "sh", "-c", script).ok()
    wait_until(lambda: "ready" in engine.docker("logs", "box").out, 10, "the trap")
    before = look(engine.docker, "box")["State"]["Pid"]
    assert engine.stop() == 0
    assert Path(f"/proc/{before}").exists() == (said == "running")
    engine.up()
    wait_until(lambda: status(engine.docker, "box") == "running", what="the container after the boot")
    asked = engine.docker("exec", "box", "sh", "-c", "cat /v/log || true").ok().line
    assert asked == ("asked" if said == "stopping" else "")


def test_an_end_that_no_engine_saw_is_followed_by_a_restart(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    cli = engine.docker
    cli("run", "-d", "--name", "back", "--restart", "unless-stopped", BUSYBOX, "sleep", "1000").ok()
    cli("run", "-d", "--name", "gone", "--rm", BUSYBOX, "sleep", "1000").ok()
    pids = [look(cli, name)["State"]["Pid"] for name in ("back", "gone")]
    engine.kill9()
    for pid in pids:
        end(pid)
    engine.up()
    wait_until(lambda: status(cli, "back") == "running", what="the restart")
    assert restarts(cli, "back") == 1
    assert cli("inspect", "gone").status == 1


def test_a_pause_between_two_starts_survives_the_engine(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    cli = engine.docker
    cli("run", "-d", "--name", "crash", "--restart", "always", BUSYBOX, "sh", "-c", "exit 7").ok()
    wait_until(lambda: restarts(cli, "crash") >= 3 and status(cli, "crash") == "restarting", what="a pause")
    before = restarts(cli, "crash")
    engine.kill9()
    engine.up()
    wait_until(lambda: restarts(cli, "crash") > before, what="the next restart")


def test_what_cannot_start_now_is_tried_again(cli: Client) -> None:
    cli("run", "-d", "--name", "host", BUSYBOX, "sleep", "1000").ok()
    cli(
        "run",
        "-d",
        "--name",
        "guest",
        "--restart",
        "always",
        "--network",
        "container:host",
        BUSYBOX,
        "sh",
        "-c",
        "sleep 1000",
    ).ok()
    cli("kill", "host").ok()
    end(look(cli, "guest")["State"]["Pid"])
    wait_until(lambda: "non running container" in look(cli, "guest")["State"]["Error"], what="the failed start")
    cli("start", "host").ok()
    wait_until(lambda: status(cli, "guest") == "running", what="the start that works")


def test_stop_and_forced_removal_win_against_a_start_that_is_under_way(engine: Engine) -> None:
    host = {"RestartPolicy": {"Name": "always"}}
    crashing = []
    for _ in range(30):
        body = {"Image": BUSYBOX, "Cmd": ["false"], "HostConfig": host}
        crashing.append(engine.api("POST", "/containers/create", body).json()["Id"])
        assert engine.api("POST", f"/containers/{crashing[-1]}/start").status == 204
    for number, container in enumerate(crashing):
        if number % 2:
            assert engine.api("POST", f"/containers/{container}/stop").status in (204, 304)
            assert not engine.api("GET", f"/containers/{container}/json").json()["State"]["Running"]
        gone = engine.api("DELETE", f"/containers/{container}?force=1")
        assert gone.status == 204, gone.body
