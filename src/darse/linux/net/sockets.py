"""What the kernel knows of the other end of a connection: what it has taken, and how much it would take."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
from typing import Final

_SIOCOUTQ: Final = 0x5411
# struct tcp_info, linux/tcp.h: tcpi_snd_wnd stands at its end since Linux 5.4.
_WINDOW_OFFSET: Final = 228
_INFO_SIZE: Final = 232
_UINT: Final = struct.Struct("=I")
TCP_USER_TIMEOUT: Final = 18


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


def bound_by(pid: int) -> list[str]:
    """The paths of the unix sockets that a process holds: proc_pid_fd(5), proc_pid_net(5). None when it has ended."""
    held = set()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        with os.scandir(f"/proc/{pid}/fd") as descriptors:
            held = {_inode(descriptor.path) for descriptor in descriptors} - {""}
        with open(f"/proc/{pid}/net/unix", encoding="utf-8", errors="surrogateescape") as table:
            rows = [row.rstrip("\n").split(maxsplit=7) for row in table]
        return [row[7] for row in rows if len(row) == 8 and row[6] in held]
    return []


def _inode(path: str) -> str:
    """The number of a socket that a descriptor is of, as text; "" for what is no socket."""
    try:
        kind, _, rest = os.readlink(path).partition(":[")
    except FileNotFoundError:
        return ""
    return rest.removesuffix("]") if kind == "socket" else ""
