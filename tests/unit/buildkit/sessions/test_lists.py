"""Lists of clients, as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from darse.build.errors import BuildError
from darse.buildkit.sessions.lists import SentList, run_entries
from darse.buildkit.transport import MessageRun
from darse.buildkit.wire.packet_pb2 import Packet
from darse.buildkit.wire.stat_pb2 import Stat


def packet(number: int) -> bytes:
    return Packet(type=Packet.PACKET_STAT, stat=Stat(path=f"f{number:04}", size=number)).SerializeToString()


def run_of(messages: Sequence[bytes]) -> MessageRun:
    data, starts = b"", []
    for message in messages:
        data += b"\0" + len(message).to_bytes(4)
        starts.append(len(data))
        data += message
    return MessageRun(data, starts)


async def list_of(messages: Sequence[bytes], at_once: int, most: int = 1_000_000) -> SentList:
    async def runs() -> AsyncIterator[MessageRun]:
        for start in range(0, len(messages), at_once):
            yield run_of(messages[start : start + at_once])

    found = SentList()
    await found.receive(runs(), most, 1 << 30)
    return found


async def test_a_list_is_the_same_however_it_comes() -> None:
    messages = [packet(number) for number in range(100)]
    one, other = await list_of(messages, 1), await list_of(messages, 33)
    assert one.digest() == other.digest()
    assert one.is_complete
    assert [entry.size for entry in other] == list(range(100))
    assert [other[number].path for number in (0, 32, 33, 66, 99)] == ["f0000", "f0032", "f0033", "f0066", "f0099"]
    assert (await list_of(messages[:-1], 7)).digest() != one.digest()
    with pytest.raises(IndexError):
        other[100]


async def test_of_a_list_that_is_too_long_the_beginning_is_kept() -> None:
    found = await list_of([packet(number) for number in range(100)], 10, most=25)
    assert (len(found), found.is_complete) == (30, False)


@pytest.mark.parametrize(
    "message",
    [
        packet(1)[:-1],
        packet(1) + Packet(type=Packet.PACKET_ERR, data=b"x").SerializeToString(),
        packet(1) + Packet(type=Packet.PACKET_DATA, data=b"x").SerializeToString(),
    ],
    ids=["cut", "error", "data"],
)
def test_what_begins_as_an_entry_and_is_none_is_refused(message: bytes) -> None:
    with pytest.raises(BuildError):
        list(run_entries(run_of([packet(0), message])))
