"""Our own client of BuildKit's API, for tests: connections to an engine, as docker's clients open them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from darse.buildkit.transport import ServiceProtocol, Servicer, TransportChannel, service_protocol
from darse.buildkit.wire.control_grpc import ControlStub

__all__ = ["ControlStub", "asked", "connected", "upgraded"]


async def _socket(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.setblocking(False)
    await asyncio.get_running_loop().sock_connect(made, str(path))
    return made


async def _transport(made: socket.socket) -> asyncio.Transport:
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=made)
    return transport  # type: ignore[return-value]


async def upgraded(path: Path, endpoint: str, headers: Sequence[tuple[str, str]] = ()) -> socket.socket:
    """A connection that was upgraded to HTTP/2. Raises AssertionError where it was not."""
    made = await _socket(path)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    head = f"POST {endpoint} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n{lines}\r\n"
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(made, head.encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        piece = await loop.sock_recv(made, 1)
        assert piece, answer
        answer += piece
    assert answer.startswith(b"HTTP/1.1 101 "), answer
    return made


@contextlib.asynccontextmanager
async def connected(path: Path, endpoint: str = "/grpc") -> AsyncIterator[TransportChannel]:
    """A channel for the block; without an endpoint by HTTP/2 from the first byte on."""
    channel = TransportChannel()
    channel.open(await _transport(await upgraded(path, endpoint) if endpoint else await _socket(path)))
    try:
        yield channel
    finally:
        channel.close()


@contextlib.asynccontextmanager
async def asked(
    path: Path, identifier: str, services: Sequence[Servicer], shared_key: str = ""
) -> AsyncIterator[ServiceProtocol]:
    """A session for the block, on which the engine calls these services."""
    methods = [method for service in services for method in service.__mapping__()]
    prefix = "X-Docker-Expose-Session-"
    headers = [
        (f"{prefix}Uuid", identifier),
        (f"{prefix}Sharedkey", shared_key),
        *((f"{prefix}Grpc-Method", method) for method in methods),
    ]
    protocol = service_protocol(services)
    transport = await _transport(await upgraded(path, "/session", headers))
    protocol.serve(transport)
    try:
        yield protocol
    finally:
        transport.abort()
        await protocol.ended()
