"""Sockets of the engine on ports of the host: what keeps a port, and what the relay listens on."""

from __future__ import annotations

import errno
import socket
from typing import Final

#: The protocols whose ports are held.
TYPES: Final = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
# Connections that wait for the relay while it is started, say; the kernel's somaxconn bounds it.
_BACKLOG = 4096


def open_socket(protocol: str, host_ip: str, number: int, *, serves: bool) -> socket.socket:
    """A socket on a port, of one family: to keep it from others or, if it `serves`, for the relay. Raises OSError."""
    family = socket.AF_INET6 if ":" in host_ip else socket.AF_INET
    sock = socket.socket(family, TYPES[protocol] | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if protocol == "tcp":
            # Connections that wait in TIME_WAIT are nobody's.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host_ip, number))
            sock.listen(_BACKLOG if serves else 0)
        else:
            if not serves:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
            sock.bind((host_ip, number))
    except BaseException:
        sock.close()
        raise
    return sock


def stop_listening(sock: socket.socket) -> None:
    """Have a socket that others have copies of take no connection any more, and its port be free: see shutdown(2)."""
    if sock.type == socket.SOCK_STREAM:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise


def has_the_port(sock: socket.socket) -> bool:
    """Whether a socket has not been given up by `stop_listening`, by an engine that ended before it said so."""
    return sock.type != socket.SOCK_STREAM or bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def has_ipv6() -> bool:
    """Whether this host's programs can listen on ::1, as docker asks before it binds [::]."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
