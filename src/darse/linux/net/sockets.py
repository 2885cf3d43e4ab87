"""Sockets by their descriptors, and what the kernel knows of the other end: what it has taken, and would take."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from typing import Final, NamedTuple

_SIOCOUTQ: Final = 0x5411
# struct tcp_info, linux/tcp.h: tcpi_snd_wnd stands at its end since Linux 5.4.
_WINDOW_OFFSET: Final = 228
_INFO_SIZE: Final = 232
_UINT: Final = struct.Struct("=I")
TCP_USER_TIMEOUT: Final = 18
# struct ucred (unix(7)).
_CREDENTIALS: Final = struct.Struct("=iII")


class PeerCredentials(NamedTuple):
    """Whose process has connected."""

    pid: int
    uid: int
    gid: int


def copy_of_socket(descriptor: int) -> socket.socket:
    """The socket that a descriptor is, by a descriptor of its own. Raises OSError when it is none, or closed."""
    copy = os.dup(descriptor)
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise


def peer_credentials(sock: socket.socket) -> PeerCredentials | None:
    """Who has connected to a unix socket (SO_PEERCRED, unix(7)); None on other connections."""
    if sock.family != socket.AF_UNIX:
        return None
    found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return PeerCredentials(*_CREDENTIALS.unpack(found))


def unsettled_bytes(sock: socket.socket) -> int:
    """Bytes that were written and are not with the other side: tcp(7) SIOCOUTQ.

    For TCP those that its kernel has not acknowledged. For unix(7) sockets the memory of what its process has not
    read: 0 is exact, another number is more than was written.
    """
    return int(_UINT.unpack(fcntl.ioctl(sock.fileno(), _SIOCOUTQ, bytes(4)))[0])


def peer_window(sock: socket.socket) -> int:
    """Bytes that the other side of a TCP connection would take now; 0 when this kernel does not tell."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE)
    return int(_UINT.unpack_from(info, _WINDOW_OFFSET)[0]) if len(info) >= _INFO_SIZE else 0
