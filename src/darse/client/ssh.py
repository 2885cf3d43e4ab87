"""The way to an engine through ssh: a program on the far side connects its streams with the engine's socket."""

from __future__ import annotations

import contextlib
import shlex
import socket
import subprocess
from typing import NamedTuple

from darse.client.errors import ClientError

_EXIT_SECONDS = 5
_DARSE_SOCKET, _DOCKER_SOCKET = "/run/darse/darse.sock", "/var/run/docker.sock"
# Python is where darse is; this is all of `system dial-stdio` that is needed.
_DIAL = """import os, select, socket, sys
c = socket.socket(socket.AF_UNIX); c.connect(sys.argv[1]); r = [0, c]
while True:
  for f in select.select(r, [], [])[0]:
    d = c.recv(65536) if f is c else os.read(0, 65536)
    if f == 0 and d: c.sendall(d)
    elif f == 0: r.remove(0); c.shutdown(socket.SHUT_WR)
    elif not d: sys.exit()
    while f is c and d: d = d[os.write(1, d):]
"""
# What runs on the far side: `darse system dial-stdio`, or docker's, of the engine there; else it is its socket itself.
_REMOTE = """set -- {words}
if command -v darse >/dev/null 2>&1; then exec darse "$@" system dial-stdio; fi
if command -v docker >/dev/null 2>&1; then
  [ $# -gt 0 ] || [ -S {docker} ] || ! [ -S {darse} ] || set -- --host unix://{darse}
  exec docker "$@" system dial-stdio
fi
for socket in {sockets}; do
  [ -S "$socket" ] && command -v python3 >/dev/null 2>&1 && exec python3 -c {dial} "$socket"
done
echo "neither darse nor docker is on the PATH that ssh gets here ($PATH), and no engine's socket is at {sockets}" >&2
exit 127"""
_processes: list[subprocess.Popen[bytes]] = []


def _remote_command(path: str) -> str:
    return _REMOTE.format(
        words=shlex.join(["--host", f"unix:///{path}"] if path else []),
        sockets=shlex.quote(f"/{path}") if path else f"{_DARSE_SOCKET} {_DOCKER_SOCKET}",
        darse=_DARSE_SOCKET,
        docker=_DOCKER_SOCKET,
        dial=shlex.quote(_DIAL),
    )


class SshAddress(NamedTuple):
    """Where ssh leads, and the path of a socket there."""

    user: str
    host: str
    port: str
    path: str


def ssh_address(address: str) -> SshAddress:
    """Take [USER@]HOST[:PORT][/SOCKET] apart. Raises ClientError in docker's words."""
    rest, _, fragment = address.partition("#")
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    login, _, host = authority.rpartition("@")
    user, has_password, _ = login.partition(":")
    name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    if not colon:
        name, port = host, ""
    problem = ""
    if has_password:
        problem = "plain-text password is not supported"  # others see it among the processes
    elif not name.strip("[]"):
        problem = "hostname is empty"
    elif query:
        problem = f'query parameters are not allowed: "{query}"'
    elif fragment:
        problem = f'fragments are not allowed: "{fragment}"'
    if problem:
        raise ClientError(f"ssh host connection is not valid: invalid SSH URL: {problem}")
    if name.startswith("[") != name.endswith("]") or (port and not port.isdigit()):
        raise ClientError(f"unable to parse docker host `ssh://{address}`: it is ssh://[USER@]HOST[:PORT][/SOCKET]")
    if "%" in user:
        from urllib.parse import unquote

        user = unquote(user)
    return SshAddress(user, name.strip("[]"), port, path)


def connect_ssh(address: str) -> socket.socket:
    """Reach the engine through a program on the far side."""
    user, name, port, path = ssh_address(address)
    remote = f"sh -c {shlex.quote(_remote_command(path))}"
    options = ["-T", "-o", "ConnectTimeout=30", *(["-l", user] if user else []), *(["-p", port] if port else [])]
    ours, theirs = socket.socketpair()
    with theirs:
        # It ends with its standard input; what it has to say of its troubles it says to the user itself.
        command = ["ssh", *options, "--", name, remote]
        _processes.append(subprocess.Popen(command, stdin=theirs.fileno(), stdout=theirs.fileno()))
    return ours


def wait_for_exit() -> None:
    """Wait until the programs have ended: they say what is wrong on the far side."""
    for process in _processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_EXIT_SECONDS)
