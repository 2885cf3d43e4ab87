"""A data root that the kernel has made read-only after an error of the disk."""

from __future__ import annotations

import subprocess

from tests.support.engine import BUSYBOX


def test_a_disk_that_turns_read_only(starve):
    starved = starve("data", "-e", "remount-ro")
    engine, docker = starved.engine, starved.docker
    docker("run", "-d", "--name", "stays", BUSYBOX, "sh", "-c", "trap 'exit 7' TERM; sleep 1000 & wait").ok()
    docker("run", "--name", "ended", BUSYBOX, "sh", "-c", "exit 5")
    starved.disk.fail()
    assert "read-only file system" in docker("create", BUSYBOX, "true").err
    assert "read-only file system" in docker("volume", "create", "vol").err
    assert "read-only file system" in docker("rename", "ended", "other").err
    assert docker("ps", "-aq", "--filter", "name=ended").ok().line
    docker("stop", "-t", "5", "stays", timeout=30).ok()
    before = starved.state("stays")
    assert (before["Status"], before["ExitCode"]) == ("exited", 7)
    assert docker("wait", "stays").ok().line == "7"
    assert engine.stop() == 0
    assert "Traceback" not in engine.log(1 << 20), engine.log(1 << 20)
    done = subprocess.run(engine.command(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "ead-only file system" in done.stderr
    assert "Traceback" not in done.stderr
    starved.disk.repair()
    engine.up()
    now = starved.state("stays")
    assert (now["Status"], now["ExitCode"], now["FinishedAt"]) == ("exited", 7, before["FinishedAt"])
    docker("start", "stays").ok()
    starved.end()
