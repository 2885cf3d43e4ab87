"""gRPC over connections that are open already, and what hostile peers do to them."""

from __future__ import annotations

import asyncio
import select
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.server import Stream

from darse.buildkit.services.health import HealthService
from darse.buildkit.transport import TransportChannel, connection, service_protocol
from darse.buildkit.transport.serving import ServiceProtocol
from darse.buildkit.transport.stream_buffer import MESSAGE_LIMIT
from darse.buildkit.wire.filesync_grpc import FileSendBase, FileSendStub
from darse.buildkit.wire.filesync_pb2 import BytesMessage
from darse.buildkit.wire.health_grpc import HealthStub
from darse.buildkit.wire.health_pb2 import HealthCheckRequest
from darse.buildkit.wire.secrets_grpc import SecretsStub
from darse.buildkit.wire.secrets_pb2 import GetSecretRequest

_PATH = "/moby.filesync.v1.FileSend/DiffCopy"


class Counting(FileSendBase):
    """Answers each message with its length."""

    def __init__(self) -> None:
        self.running = 0

    async def DiffCopy(self, stream: Stream[Any, Any]) -> None:  # noqa: N802
        self.running += 1
        try:
            async for message in stream:
                await stream.send_message(BytesMessage(data=str(len(message.data)).encode()))
        finally:
            self.running -= 1


class Served:
    """A server, and the other end of its connection."""

    def __init__(self, service: Counting, protocol: ServiceProtocol, peer: socket.socket) -> None:
        self.service = service
        self.protocol = protocol
        self.peer = peer


async def transport_of(connection: socket.socket) -> asyncio.Transport:
    connection.setblocking(False)
    made, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=connection)
    return made  # type: ignore[return-value]


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    ours, theirs = socket.socketpair()
    service = Counting()
    protocol = service_protocol([service, HealthService()])
    transport = await transport_of(ours)
    protocol.serve(transport)
    yield Served(service, protocol, theirs)
    transport.abort()
    async with asyncio.timeout(10):
        await protocol.ended()
    assert service.running == 0
    theirs.close()


@pytest.fixture
async def channel(served: Served) -> AsyncIterator[TransportChannel]:
    made = TransportChannel()
    made.open(await transport_of(served.peer))
    yield made
    made.close()


async def test_calls_go_over_a_given_connection(channel: TransportChannel) -> None:
    assert (await HealthStub(channel).Check(HealthCheckRequest())).status == 1
    async with FileSendStub(channel).DiffCopy.open() as stream:
        for size in (0, 1, 100_000, 10_000_000):
            await stream.send_message(BytesMessage(data=b"x" * size))
            assert int((await stream.recv_message()).data or b"0") == size
        await stream.end()
        assert await stream.recv_message() is None


async def test_what_is_not_there_is_unimplemented(channel: TransportChannel) -> None:
    with pytest.raises(GRPCError) as raised:
        await SecretsStub(channel).GetSecret(GetSecretRequest(ID="x"))
    assert raised.value.status is Status.UNIMPLEMENTED


async def test_a_message_that_is_too_large_is_refused_before_it_is_read(channel: TransportChannel) -> None:
    async def send() -> None:
        async with FileSendStub(channel).DiffCopy.open() as stream:
            await stream.send_request()
            await stream._stream.send_data(b"\0" + struct.pack(">I", MESSAGE_LIMIT + 1) + b"x")
            await stream.recv_message()

    with pytest.raises(GRPCError) as raised:
        await send()
    assert raised.value.status is Status.RESOURCE_EXHAUSTED
    assert (await HealthStub(channel).Check(HealthCheckRequest())).status == 1


async def test_a_lost_connection_ends_calls_on_both_sides(served: Served, channel: TransportChannel) -> None:
    async with FileSendStub(channel).DiffCopy.open() as stream:
        await stream.send_message(BytesMessage(data=b"x"))
        await stream.recv_message()
        assert served.service.running == 1
        assert channel._protocol is not None
        channel._protocol.connection._transport.abort()
        with pytest.raises(StreamTerminatedError):
            await stream.recv_message()
    async with asyncio.timeout(10):
        await served.protocol.ended()
    assert channel.is_lost
    with pytest.raises(ConnectionError):
        await HealthStub(channel).Check(HealthCheckRequest())


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100,
        # A header block that never ends.
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
        + b"\0\0\1\1\0\0\0\0\1\0"
        + b"\0\0\1\x09\0\0\0\0\1\0" * 200,
        # Priority of a stream that nobody knows, and a frame of an unknown type: allowed.
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
        + b"\0\0\5\2\0\0\0\0\3\0\0\0\0\1"
        + b"\0\0\1\x77\0\0\0\0\0x\0",
    ],
    ids=["http1", "garbage", "continuations", "priority"],
)
async def test_what_is_no_http2_ends_the_connection_and_nothing_else(served: Served, data: bytes) -> None:
    loop = asyncio.get_running_loop()
    served.peer.setblocking(False)
    await loop.sock_sendall(served.peer, data)
    served.peer.shutdown(socket.SHUT_WR)
    async with asyncio.timeout(10):
        await served.protocol.ended()
    assert served.protocol.lost.is_set()


class RawClient:
    """HTTP/2 without gRPC's manners."""

    def __init__(self, peer: socket.socket) -> None:
        peer.setblocking(False)
        self._peer = peer
        self._loop = asyncio.get_running_loop()
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.h2.initiate_connection()
        self.answers = 0

    def call(self) -> int:
        stream = self.h2.get_next_available_stream_id()
        headers = {":method": "POST", ":scheme": "http", ":path": _PATH, ":authority": "x", "te": "trailers"}
        self.h2.send_headers(stream, [*headers.items(), ("content-type", "application/grpc")])
        return int(stream)

    async def flush(self) -> None:
        await self._loop.sock_sendall(self._peer, self.h2.data_to_send())

    async def receive(self, *, wait: bool = True) -> None:
        if not wait and not select.select([self._peer], [], [], 0)[0]:
            return
        for event in self.h2.receive_data(await self._loop.sock_recv(self._peer, 1 << 20)):
            if isinstance(event, h2.events.DataReceived):
                self.answers += 1
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)


async def test_calls_that_are_reset_at_once_leave_the_connection_its_window(served: Served) -> None:
    """grpclib#217: 3,000 calls, each reset in the write that opens it; then ten megabytes go through."""
    client = RawClient(served.peer)
    for _ in range(60):
        for _ in range(50):
            stream = client.call()
            client.h2.send_data(stream, b"\0\0\0\4\0" + b"x" * 1000)
            client.h2.reset_stream(stream)
        await client.flush()
        await client.receive(wait=False)
    stream, message = client.call(), b"\0" + struct.pack(">I", 10_000_005) + b"\x0a\x80\xad\xe2\x04" + b"x" * 10_000_000
    async with asyncio.timeout(30):
        while message:
            room = min(client.h2.local_flow_control_window(stream), client.h2.max_outbound_frame_size, len(message))
            if room:
                client.h2.send_data(stream, message[:room])
                message = message[room:]
            await client.flush()
            if not room:
                await client.receive()
        while not client.answers:
            await client.receive()
    assert not served.protocol.handler._waiting
    assert len(served.protocol.processor.streams) == 1


class ByNetwork:
    """A server's connection over TCP, and a peer's end of it that does not read yet."""

    def __init__(self, protocol: ServiceProtocol, peer: socket.socket) -> None:
        self.protocol = protocol
        self.peer = peer


@pytest.fixture
async def over_tcp() -> AsyncIterator[ByNetwork]:
    listening = socket.create_server(("127.0.0.1", 0))
    peer = socket.create_connection(listening.getsockname())
    accepted, _ = listening.accept()
    listening.close()
    protocol = service_protocol([HealthService()])
    protocol.serve(await transport_of(accepted))
    peer.setblocking(False)
    yield ByNetwork(protocol, peer)
    peer.close()
    async with asyncio.timeout(10):
        await protocol.ended()


BEGIN = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
PING_OF_SIX_BYTES = b"\0\0\6\6\0\0\0\0\0" + bytes(6)


async def frames_until_end(peer: socket.socket) -> list[tuple[int, bytes]]:
    """The kinds and contents of what has come. Raises ConnectionResetError."""
    loop, data = asyncio.get_running_loop(), b""
    async with asyncio.timeout(10):
        while piece := await loop.sock_recv(peer, 1 << 16):
            data += piece
    found = []
    while data:
        length = int.from_bytes(data[:3])
        found.append((data[3], data[9 : 9 + length]))
        data = data[9 + length :]
    return found


async def test_who_sends_on_behind_a_fault_sees_why_the_connection_ends(over_tcp: ByNetwork) -> None:
    """What comes after the fault is not read by HTTP/2; left unread, it has TCP throw the reason away."""
    loop, behind = asyncio.get_running_loop(), b"\0\0\x08\6\0\0\0\0\0" + bytes(8)
    await loop.sock_sendall(over_tcp.peer, BEGIN + PING_OF_SIX_BYTES + behind)
    async with asyncio.timeout(10):
        while not over_tcp.protocol.connection.is_closing():
            await asyncio.sleep(0)
    # It is over for the engine, and the peer does not know: what it sends must not come upon a closed socket.
    for _ in range(20):
        await loop.sock_sendall(over_tcp.peer, behind * 10)
        await asyncio.sleep(0)
    *_, (kind, content) = await frames_until_end(over_tcp.peer)
    assert (kind, content[4:8]) == (7, b"\0\0\0\6")  # GOAWAY: FRAME_SIZE_ERROR
    assert not over_tcp.protocol.lost.is_set()


async def test_what_is_sent_behind_a_fault_without_end_is_not_read_for_ever(over_tcp: ByNetwork) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(over_tcp.peer, BEGIN + PING_OF_SIX_BYTES)

    async def send() -> None:
        while True:
            await loop.sock_sendall(over_tcp.peer, bytes(1 << 16))

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(send(), 10)


async def test_who_stays_behind_a_fault_is_left(over_tcp: ByNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_DISCARD_SECONDS", 0.05)
    await asyncio.get_running_loop().sock_sendall(over_tcp.peer, BEGIN + PING_OF_SIX_BYTES)
    assert not over_tcp.protocol.lost.is_set()
    async with asyncio.timeout(10):
        await over_tcp.protocol.ended()
    assert over_tcp.protocol.lost.is_set()


async def test_a_frame_that_is_too_long_is_refused_by_its_length(over_tcp: ByNetwork) -> None:
    frame = b"\xff\xff\xff\0\0\0\0\0\1"
    await asyncio.get_running_loop().sock_sendall(over_tcp.peer, BEGIN + frame)
    *_, (kind, content) = await frames_until_end(over_tcp.peer)
    assert (kind, content[4:8]) == (7, b"\0\0\0\6")
