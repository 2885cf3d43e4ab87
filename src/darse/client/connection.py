"""Ways to an engine: unix sockets, tcp with or without TLS, and ssh."""

from __future__ import annotations

import os
import socket
import sys
from typing import NamedTuple

from darse.client.endpoint import Endpoint
from darse.client.errors import ClientError, ConnectionFailed, ConnectionLost

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    import subprocess

_LAST_WORDS_SECONDS = 5
# Where engines listen without TLS when nothing else is said (IANA: docker).
_TCP_PORT = 2375


def connect(endpoint: Endpoint, *, may_start: bool = True) -> socket.socket:
    """Connect to an engine. Raises ConnectionFailed when none is there, ClientError for addresses that are none.

    may_start: an engine is started where none answers and `endpoint` says how.
    """
    scheme, separator, rest = endpoint.host.partition("://")
    if not separator:
        scheme, rest = "tcp", endpoint.host
    try:
        if scheme == "unix":
            return _connect_unix(endpoint, rest, may_start=may_start)
        if scheme in ("tcp", "http", "https"):
            return _connect_tcp(endpoint, rest, secure=scheme == "https")
        if scheme == "ssh":
            return _connect_ssh(rest)
    except OSError as error:
        raise ConnectionFailed(
            f"Cannot connect to the darse engine at {endpoint.host}. Is darsed running? ({error.strerror or error})"
        ) from error
    raise ClientError(f"unable to parse docker host `{endpoint.host}`: the scheme must be unix, tcp or ssh")


def _connect_unix(endpoint: Endpoint, path: str, *, may_start: bool) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        if endpoint.start is None or not may_start:
            raise
        endpoint.start(path)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(path)
    except PermissionError as error:
        connection.close()
        from darse.client.permission import advice

        raise ClientError(
            f"permission denied while trying to connect to the darse engine at {endpoint.host}: {advice(path)}"
        ) from error
    except OSError:
        connection.close()
        raise
    return connection


def peer(connection: socket.socket) -> int:
    """The process that listens at the other end of a unix socket (SO_PEERCRED of unix(7)); 0 for other connections."""
    if connection.family != socket.AF_UNIX:
        return 0
    return int.from_bytes(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], sys.byteorder)


def _connect_tcp(endpoint: Endpoint, address: str, *, secure: bool) -> socket.socket:
    try:
        name, port = tcp_address(address)
    except ValueError as error:
        text = (
            f"unable to parse docker host `{endpoint.host}`: it is tcp://HOST[:PORT], with IPv6 addresses in brackets"
        )
        raise ClientError(text) from error
    plain = socket.create_connection((name, port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not (endpoint.tls or secure):
        return plain
    return tls_context(endpoint).wrap_socket(plain, server_hostname=name)


def tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    """How an endpoint is trusted, and how we prove to it who we are."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if endpoint.verify and os.path.exists(endpoint.ca):
        context.load_verify_locations(endpoint.ca)
    elif endpoint.verify:
        context.load_default_certs()
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if os.path.exists(endpoint.certificate):
        context.load_cert_chain(endpoint.certificate, endpoint.key)
    return context


def tcp_address(address: str) -> tuple[str, int]:
    """The host and port of HOST[:PORT], completed as docker's client does. Raises ValueError for what is none."""
    from urllib.parse import urlsplit  # 5 ms, for those only who need it

    parts = urlsplit(f"//{address}")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"{address} has more than a host and a port")
    return parts.hostname or "127.0.0.1", _TCP_PORT if parts.port is None else parts.port


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
_ssh_processes: list[subprocess.Popen[bytes]] = []


def _remote_command(path: str) -> str:
    import shlex

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


def _connect_ssh(address: str) -> socket.socket:
    """Reach the engine through a program on the far side."""
    import shlex
    import subprocess

    user, name, port, path = ssh_address(address)
    remote = f"sh -c {shlex.quote(_remote_command(path))}"
    options = ["-T", "-o", "ConnectTimeout=30", *(["-l", user] if user else []), *(["-p", port] if port else [])]
    ours, theirs = socket.socketpair()
    with theirs:
        # It ends with its standard input; what it has to say of its troubles it says to the user itself.
        command = ["ssh", *options, "--", name, remote]
        _ssh_processes.append(subprocess.Popen(command, stdin=theirs.fileno(), stdout=theirs.fileno()))
    return ours


def no_answer(host: str, after: str) -> ConnectionLost:
    """The error of a connection to `host` that ends before an answer; `after`: what runs on."""
    if not host.startswith("ssh://"):
        return ConnectionLost("the engine went away without an answer", after)
    import contextlib
    import subprocess

    for process in _ssh_processes:
        # It says what is wrong there, before we say what that means here.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LAST_WORDS_SECONDS)
    return ConnectionLost(
        f"the connection through {host} ended without an answer: can you log in there with ssh, and does "
        "`darse version` or `docker version` work there?"
    )
