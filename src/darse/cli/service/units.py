"""The units of systemd, and what goes with them: systemd.service(5), systemd.socket(5), sysusers.d(5), tmpfiles.d(5).

`python -m darse.cli.service.units DIRECTORY` writes them for a package, in which the programs are in /usr/bin and the
group is made at installation. Other installations write them by `darse system enable`.
"""

from __future__ import annotations

import os
import sys

SOCKET_UNIT = "darsed.socket"
SERVICE_UNIT = "darsed.service"
DOCKER_UNIT = "darse-docker.socket"
#: Where docker's clients look.
DOCKER_SOCKET = "/run/docker.sock"

_SOCKET = """[Unit]
Description=API socket of the darse container engine
Documentation=man:darsed(8)

[Socket]
ListenStream=/run/darse/darse.sock
SocketMode=0660
SocketUser=root
SocketGroup={group}
DirectoryMode=0711

[Install]
WantedBy=sockets.target
"""

_DOCKER = f"""[Unit]
Description=Docker's API socket, served by the darse container engine
Documentation=man:darsed(8)
Conflicts=docker.socket

[Socket]
ListenStream={DOCKER_SOCKET}
SocketMode=0660
SocketUser=root
SocketGroup={{group}}
Service={SERVICE_UNIT}
RemoveOnStop=yes

[Install]
WantedBy=sockets.target
"""

_SERVICE = """[Unit]
Description=darse container engine
Documentation=man:darsed(8)
After=network-online.target nss-lookup.target firewalld.service nftables.service time-set.target apparmor.service
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
# An event loop that has not turned for that long has to be helped. Its stack is in the journal then.
WatchdogSec=2min
# A database that is migrated, and containers that are taken over, take their time.
TimeoutStartSec=infinity
TimeoutStopSec=90
LimitNOFILE=1048576
TasksMax=infinity
OOMScoreAdjust=-500

[Install]
WantedBy=multi-user.target
"""

SYSUSERS = "# Members of the group may use the engine, and are root on this host by that.\ng darse -\n"
DOCKER_SYSUSERS = "# Members of the group may use the engine, and are root on this host by that.\ng docker -\n"
TMPFILES = "# The exec root of the engine: its socket is reached through it.\nd /run/darse 0711 root root -\n"


def socket(group: str) -> str:
    """The text of darsed.socket; `group` may use the socket beside root."""
    return _SOCKET.format(group=group)


def docker_socket(group: str) -> str:
    """The text of darse-docker.socket."""
    return _DOCKER.format(group=group)


def service(darsed: str) -> str:
    """The text of darsed.service; `darsed` is the engine's program."""
    return _SERVICE.format(darsed=darsed)


def main() -> int:
    """Write the files of a Debian package, named as debhelper names them, into the directory of the command line."""
    (directory,) = sys.argv[1:]
    files = {
        "darse.darsed.socket": socket("darse"),
        "darse.darsed.service": service("/usr/bin/darsed"),
        "darse.sysusers": SYSUSERS,
        "darse.tmpfiles": TMPFILES,
        "darse-docker.darse-docker.socket": docker_socket("docker"),
        "darse-docker.sysusers": DOCKER_SYSUSERS,
    }
    for name, text in files.items():
        with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
            file.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
