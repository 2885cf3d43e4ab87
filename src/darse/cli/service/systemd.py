"""darse as systemd's service, and in docker's place: what is written, enabled and started, and how it is undone.

A package brings the units; where there are none, they are written to /etc/systemd/system, with the programs of the
installation that runs this. Below another root than `/` nothing is started: it is that of another system.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys

from darse.cli.errors import CliError
from darse.cli.service import units

_UNITS = "etc/systemd/system"
_PACKAGED = ("usr/lib/systemd/system", "lib/systemd/system")
_NAMES = ("usr/local/bin/docker", "usr/local/bin/docker-compose")
_PATH = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin")
# Units of Debian's docker.io and of docker's own packages.
_DOCKERS = "docker.socket"
_DATA = "var/lib/darse"
_SOCKET = "/run/darse/darse.sock"
#: A line about what was done, or is in the way.
Lines = list[str]


def enable(root: str) -> Lines:
    """Have systemd start the engine with the machine, and for the first client. Raises CliError."""
    _needs_systemd()
    if not _is_packaged(root, units.SERVICE_UNIT):
        darsed = _program("darsed")
        _write(root, units.SOCKET_UNIT, units.socket(_group(root)))
        _write(root, units.SERVICE_UNIT, units.service(darsed))
    _systemctl(root, "enable", units.SOCKET_UNIT, units.SERVICE_UNIT)
    if not _runs(root):
        return [f"{units.SOCKET_UNIT} and {units.SERVICE_UNIT} are enabled"]
    _systemctl(root, "daemon-reload")
    _restart(root, units.SOCKET_UNIT)
    return ["darsed runs, and starts with the machine: systemctl status darsed"]


def disable(root: str) -> Lines:
    """Undo `enable`; fine where there is nothing to undo. Raises CliError."""
    there = [one for one in (units.SERVICE_UNIT, units.SOCKET_UNIT) if _is_there(root, one)]
    if there:
        if _runs(root):
            _systemctl(root, "stop", *there)
        _systemctl(root, "disable", *there)
        _remove_written(root, *there)
    messages = ["darsed is no service any more; containers run on, `darse` starts an engine when it is needed"]
    if os.path.isdir(_below(root, _DATA)):
        counts = ", ".join(f"{_count(root, one)} {one}" for one in ("containers", "volumes"))
        messages.append(f"/{_DATA} is kept: {counts}")
    return messages


def take_over(root: str) -> Lines:
    """Serve docker's socket, and be docker's commands where there are none. Raises CliError where docker is in use."""
    _refuse_beside_docker(root)
    if shutil.which("systemctl") is None or (root == "/" and not _runs(root)):
        return [*_link_socket(root), *_take_names(root)]
    messages = _take_names(root)
    if not _is_there(root, units.SERVICE_UNIT):
        messages += enable(root)
    if not _is_packaged(root, units.DOCKER_UNIT):
        _write(root, units.DOCKER_UNIT, units.docker_socket(_group(root)))
    _systemctl(root, "enable", units.DOCKER_UNIT)
    if _runs(root):
        _systemctl(root, "daemon-reload")
        _restart(root, units.SOCKET_UNIT, units.DOCKER_UNIT)
    return [*messages, f"the engine serves {units.DOCKER_SOCKET}"]


def undo_take_over(root: str) -> Lines:
    """Leave docker's place; fine where it was not taken. Raises CliError."""
    messages = []
    for name in _NAMES:
        if _is_ours(root, name):
            os.unlink(_below(root, name))
            messages.append(f"/{name} is removed")
    link = _below(root, units.DOCKER_SOCKET)
    if os.path.islink(link) and os.readlink(link) == _SOCKET:
        os.unlink(link)
    if _is_there(root, units.DOCKER_UNIT):
        if _runs(root):
            _systemctl(root, "stop", units.DOCKER_UNIT)
        _systemctl(root, "disable", units.DOCKER_UNIT)
        _remove_written(root, units.DOCKER_UNIT)
    return [*messages, f"{units.DOCKER_SOCKET} is docker's again"]


def _take_names(root: str) -> Lines:
    """Make docker's commands names of ours where no program has them: a docker client that is there drives us, too."""
    messages = []
    darse = _program("darse")
    for name in _NAMES:
        command = os.path.basename(name)
        there = next((one for one in _PATH if os.path.lexists(_below(root, os.path.join(one, command)))), None)
        if there is None:
            os.makedirs(os.path.dirname(_below(root, name)), exist_ok=True)
            os.symlink(darse, _below(root, name))
            messages.append(f"{command} is darse: /{name}")
        elif not _is_ours(root, name):
            messages.append(f"{command} stays what it is: /{there}/{command}")
    return messages


def _link_socket(root: str) -> Lines:
    """Without systemd docker's socket is a link to the engine's, until the next boot. Raises CliError."""
    path = _below(root, units.DOCKER_SOCKET)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if not (os.path.islink(path) and os.readlink(path) == _SOCKET) and _answers(path):
        raise CliError(f"a program serves {units.DOCKER_SOCKET}, as docker or podman does: stop it")
    if os.path.lexists(path):
        os.unlink(path)
    os.symlink(_SOCKET, path)
    return [f"{units.DOCKER_SOCKET} leads to the engine's socket until the next boot: systemd does not run here"]


def _answers(path: str) -> bool:
    """Whether a program listens on a socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def _count(root: str, kind: str) -> int:
    """How many of a kind the data root holds."""
    try:
        return len(os.listdir(os.path.join(_below(root, _DATA), kind)))
    except FileNotFoundError:
        return 0


def _refuse_beside_docker(root: str) -> None:
    """Docker's socket is docker's where docker is installed, or served by a program. Raises CliError."""
    for directory in (_UNITS, *_PACKAGED):
        path = os.path.join(directory, _DOCKERS)
        if os.path.lexists(_below(root, path)) and os.path.realpath(_below(root, path)) != os.devnull:
            raise CliError(
                f"docker is installed here (/{path}), and {units.DOCKER_SOCKET} is its own: remove it, or mask its "
                "units (systemctl mask --now docker.socket docker.service)"
            )


def _restart(root: str, *sockets: str) -> None:
    """Start sockets and the service anew: a service takes sockets at its start only. Containers run on."""
    _systemctl(root, "stop", units.SERVICE_UNIT)
    _systemctl(root, "restart", *sockets)
    _systemctl(root, "start", units.SERVICE_UNIT)


def _needs_systemd() -> None:
    if shutil.which("systemctl") is None:
        raise CliError(
            "there is no systemctl: this machine has no systemd. `darse` starts the engine when it is needed"
        )


def _program(name: str) -> str:
    """A program of this installation. Raises CliError."""
    path = os.path.join(os.path.dirname(sys.executable), name)
    if not os.path.exists(path):
        raise CliError(f"{path} is not there: darse is not installed as programs")
    packaged = f"/usr/bin/{name}"
    return packaged if os.path.realpath(packaged) == os.path.realpath(path) else path


def _group(root: str) -> str:
    """Who may use the socket beside root: docker, else darse, else nobody, as with darsed's own `--group`."""
    try:
        with open(_below(root, "etc/group"), encoding="utf-8") as file:
            known = {line.partition(":")[0] for line in file}
    except FileNotFoundError:
        known = set()
    return next((name for name in ("docker", "darse") if name in known), "root")


def _below(root: str, path: str) -> str:
    return os.path.join(root, path.lstrip("/"))


def _write(root: str, unit: str, text: str) -> None:
    os.makedirs(_below(root, _UNITS), exist_ok=True)
    with open(os.path.join(_below(root, _UNITS), unit), "w", encoding="utf-8") as file:
        file.write(text)


def _remove_written(root: str, *names: str) -> None:
    for unit in names:
        path = os.path.join(_below(root, _UNITS), unit)
        if os.path.exists(path):
            os.unlink(path)
    if _runs(root):
        _systemctl(root, "daemon-reload")


def _is_packaged(root: str, unit: str) -> bool:
    return any(os.path.exists(os.path.join(_below(root, one), unit)) for one in _PACKAGED)


def _is_there(root: str, unit: str) -> bool:
    return _is_packaged(root, unit) or os.path.exists(os.path.join(_below(root, _UNITS), unit))


def _is_ours(root: str, name: str) -> bool:
    """Whether a link leads to our command."""
    path = _below(root, name)
    return os.path.islink(path) and os.path.basename(os.readlink(path)) == "darse"


def _runs(root: str) -> bool:
    """Whether `root` is the running system's, with systemd as its first process (sd_booted(3))."""
    return root == "/" and os.path.isdir("/run/systemd/system")


def _systemctl(root: str, *words: str) -> None:
    """Call systemctl; what it says of its own links is not shown. Raises CliError."""
    where = [] if root == "/" else [f"--root={root}"]
    done = subprocess.run(["systemctl", *where, "--quiet", *words], check=False)
    if done.returncode:
        raise CliError(f"systemctl {' '.join(words)} ended with {done.returncode}")
