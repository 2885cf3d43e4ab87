"""The Debian packages on a machine of their own: installed, used by docker's client, upgraded, purged, installed again.

`make test-guest` builds them before, and passes their directory (DARSE_TEST_PACKAGES).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from tests.support.engine import REPOSITORY
from tests.support.waiting import wait_until

PACKAGES = os.environ.get("DARSE_TEST_PACKAGES", "")
CONTAINERS = 20
DOCKER = "/usr/local/bin/docker"
PROFILES = Path("/sys/kernel/security/apparmor/profiles")
# Machines that were made small keep dpkg from unpacking documentation (dpkg.cfg(5)); Debian's installer does not.
EXCLUDES = Path("/etc/dpkg/dpkg.cfg.d")

pytestmark = [
    pytest.mark.timeout(2400),
    pytest.mark.skipif(
        not (PACKAGES and os.environ.get("DARSE_TEST_THROWAWAY") and Path("/run/systemd/system").is_dir()),
        reason="no throw-away machine with systemd to install packages on: `make test-guest` has one",
    ),
]


def run(*command: str, seconds: int = 900) -> str:
    """Run a program with nothing set that says where an engine is; what it printed. Raises AssertionError."""
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
    environment |= {"DEBIAN_FRONTEND": "noninteractive", "LANG": "C.UTF-8", "DOCKER_CLI_HINTS": "false"}
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=seconds,
        env=environment,
        cwd="/",
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}"
    return done.stdout


def install(name: str) -> str:
    return run("apt-get", "install", "-y", "--no-install-recommends", str(Path(PACKAGES) / name))


def state(unit: str, member: str = "ActiveState") -> str:
    return run("systemctl", "show", "--value", "-p", member, unit).strip()


def pids() -> dict[str, int]:
    """The processes of all running containers, by name."""
    names = run("docker", "ps", "--format", "{{.Names}}").split()
    documents = json.loads(run("docker", "inspect", *names)) if names else []
    return {one["Name"].removeprefix("/"): one["State"]["Pid"] for one in documents}


def test_install_use_upgrade_purge_and_install_again() -> None:
    for file in EXCLUDES.iterdir():
        file.write_text(
            "".join(line for line in file.read_text().splitlines(keepends=True) if "path-exclude" not in line)
        )
    shutil.copy2(REPOSITORY / ".venv/libexec/docker", DOCKER)
    install("old.deb")
    assert (state("darsed.socket"), state("darsed.service")) == ("active", "active")
    assert state("darsed.service", "WatchdogUSec") == "2min"
    socket = os.stat("/run/darse/darse.sock")
    assert run("stat", "-c", "%U:%G", "/run/darse/darse.sock").strip() == "root:darse"
    assert socket.st_mode & 0o777 == 0o660
    for page in ("man1/darse.1.gz", "man1/darse-container-run.1.gz", "man8/darsed.8.gz", "man5/darse-daemon.json.5.gz"):
        assert Path("/usr/share/man", page).exists()
    for script in ("bash-completion/completions/darse", "zsh/vendor-completions/_darse"):
        assert Path("/usr/share", script).exists()
    # docker's client, with nothing set.
    assert "docker stays what it is" in run("darse", "system", "takeover")
    assert run("docker", "run", "--rm", "builtin/busybox", "echo", "there").strip() == "there"
    if PROFILES.exists():
        confined = run("docker", "run", "--rm", "builtin/busybox", "cat", "/proc/self/attr/current")
        assert confined.strip() == "darse-default (enforce)"
    for number in range(CONTAINERS):
        run(
            "docker",
            "run",
            "-d",
            "--name",
            f"c{number}",
            "--restart",
            "always",
            "-v",
            "data:/v",
            "builtin/busybox",
            "sleep",
            "100000",
        )
    run("docker", "exec", "c0", "touch", "/v/kept")
    _upgrade()
    _boot()
    _purge_and_install_again()


def _upgrade() -> None:
    """None of the containers notices."""
    before, engine = pids(), state("darsed.service", "MainPID")
    assert len(before) == CONTAINERS
    install("new.deb")
    assert pids() == before
    assert state("darsed.service", "MainPID") != engine
    assert state("darsed.service", "NRestarts") == "0"
    assert "newer" in run("docker", "version", "--format", "{{json .Server}}")
    assert run("docker", "exec", "c7", "echo", "there").strip() == "there"
    run("systemctl", "reload", "darsed")
    assert (state("darsed.service"), pids()) == ("active", before)
    print(f"upgrade: {CONTAINERS} containers with the same processes")


def _boot() -> None:
    """What a boot leaves, for this machine cannot: no process, nothing in /run. Then systemd starts its units."""
    before = pids()
    run("systemctl", "stop", "darsed.service", "darsed.socket", "darse-docker.socket")
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before.values()), 120, "the end of containers")
    shutil.rmtree("/run/darse", ignore_errors=True)
    run("systemd-tmpfiles", "--create", "darse.conf")
    run("systemctl", "start", "sockets.target", "darsed.socket", "darse-docker.socket", "darsed.service")
    wait_until(lambda: len(pids()) == CONTAINERS, 600, "all containers to run again")
    assert not set(pids().values()) & set(before.values())
    print(f"boot: {CONTAINERS} containers with a restart policy run")


def _purge_and_install_again() -> None:
    """Data and containers stay, and are found."""
    before = pids()
    told = run("apt-get", "purge", "-y", "darse")
    assert f"{CONTAINERS} containers run on" in told
    assert "/var/lib/darse is kept" in told
    assert not Path("/usr/lib/darse").exists()
    assert not Path("/usr/bin/darse").exists()
    assert all(Path(f"/proc/{pid}").exists() for pid in before.values())
    install("new.deb")
    run("systemctl", "restart", "darse-docker.socket")
    assert run("darse", "ps", "-q").count("\n") == CONTAINERS
    run("darse", "system", "takeover")
    assert pids() == before
    assert run("docker", "exec", "c3", "ls", "/v").strip() == "kept"
    run("docker", "rm", "-f", *before)
    print("purge and installation: the same containers, processes and volumes")


def test_a_package_has_dockers_names_and_socket() -> None:
    """`darse-docker`, instead of `darse system takeover`."""
    run("darse", "system", "takeover", "--undo")
    assert state("darse-docker.socket") == "inactive"
    assert not Path("/run/docker.sock").exists()
    os.unlink(DOCKER)
    install("darse-docker.deb")
    assert (state("darse-docker.socket"), state("darsed.service")) == ("active", "active")
    assert (
        run("docker", "-H", "unix:///run/docker.sock", "run", "--rm", "builtin/busybox", "echo", "there").strip()
        == "there"
    )
    assert run("docker-compose", "version", "--short").strip()
    run("apt-get", "purge", "-y", "darse-docker")
    assert not Path("/run/docker.sock").exists()
