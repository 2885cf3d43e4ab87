"""Who is at the other end of a connection."""

from __future__ import annotations

import asyncio
import socket
import struct

# struct ucred (unix(7)).
_CREDENTIALS = struct.Struct("=iII")


def peer_user(transport: asyncio.BaseTransport | None) -> int | None:
    """The user whose process has connected to a unix socket (SO_PEERCRED, unix(7)); None on other connections."""
    found = transport.get_extra_info("socket") if transport is not None else None
    if found is None or found.family != socket.AF_UNIX:
        return None
    _, uid, _ = _CREDENTIALS.unpack(found.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(uid)
