"""What connections know of what has arrived."""

import asyncio
import select
import socket
import struct

import pytest

from darse.containers.logs.shipping.addresses import Address
from darse.containers.logs.shipping.connections import DatagramConnection, StreamConnection

PIECES = [b"%09d\n" % number for number in range(2000)]


@pytest.fixture(params=["tcp", "unix"])
def listener(request, tmp_path):
    if request.param == "tcp":
        with socket.create_server(("127.0.0.1", 0)) as server:
            yield server
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(tmp_path / "s"))
            server.listen()
            yield server


def address_of(listener):
    name = listener.getsockname()
    return Address("unix", path=name) if isinstance(name, str) else Address("tcp", *name)


async def connected(listener):
    lost = asyncio.Event()
    connection = StreamConnection(address_of(listener))
    await connection.connect(lost.set)
    peer, _ = listener.accept()
    return connection, peer, lost


def read(peer, size):
    data = b""
    while len(data) < size:
        data += peer.recv(size - len(data))
    return data


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.002)


def is_full(connection):
    """Whether the kernel takes nothing more of what is sent."""
    return not select.select([], [connection._socket], [], 0)[1]


async def end_of_input(peer):
    """Return when the other side has said that nothing follows, with what it sent before still unread."""
    poll = select.poll()
    poll.register(peer, select.POLLRDHUP)
    assert await asyncio.to_thread(poll.poll, 5000)


async def test_what_was_read_before_the_end_is_delivered(listener):
    connection, peer, lost = await connected(listener)
    await connection.send(PIECES)
    assert read(peer, 20_000) == b"".join(PIECES)
    peer.close()
    await asyncio.wait_for(lost.wait(), 5)
    assert connection.delivered == connection.settled == 2000
    with pytest.raises(ConnectionError):
        connection.check()
    connection.close()


async def test_nothing_unread_is_delivered_when_the_other_side_is_killed(listener):
    connection, peer, lost = await connected(listener)
    await connection.send(PIECES)
    read(peer, 5_000)
    peer.close()  # with unread data: a reset
    await asyncio.wait_for(lost.wait(), 5)
    assert connection.delivered <= 500
    connection.close()


async def test_what_the_other_kernel_has_not_taken_is_not_delivered(listener):
    connection, peer, lost = await connected(listener)
    total = [bytes(1000)] * 20_000
    sending = asyncio.create_task(connection.send(total))
    await until(lambda: is_full(connection))
    assert not sending.done()
    assert connection.delivered < 20_000
    peer.close()
    with pytest.raises(ConnectionError):
        await sending
    await asyncio.wait_for(lost.wait(), 5)
    assert connection.delivered == 0
    connection.close()


async def test_delivered_is_seen_without_the_end(listener):
    connection, peer, _ = await connected(listener)
    await connection.send(PIECES)
    read(peer, 20_000)
    await until(lambda: connection.delivered == 2000)
    connection.close()
    assert connection.delivered == 2000
    peer.close()


async def test_parting_in_peace(listener):
    connection, peer, _ = await connected(listener)
    await connection.send(PIECES)
    finishing = asyncio.create_task(connection.finish())
    assert read(peer, 20_000)
    assert await asyncio.to_thread(peer.recv, 1) == b""
    peer.close()
    await finishing
    assert connection.delivered == 2000
    connection.close()


async def test_a_reset_while_parting_is_a_loss(listener):
    connection, peer, _ = await connected(listener)
    await connection.send(PIECES)
    finishing = asyncio.create_task(connection.finish())
    await end_of_input(peer)
    if peer.family == socket.AF_INET:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    with pytest.raises(ConnectionError):
        await finishing
    assert connection.delivered < 2000
    connection.close()


async def test_long_ago_acknowledged_is_settled(listener, monkeypatch):
    monkeypatch.setattr("darse.containers.logs.shipping.connections._UNREAD_SECONDS", 0.05)
    connection, peer, _ = await connected(listener)
    await connection.send(PIECES[:1000])
    await until(lambda: connection.delivered == 1000) if peer.family == socket.AF_INET else read(peer, 10_000)
    await until(lambda: connection.settled == 1000)
    connection.close()
    peer.close()


async def test_datagrams_that_nobody_takes_are_not_delivered():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        connection = DatagramConnection(Address("udp", *peer.getsockname()))
        await connection.connect(lambda: None)
        for piece in PIECES[:3]:
            await connection.send((piece,))
        assert [peer.recv(100) for _ in range(3)] == PIECES[:3]
    with pytest.raises(ConnectionRefusedError):
        await connection.send((b"nobody is there",))
    assert connection.delivered == connection.settled == 3
    connection.close()


async def test_unix_datagrams_wait_for_their_reader(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
        peer.bind(path)
        connection = DatagramConnection(Address("unixgram", path=path))
        await connection.connect(lambda: None)

        async def send_all():
            for piece in PIECES:
                await connection.send((piece,))

        sending = asyncio.create_task(send_all())
        await until(lambda: is_full(connection))
        assert not sending.done()
        assert connection.delivered == 0
        received = [await asyncio.to_thread(peer.recv, 100) for _ in PIECES]
        await sending
        assert received == PIECES
        await until(lambda: connection.delivered == 2000)
    connection.close()


async def test_nobody_listens(tmp_path):
    connection = StreamConnection(Address("unix", path=str(tmp_path / "nobody")))
    with pytest.raises(FileNotFoundError):
        await connection.connect(lambda: None)
    connection.close()
