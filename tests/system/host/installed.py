"""What is seen of darse by docker's client, with nothing set, on a machine where it was installed in some way.

`make test-guest` has such a machine for each way (tests/support/guest.py), shows what is to be installed, and boots it
again when a test asks for that.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.engine import REPOSITORY
from tests.support.waiting import wait_until

SHOWN = os.environ.get("DARSE_TEST_PACKAGES", "")
CONTAINERS = 20
DOCKER = "/usr/local/bin/docker"
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "DOCKER_CLI_HINTS": "false",
}
_NEXT = os.environ.get("DARSE_TEST_NEXT", "")
_BOOTED = bool(os.environ.get("DARSE_TEST_BOOTED"))
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NOTES = Path("/var/lib/darse-test-notes.json")

# It ends as it is asked to, by a signal of its own, and leaves a note of that.
_COMMAND = "trap 'touch /v/$0.asked; exit 0' USR1; while :; do sleep 1000 & wait; done"

THROWAWAY = [
    pytest.mark.timeout(2400),
    pytest.mark.skipif(
        not (SHOWN and os.environ.get("DARSE_TEST_THROWAWAY") and Path("/run/systemd/system").is_dir()),
        reason="no throw-away machine with systemd to install on: `make test-guest` has one",
    ),
]
BEFORE_A_BOOT = pytest.mark.skipif(_BOOTED, reason="comes before the machine boots again")
AFTER_A_BOOT = pytest.mark.skipif(not _BOOTED, reason="comes when the machine has booted again")


def run(*command: str, seconds: int = 900) -> str:
    """Run a program with nothing set that says where an engine is; what it printed. Raises AssertionError."""
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=seconds,
        env=ENVIRONMENT,
        cwd="/",
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}"
    return done.stdout


def timed(what: str, *command: str) -> str:
    """Run a program, and print how long it took; what it printed."""
    begin = time.monotonic()
    printed = run(*command)
    print(f"{what}: {time.monotonic() - begin:.1f} s", flush=True)
    return printed


def state(unit: str, member: str = "ActiveState") -> str:
    """What systemd knows of a unit."""
    return run("systemctl", "show", "--value", "-p", member, unit).strip()


def bring_the_client() -> None:
    """Have docker's own client on the machine, which has none."""
    shutil.copy2(REPOSITORY / ".venv/libexec/docker", DOCKER)


def pids() -> dict[str, int]:
    """The processes of all running containers, by name."""
    names = run("docker", "ps", "--format", "{{.Names}}").split()
    documents = json.loads(run("docker", "inspect", *names)) if names else []
    return {one["Name"].removeprefix("/"): one["State"]["Pid"] for one in documents}


def start_containers() -> None:
    """As many as CONTAINERS, each with a restart policy and a volume."""
    assert run("docker", "run", "--rm", "builtin/busybox", "echo", "there").strip() == "there"
    for number in range(CONTAINERS):
        options = ("--name", f"c{number}", "--restart", "always", "-v", "data:/v", "--stop-signal", "USR1")
        run("docker", "run", "-d", *options, "builtin/busybox", "sh", "-c", _COMMAND, f"c{number}")
    run("docker", "exec", "c0", "touch", "/v/kept")


def commit_of(version: str) -> str:
    """The commit that `old` or `new` is of."""
    return (Path(SHOWN) / version / "commit").read_text()


def upgrade(install: Callable[[], object]) -> None:
    """Have `install` bring the newer engine; no container notices."""
    assert commit_of("old") in run("docker", "version", "--format", "{{json .Server}}")
    before, engine = pids(), state("darsed.service", "MainPID")
    assert len(before) == CONTAINERS
    install()
    assert pids() == before
    assert state("darsed.service", "MainPID") != engine
    assert state("darsed.service", "NRestarts") == "0"
    assert commit_of("new") in run("docker", "version", "--format", "{{json .Server}}")
    assert run("docker", "exec", "c7", "echo", "there").strip() == "there"
    run("systemctl", "reload", "darsed")
    assert (state("darsed.service"), pids()) == ("active", before)
    print(
        f"upgrade from {commit_of('old')} to {commit_of('new')}: {CONTAINERS} containers with the same processes",
        flush=True,
    )


def boot_again(*tests: str) -> None:
    """Have the machine boot when this session is over, and go on there with tests."""
    if not _NEXT:
        pytest.skip("what is before a boot was seen; this machine cannot boot again (tests/support/guest.py)")
    _NOTES.write_text(json.dumps({"boot": _BOOT.read_text(), "time": time.time(), "pids": pids()}))
    Path(_NEXT).write_text("\n".join(tests))


def check_the_boot() -> None:
    """The engine runs before a client has asked for it, and all containers do."""
    notes = json.loads(_NOTES.read_text())
    assert notes["boot"] != _BOOT.read_text()
    with open("/proc/uptime", encoding="ascii") as file:
        print(f"shutdown: {time.time() - notes['time'] - float(file.read().split()[0]):.0f} s", flush=True)
    assert state("darsed.service") == "active"
    wait_until(lambda: pids().keys() == notes["pids"].keys(), 600, "all containers to run again")
    asked = run("docker", "exec", "c3", "ls", "/v").split()
    assert asked == sorted([*(f"{name}.asked" for name in notes["pids"]), "kept"])
    assert "inet 172" in run("docker", "exec", "c5", "ip", "-4", "addr", "show", "eth0")
    print(f"boot: {CONTAINERS} containers with a restart policy run")


def run_on(before: dict[str, int]) -> bool:
    """Whether all of the processes are there."""
    return len(before) == CONTAINERS and all(Path(f"/proc/{pid}").exists() for pid in before.values())


def check_that_all_is_found(before: dict[str, int]) -> None:
    """After another installation: the same containers, processes and volumes. They are removed."""
    assert pids() == before
    assert "kept" in run("docker", "exec", "c3", "ls", "/v").split()
    run("docker", "rm", "-f", *before)
    assert not run_on(before)
    print("removal and installation: the same containers, processes and volumes")
