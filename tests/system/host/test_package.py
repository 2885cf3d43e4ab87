"""The Debian packages on a machine of their own: installed, used by docker's client, upgraded, purged, installed again.

`make test-guest` builds them before, and passes their directory (DARSE_TEST_PACKAGES).
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.system.host import installed
from tests.system.host.installed import AFTER_A_BOOT, BEFORE_A_BOOT, DOCKER, SHOWN, THROWAWAY, run, state

PROFILES = Path("/sys/kernel/security/apparmor/profiles")
# Machines that were made small keep dpkg from unpacking documentation (dpkg.cfg(5)); Debian's installer does not.
EXCLUDES = Path("/etc/dpkg/dpkg.cfg.d")

pytestmark = THROWAWAY


def install(name: str, version: str) -> str:
    (package,) = (Path(SHOWN) / version).glob(f"{name}_*.deb")
    command = ("apt-get", "install", "-y", "--no-install-recommends", str(package))
    return installed.timed(f"apt-get install {package.name}", *command)


@BEFORE_A_BOOT
def test_install_use_and_upgrade() -> None:
    for file in EXCLUDES.iterdir():
        file.write_text("".join(line for line in file.open() if "path-exclude" not in line))
    installed.bring_the_client()
    install("darse", "old")
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
    if PROFILES.exists():
        confined = run("docker", "run", "--rm", "builtin/busybox", "cat", "/proc/self/attr/current")
        assert confined.strip() == "darse-default (enforce)"
    installed.start_containers()
    installed.upgrade(lambda: install("darse", "new"))
    installed.boot_again(__file__)


@AFTER_A_BOOT
def test_containers_are_up_after_a_boot() -> None:
    installed.check_the_boot()


@AFTER_A_BOOT
def test_purge_and_another_installation() -> None:
    """Data and containers stay, and are found."""
    before = installed.pids()
    told = installed.timed("apt-get purge", "apt-get", "purge", "-y", "darse")
    print("".join(line for line in told.splitlines(keepends=True) if "darse" in line))
    assert f"{installed.CONTAINERS} containers run on" in told
    assert "/var/lib/darse is kept" in told
    assert "/etc/systemd/system/darse-docker.socket is kept" in told
    assert not Path("/usr/lib/darse").exists()
    assert not Path("/usr/bin/darse").exists()
    assert installed.run_on(before)
    install("darse", "new")
    assert run("darse", "ps", "-q").count("\n") == installed.CONTAINERS
    run("darse", "system", "takeover")
    installed.check_that_all_is_found(before)


@AFTER_A_BOOT
def test_a_package_has_dockers_names_and_socket() -> None:
    """`darse-docker`, instead of `darse system takeover`."""
    run("darse", "system", "takeover", "--undo")
    assert state("darse-docker.socket") == "inactive"
    assert not Path("/run/docker.sock").exists()
    os.unlink(DOCKER)
    install("darse-docker", "new")
    assert (state("darse-docker.socket"), state("darsed.service")) == ("active", "active")
    there = run("docker", "-H", "unix:///run/docker.sock", "run", "--rm", "builtin/busybox", "echo", "there")
    assert there.strip() == "there"
    assert run("docker-compose", "version", "--short").strip()
    run("apt-get", "purge", "-y", "darse-docker")
    assert not Path("/run/docker.sock").exists()
