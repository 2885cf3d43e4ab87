"""Who is at the other end of a connection."""

from __future__ import annotations

import asyncio

from darse.linux.net.sockets import peer_credentials


def peer_user(transport: asyncio.BaseTransport | None) -> int | None:
    """The user whose process has connected to a unix socket; None on other connections."""
    found = transport.get_extra_info("socket") if transport is not None else None
    credentials = peer_credentials(found) if found is not None else None
    return credentials.uid if credentials is not None else None
