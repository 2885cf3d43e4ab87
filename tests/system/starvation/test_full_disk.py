"""An engine whose data root is full: nothing is lost, and its own means free the disk."""

from __future__ import annotations

import os
import signal

import pytest
from tests.support.engine import BUSYBOX
from tests.support.waiting import wait_until


@pytest.mark.parametrize("root", ["data", "exec"])
def test_exits_are_kept_and_told(starve, root):
    starved = starve(root)
    engine, docker = starved.engine, starved.docker
    docker("run", "-d", "--name", "waits", "-i", BUSYBOX, "sh", "-c", "read x; exit 7").ok()
    docker("run", "-d", "--name", "sleeps", BUSYBOX, "sleep", "1000").ok()
    docker("run", "-d", "--rm", "--name", "goes", BUSYBOX, "sleep", "1000").ok()
    docker("run", "-d", "--name", "alone", BUSYBOX, "sleep", "1000").ok()
    pid = starved.state("alone")["Pid"]
    starved.disk.fill()
    waiter = docker.popen("wait", "waits")
    docker("kill", "waits", timeout=15).ok()
    assert waiter.communicate(timeout=15)[0].decode().strip() == "137"
    docker("stop", "-t", "1", "sleeps", timeout=15).ok()
    docker("kill", "goes", timeout=15).ok()
    wait_until(lambda: engine.api("GET", "/containers/goes/json").status == 404, what="the removal of goes")
    before = {name: starved.state(name) for name in ("waits", "sleeps")}
    engine.kill9()
    if root == "data":
        os.kill(pid, signal.SIGKILL)  # while no engine runs
    starved.disk.fill()
    engine.up()
    for name, state in before.items():
        now = starved.state(name)
        assert (now["Status"], now["ExitCode"], now["FinishedAt"]) == ("exited", state["ExitCode"], state["FinishedAt"])
    if root == "data":
        alone = starved.state("alone")
        assert (alone["Status"], alone["ExitCode"]) == ("exited", 137)
    starved.end()


def test_starts_and_removes_without_a_byte(starve):
    starved = starve()
    engine, docker, disk = starved.engine, starved.docker, starved.disk
    docker("run", "-d", "--name", "goes", "-v", "data:/data", BUSYBOX, "sleep", "1000").ok()
    docker("network", "create", "net").ok()
    docker("tag", BUSYBOX, "other:1").ok()
    disk.fill()
    engine.kill9()
    disk.fill()
    engine.up()
    disk.fill()
    assert engine.stop() == 0
    disk.fill()
    engine.up()
    disk.fill()
    docker("rm", "-f", "goes", timeout=15).ok()
    docker("rmi", "other:1", timeout=15).ok()
    docker("volume", "rm", "data", timeout=15).ok()
    docker("network", "rm", "net", timeout=15).ok()
    docker("system", "prune", "-af", timeout=15).ok()
    starved.end()


def test_many_changes_go_on_without_a_byte(starve):
    """The database's log is begun again after each checkpoint: its space does not run out."""
    starved = starve()
    starved.docker("create", "--name", "one", BUSYBOX, "true").ok()
    starved.disk.fill()
    for number in range(600):
        old, new = ("one", "two") if number % 2 == 0 else ("two", "one")
        answer = starved.engine.api("POST", f"/containers/{old}/rename?name={new}")
        assert answer.status == 204, (number, answer.body)
    starved.engine.kill9()
    starved.engine.up()
    assert starved.docker("ps", "-a", "--format", "{{.Names}}").ok().line == "one"
    starved.end()
