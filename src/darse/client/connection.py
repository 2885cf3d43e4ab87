"""Ways to an engine: unix sockets, tcp with or without TLS, and ssh."""

from __future__ import annotations

import os
import sys

from darse.client import EngineEndpoint
from darse.client.errors import ClientError, ConnectionFailed, ConnectionLost
from darse.client.stdlib import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl

# Where engines listen without TLS when nothing else is said (IANA: docker).
_TCP_PORT = 2375


def connect(endpoint: EngineEndpoint, *, may_start: bool = True) -> socket.socket:
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
            from darse.client.ssh import connect_ssh

            return connect_ssh(rest)
    except OSError as error:
        raise no_connection(endpoint.host, error) from error
    raise ClientError(f"unable to parse docker host `{endpoint.host}`: the scheme must be unix, tcp or ssh")


def no_connection(host: str, error: OSError) -> ClientError:
    """The error of a connection that cannot be made."""
    # Members of ssl.SSLError, which is not loaded for others.
    mistrust = getattr(error, "verify_message", "")
    if mistrust:
        return ClientError(f"the engine at {host} is not trusted: {mistrust.rstrip('.')}")
    if alert := tls_alert(error):
        return not_let_in(host, alert)
    return ConnectionFailed(f"Cannot connect to the darse engine at {host}. Is darsed running? ({_text(error)})")


def tls_alert(error: OSError) -> str:
    """What an engine's TLS says of this client in a connection's end (RFC 8446, 6.2); empty when it says nothing."""
    return str(getattr(error, "reason", None) or "").partition("_ALERT_")[2].replace("_", " ").lower()


def not_let_in(host: str, alert: str) -> ClientError:
    """The error of an engine that does not let this client in."""
    made = "`darse system tls client` makes one, where the engine is"
    return ClientError(f"the engine at {host} refuses this client: {alert} ({made})")


def _text(error: OSError) -> str:
    return error.strerror or str(error)


def _connect_unix(endpoint: EngineEndpoint, path: str, *, may_start: bool) -> socket.socket:
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


def _connect_tcp(endpoint: EngineEndpoint, address: str, *, secure: bool) -> socket.socket:
    try:
        name, port = tcp_address(address)
    except ValueError as error:
        text = (
            f"unable to parse docker host `{endpoint.host}`: it is tcp://HOST[:PORT], with IPv6 addresses in brackets"
        )
        raise ClientError(text) from error
    from socket import create_connection

    plain = create_connection((name, port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not (endpoint.tls or secure):
        return plain
    return tls_context(endpoint).wrap_socket(plain, server_hostname=name)


def tls_context(endpoint: EngineEndpoint) -> ssl.SSLContext:
    """How an endpoint is trusted, and how we prove to it who we are. Raises ClientError for files that do not fit."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not endpoint.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    used = ""
    try:
        if endpoint.verify and os.path.exists(endpoint.ca):
            used = endpoint.ca
            context.load_verify_locations(endpoint.ca)
        elif endpoint.verify:
            context.load_default_certs()
        if os.path.exists(endpoint.certificate):
            used = f"{endpoint.certificate} with {endpoint.key}"
            context.load_cert_chain(endpoint.certificate, endpoint.key)
    except OSError as error:
        raise ClientError(f"cannot use {used} for {endpoint.host}: {_text(error)}") from error
    return context


def tcp_address(address: str) -> tuple[str, int]:
    """The host and port of HOST[:PORT], completed as docker's client does. Raises ValueError for what is none."""
    from urllib.parse import urlsplit  # 5 ms, for those only who need it

    parts = urlsplit(f"//{address}")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"{address} has more than a host and a port")
    return parts.hostname or "127.0.0.1", _TCP_PORT if parts.port is None else parts.port


def no_answer(host: str, after: str) -> ConnectionLost:
    """The error of a connection to `host` that ends before an answer; `after`: what runs on."""
    if not host.startswith("ssh://"):
        return ConnectionLost("the engine went away without an answer", after)
    from darse.client.ssh import wait_for_exit

    wait_for_exit()
    return ConnectionLost(
        f"the connection through {host} ended without an answer: can you log in there with ssh, and does "
        "`darse version` or `docker version` work there?"
    )
