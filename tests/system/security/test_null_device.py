"""The host's /dev/null is no container's: who has a descriptor of it can change its mode, for everybody."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.waiting import wait_until

NULL = "/dev/null"


@pytest.fixture(params=["crun", "runc"])
def running(engine: Engine, request: pytest.FixtureRequest) -> Iterator[Engine]:
    before = os.stat(NULL)
    flags = ("--init", "-u", "1000:7", "--runtime", request.param)
    engine.docker("run", "-d", "--name", "cc", *flags, BUSYBOX, "sleep", "600").ok()
    try:
        yield engine
        after = os.stat(NULL)
        assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    finally:
        os.chmod(NULL, stat.S_IMODE(before.st_mode))
        os.chown(NULL, before.st_uid, before.st_gid)
        engine.docker("rm", "-f", "cc").ok()


@pytest.mark.parametrize("flags", [(), ("-u", "0"), ("--privileged", "-u", "0")], ids=["user", "root", "privileged"])
def test_an_exec_without_input_reads_a_null_device_that_is_not_the_hosts(
    running: Engine, flags: tuple[str, ...]
) -> None:
    host = os.stat(NULL)
    told = running.docker("exec", *flags, "cc", "stat", "-L", "-c", "%d:%i %t:%T %F", "/proc/self/fd/0").ok().line
    identity, device, kind = told.split(" ", 2)
    assert (device, kind) == ("1:3", "character special file")
    assert identity != f"{host.st_dev}:{host.st_ino}"
    # root may; the exec's user may where the runtime has given it the device.
    running.docker("exec", *flags, "cc", "chmod", "662", "/proc/self/fd/0")
    assert os.stat(NULL).st_mode == host.st_mode
    # It can be opened again by its name, as programs do.
    running.docker("exec", *flags, "cc", "sh", "-c", "cat /dev/stdin && test -c /dev/stdin").ok()


def test_an_exec_in_the_background_and_a_probe(running: Engine) -> None:
    running.docker("exec", "-d", "cc", "sh", "-c", "chmod 662 /proc/self/fd/0; touch /tmp/done").ok()
    wait_until(lambda: running.docker("exec", "cc", "test", "-e", "/tmp/done").status == 0, what="the exec")
    flags = ("--health-cmd", "chmod 662 /proc/self/fd/0", "--health-interval", "100ms", "-u", "1000")
    running.docker("run", "-d", "--name", "probed", *flags, BUSYBOX, "sleep", "600").ok()
    health = ("inspect", "-f", "{{len .State.Health.Log}}", "probed")
    wait_until(lambda: running.docker(*health).ok().line != "0", what="a probe")
    running.docker("rm", "-f", "probed").ok()


def test_neither_is_that_of_a_container(engine: Engine) -> None:
    host = os.stat(NULL)
    for flags in ((), ("--privileged",), ("--log-driver", "none")):
        run = ("run", "--rm", *flags, BUSYBOX, "stat", "-L", "-c", "%d:%i", "/proc/self/fd/0", NULL)
        assert f"{host.st_dev}:{host.st_ino}" not in engine.docker(*run).ok().out.split()
