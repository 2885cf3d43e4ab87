"""Namespaces that containers share: with the host, and with each other, and what happens when one ends."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Client
from tests.support.waiting import wait_until


def sleeper(cli: Client, name: str, *options: str) -> str:
    cli("run", "-d", "--name", name, *options, BUSYBOX, "sleep", "1000").ok()
    return name


def state(cli: Client, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(cli("inspect", "-f", "{{json .State}}", name).ok().out)
    return found


@pytest.mark.parametrize(("option", "kind"), [("network", "network"), ("pid", "PID"), ("ipc", "IPC")])
def test_joining_one_that_does_not_run(cli: Client, option: str, kind: str) -> None:
    cli("create", "--name", "donor", "--ipc", "shareable", BUSYBOX, "true").ok()
    done = cli("run", "--rm", f"--{option}", "container:donor", BUSYBOX, "true")
    assert done.status != 0
    assert f"cannot join {kind} namespace of a non running container" in done.err


def test_the_end_of_the_first_process_of_a_shared_pid_namespace_is_everybodys(cli: Client) -> None:
    sleeper(cli, "donor")
    sleeper(cli, "joined", "--pid", "container:donor")
    cli("kill", "donor").ok()
    wait_until(lambda: state(cli, "joined")["Status"] == "exited", what="the end of the one that joined")
    assert state(cli, "joined")["ExitCode"] == 137
    done = cli("start", "joined")
    assert "cannot join PID namespace of a non running container" in done.err
    cli("start", "donor").ok()
    cli("start", "joined").ok()
    assert "sleep 1000" in cli("exec", "joined", "ps").ok().out


def test_a_shared_network_outlives_the_one_that_brought_it(cli: Client) -> None:
    sleeper(cli, "donor")
    sleeper(cli, "joined", "--network", "container:donor")
    address = cli("exec", "donor", "ip", "-4", "-o", "addr", "show", "eth0").ok().out
    assert cli("exec", "joined", "ip", "-4", "-o", "addr", "show", "eth0").ok().out == address
    cli("stop", "-t", "0", "donor").ok()
    assert cli("exec", "joined", "true").ok()
    cli("start", "donor").ok()
    cli("restart", "-t", "0", "joined").ok()
    wanted = cli("exec", "donor", "readlink", "/proc/self/ns/net").ok().out
    assert cli("exec", "joined", "readlink", "/proc/self/ns/net").ok().out == wanted


def test_shared_memory(cli: Client) -> None:
    sleeper(cli, "donor", "--ipc", "shareable")
    sleeper(cli, "private")
    cli("run", "--rm", "--ipc", "container:donor", BUSYBOX, "touch", "/dev/shm/mine").ok()
    assert cli("exec", "donor", "ls", "/dev/shm").ok().line == "mine"
    done = cli("run", "--rm", "--ipc", "container:private", BUSYBOX, "true")
    assert "non-shareable IPC (hint: use IpcMode:shareable for the donor container)" in done.err
    assert "No such file" in cli("run", "--rm", "--ipc", "none", BUSYBOX, "ls", "/dev/shm").err


def test_users_of_namespaces_keep_their_own_others(cli: Client) -> None:
    sleeper(cli, "donor")
    script = "for n in pid ipc uts mnt net; do readlink /proc/self/ns/$n; done"
    theirs = cli("exec", "donor", "sh", "-c", script).ok().out.split()
    mine = cli("run", "--rm", "--network", "container:donor", BUSYBOX, "sh", "-c", script).ok().out.split()
    assert [one == two for one, two in zip(theirs, mine, strict=True)] == [False, False, False, False, True]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--mount", r"type=npipe,src=\\.\pipe\x,dst=/x"], "mount type unknown"),
        (["--sysctl", "net.ipv4.ip_forward=1", "--network", "host"], "is not allowed in the host network namespace"),
        (["--sysctl", "kernel.shmmax=1", "--ipc", "host"], "is not allowed as ipc mode is host"),
        (["--security-opt", "label=bogus:x"], "invalid --security-opt 2"),
        (["--security-opt", "apparmor=no-such-profile"], "no-such-profile"),
        (["--cap-drop", "NONSENSE"], 'invalid CapDrop: unknown capability: "CAP_NONSENSE"'),
        (["--user", "4294967296"], "uids and gids must be in range 0-2147483647"),
        (["--user", "0:no-such-group"], "unable to find group no-such-group: no matching entries in group file"),
        (["--group-add", "no-such-group"], "Unable to find group no-such-group: no matching entries in group file"),
        (["--runtime", "no-such-runtime"], "unknown or invalid runtime name: no-such-runtime"),
        (["--tmpfs", "/x:bogus"], 'Invalid tmpfs option "bogus"'),
        (["--ipc", "bogus"], "bogus"),
        (["--uts", "host", "--hostname", "x"], "conflicting options: hostname and the UTS mode"),
        (["--mount", "type=volume,src=data,dst=/x,volume-subpath=../a"], "subpath must be a relative path"),
    ],
)
def test_refused(cli: Client, options: list[str], said: str) -> None:
    done = cli("run", "--rm", *options, BUSYBOX, "true")
    assert done.status == 125
    assert said in done.err


def test_a_runtime_with_arguments(new_engine, tmp_path: Path) -> None:
    """`runtimeArgs` of daemon.json go before the runtime's command, in every call."""
    program = tmp_path / "recorder"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\nexec crun "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    config = tmp_path / "daemon.json"
    config.write_text(json.dumps({"runtimes": {"mine": {"path": str(program), "runtimeArgs": ["--debug"]}}}))
    engine = new_engine("--config-file", str(config))
    engine.darse("run", "-d", "--runtime", "mine", "--name", "cc", BUSYBOX, "sleep", "1000").ok()
    engine.darse("exec", "cc", "true").ok()
    calls = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]
    assert all("--debug" in call[:3] for call in calls), calls
    assert {"create", "start", "exec"} <= {word for call in calls for word in call}
    shown = json.loads(engine.darse("info", "-f", "{{json .Runtimes}}").ok().out)["mine"]
    assert shown == {"path": str(program), "runtimeArgs": ["--debug"]}
