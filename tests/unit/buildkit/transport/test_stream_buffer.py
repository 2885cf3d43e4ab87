"""What has come on a stream: read in order, and given back to the peer, all of it."""

from __future__ import annotations

import asyncio
import random

import pytest

from darse.buildkit.transport.stream_buffer import StreamBuffer


async def test_pieces_are_read_in_any_size_and_all_credit_comes_back() -> None:
    chance = random.Random(7)
    content = chance.randbytes(300_000)
    given: list[int] = []
    buffer = StreamBuffer(given.append)
    sent = padding = 0

    async def send() -> None:
        nonlocal sent, padding
        while sent < len(content):
            piece = content[sent : sent + chance.choice((1, 5, 100, 16_384))]
            extra = chance.choice((0, 0, 9))
            buffer.add(piece, len(piece) + extra)
            sent, padding = sent + len(piece), padding + extra
            if chance.random() < 0.3:
                await asyncio.sleep(0)
        buffer.eof()

    task = asyncio.create_task(send())
    found = b""
    while len(found) < len(content):
        size = min(chance.choice((5, 100, 40_000)), len(content) - len(found))
        found += await buffer.read(size)
    await task
    assert found == content
    assert await buffer.read(5) == b""
    assert sum(given) + buffer.unacked_size() == len(content) + padding
    assert buffer.unacked_size() == 0
    assert len(given) <= len(content) // (16 << 10) + 1


async def test_a_message_larger_than_the_window_is_paid_for_while_it_comes() -> None:
    given: list[int] = []
    buffer = StreamBuffer(given.append)
    reading = asyncio.create_task(buffer.read(100_000))
    for _ in range(5):
        buffer.add(bytes(20_000), 20_000)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert len(await reading) == 100_000
    assert sum(given) == 100_000


async def test_an_end_within_what_is_read() -> None:
    buffer = StreamBuffer(lambda _: None)
    buffer.add(b"123", 3)
    buffer.eof()
    with pytest.raises(AssertionError, match="less data"):
        await buffer.read(5)
    assert await buffer.read(3) == b"123"
    assert buffer.unacked_size() == 3


async def test_what_is_not_read_is_owed() -> None:
    given: list[int] = []
    buffer = StreamBuffer(given.append)
    buffer.add(bytes(50_000), 50_000)
    await buffer.read(20_000)
    assert given == [20_000]
    assert buffer.unacked_size() == 30_000


def message(content: bytes) -> bytes:
    return b"\0" + len(content).to_bytes(4) + content


async def test_messages_that_begin_alike_are_taken_at_once_and_paid_for() -> None:
    given: list[int] = []
    buffer = StreamBuffer(given.append)
    contents = [b"a" + bytes(number % 90) for number in range(1000)]
    sent = b"".join(map(message, contents)) + message(b"") + message(b"a")
    found: list[bytes] = []

    async def take() -> None:
        while True:
            await buffer.wait_for_message()
            data, starts = buffer.take_messages(ord("a"))
            if not starts:
                return
            ends = [*(start - 5 for start in starts[1:]), len(data)]
            found.extend(data[start:end] for start, end in zip(starts, ends, strict=True))

    taking = asyncio.create_task(take())
    for start in range(0, len(sent), 777):
        piece = sent[start : start + 777]
        buffer.add(piece, len(piece))
        await asyncio.sleep(0)
    await taking
    assert found == contents
    # Neither the empty message nor what is behind it.
    assert await buffer.read(5) == message(b"")
    assert await buffer.read(6) == message(b"a")
    assert sum(given) + buffer.unacked_size() == len(sent)


@pytest.mark.parametrize(
    "sent", [b"", b"\0\xff\xff\xff\xffa", b"\1\0\0\0\1a", b"\0\0\0\0\1b", b"\0\0\0\0\2a"], ids=repr
)
async def test_of_what_is_no_such_message_nothing_is_taken(sent: bytes) -> None:
    buffer = StreamBuffer(lambda _: None)
    buffer.add(sent, len(sent))
    buffer.eof()
    await asyncio.wait_for(buffer.wait_for_message(), 10)
    assert buffer.take_messages(ord("a")) == (b"", [])
    assert buffer.unacked_size() == len(sent)
