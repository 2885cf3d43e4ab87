#!/usr/bin/env python3
"""Install darse as a service of systemd: the engine starts with the machine, or with the first client.

    units.py install [--docker] [--root DIR]    write, enable and start the units
    units.py remove [--root DIR]                stop, disable and remove them; containers run on

With `--docker` the socket is docker's too (/run/docker.sock), and `docker` is a name of `darse`: what has these built
in finds them. With `--root` nothing is started: DIR is the root of another system.

See systemd.service(5), systemd.socket(5), sd_listen_fds(3), and docs/configuration.md.
"""

from __future__ import annotations

import argparse
import grp
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

COMMANDS = Path(__file__).resolve().parent.parent / ".venv" / "bin"
UNITS = "etc/systemd/system"
DOCKER_LINK = "usr/local/bin/docker"
COMPOSE_LINK = "usr/local/bin/docker-compose"
# Units of Debian's docker.io and of docker's own packages.
DOCKERS_UNITS = ("lib/systemd/system/docker.socket", "usr/lib/systemd/system/docker.socket")

SOCKET = """[Unit]
Description=API socket of the darse container engine
Documentation=man:darsed(8)

[Socket]
ListenStream=/run/darse/darse.sock
{more}SocketMode=0660
SocketUser=root
SocketGroup={group}
DirectoryMode=0711

[Install]
WantedBy=sockets.target
"""

SERVICE = """[Unit]
Description=darse container engine
Documentation=man:darsed(8)
After=network-online.target nss-lookup.target firewalld.service nftables.service time-set.target
Wants=network-online.target
Requires=darsed.socket

[Service]
Type=notify
NotifyAccess=main
ExecStart={darsed} -H fd://
ExecReload=/bin/kill -s HUP $MAINPID
# Containers outlive the engine, and their control groups are its own.
KillMode=process
Delegate=yes
Restart=on-failure
RestartSec=1
# A database that is migrated, and containers that are taken over, take their time.
TimeoutStartSec=infinity
TimeoutStopSec=90
LimitNOFILE=1048576
TasksMax=infinity
OOMScoreAdjust=-500

[Install]
WantedBy=multi-user.target
"""


def main() -> None:
    """Install or remove."""
    parser = argparse.ArgumentParser(description="Install darse as a service of systemd, or remove it.")
    parser.add_argument("action", choices=("install", "remove"))
    parser.add_argument("--docker", action="store_true", help="be docker, too: its socket, and its command's name")
    parser.add_argument("--root", type=Path, default=Path("/"), help="the root of the system (/)")
    options = parser.parse_args()
    if os.geteuid() != 0:
        fail("only root can change the system's units: try sudo")
    if options.action == "install" and shutil.which("systemctl") is None:
        fail("there is no systemctl: this machine has no systemd. `darse` starts the engine when it is needed")
    if options.action == "install":
        install(options.root, docker=options.docker)
    else:
        remove(options.root)


def install(root: Path, *, docker: bool) -> None:
    """Write the units below `root` and enable them; on the running system (`/`) start them, too."""
    if not (COMMANDS / "darsed").exists():
        fail(f"{COMMANDS / 'darsed'} is not there: run `make setup` first")
    if docker:
        refuse_beside_docker(root)
    units = root / UNITS
    units.mkdir(parents=True, exist_ok=True)
    more = "ListenStream=/run/docker.sock\n" if docker else ""
    (units / "darsed.socket").write_text(SOCKET.format(more=more, group=socket_group()))
    (units / "darsed.service").write_text(SERVICE.format(darsed=COMMANDS / "darsed"))
    if docker:
        for name in (DOCKER_LINK, COMPOSE_LINK):
            link = root / name
            link.parent.mkdir(parents=True, exist_ok=True)
            # A docker-compose that is installed stays: it drives this engine as well.
            if not os.path.lexists(link):
                link.symlink_to(COMMANDS / "darse")
    systemctl(root, "enable", "darsed.socket", "darsed.service")
    if runs(root):
        systemctl(root, "daemon-reload")
        systemctl(root, "restart", "darsed.socket")
        systemctl(root, "start", "darsed.service")
        print("darsed runs, and starts with the machine: systemctl status darsed")
    else:
        print(f"{units}/darsed.socket and darsed.service are enabled")


def remove(root: Path) -> None:
    """Stop, disable and remove what `install` has written; fine when it is not there."""
    units = [one for one in ("darsed.service", "darsed.socket") if (root / UNITS / one).exists()]
    if units:
        if runs(root):
            systemctl(root, "stop", *units)
        systemctl(root, "disable", *units)
        for one in units:
            (root / UNITS / one).unlink()
        if runs(root):
            systemctl(root, "daemon-reload")
    for name in (DOCKER_LINK, COMPOSE_LINK):
        if is_ours(root / name):
            (root / name).unlink()
    print("darsed is no service any more; containers run on, `darse` starts an engine when it is needed")


def refuse_beside_docker(root: Path) -> None:
    """Docker's socket and name are taken where docker is installed."""
    for one in DOCKERS_UNITS:
        if (root / one).exists():
            fail(f"docker is installed here (/{one}), and its socket is its own: remove docker, or leave out --docker")
    link = root / DOCKER_LINK
    if os.path.lexists(link) and not is_ours(link):
        fail(f"there is another docker at {link}: move it, or leave out --docker")


def is_ours(link: Path) -> bool:
    """Whether a link leads to our command."""
    return link.is_symlink() and os.readlink(link) == str(COMMANDS / "darse")


def socket_group() -> str:
    """Who may use the socket beside root: docker, else darse, else nobody, as with darsed's own `--group`."""
    known = {one.gr_name for one in grp.getgrall()}
    return next((name for name in ("docker", "darse") if name in known), "root")


def runs(root: Path) -> bool:
    """Whether `root` is the running system's, with systemd as its first process (sd_booted(3))."""
    return root == Path("/") and Path("/run/systemd/system").is_dir()


def systemctl(root: Path, *words: str) -> None:
    """Call systemctl; what it says of its own links stays unsaid."""
    where = [] if root == Path("/") else [f"--root={root}"]
    done = subprocess.run(["systemctl", *where, "--quiet", *words], check=False)
    if done.returncode:
        fail(f"systemctl {' '.join(words)} ended with {done.returncode}")


def fail(text: str) -> NoReturn:
    """End with a reason."""
    sys.exit(f"units.py: {text}")


if __name__ == "__main__":
    main()
