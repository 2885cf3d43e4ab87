"""What a client lists of a directory, as it comes: STAT packets up to an empty one.

They are kept as they have come, and decoded when somebody looks at them: a list of which all bytes are those of the
last time says what it said then, and nobody has to. That is the case of nearly all builds of a large directory.
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterator, Sequence
from hashlib import sha256
from typing import Any, overload

from google.protobuf.message import DecodeError
from grpclib.client import Stream

from darse.build.errors import BuildError
from darse.buildkit.transport import MessageRun, answer_run
from darse.buildkit.wire.packet_pb2 import Packet
from darse.buildkit.wire.stat_pb2 import Stat

# The field `stat`, with which a packet of a list begins: its type is 0, which is not written.
_STAT = Packet.DESCRIPTOR.fields_by_name["stat"].number << 3 | 2
_PREFIX_BYTES = 5


async def next_packet(stream: Stream[Any, Any]) -> Any:
    """The next one. Raises BuildError where the client says that it failed, or ends."""
    packet = await stream.recv_message()
    if packet is None:
        raise BuildError("the client ended the transfer of its context before its end")
    if packet.type == Packet.PACKET_ERR:
        raise BuildError(f"the client failed to send its context: {packet.data.decode('utf-8', 'replace')}")
    return packet


async def list_runs(stream: Stream[Any, Any]) -> AsyncIterator[MessageRun]:
    """Yield the packets of a list, up to its end. Who reads says how many are too many. Raises BuildError."""
    while True:
        run = await answer_run(stream, _STAT)
        if run.starts:
            yield run
            # There may be more, which has come already: others have their turn.
            await asyncio.sleep(0)
            continue
        packet = await next_packet(stream)
        if packet.type != Packet.PACKET_STAT:
            raise BuildError("the client sent data of a file that it was not asked for")
        if not packet.HasField("stat"):
            return
        data = packet.SerializeToString()
        yield MessageRun(b"\0" + len(data).to_bytes(4) + data, [_PREFIX_BYTES])


def run_entries(run: MessageRun) -> Iterator[Stat]:
    """Yield what the packets of a list say. Raises BuildError."""
    for message in run.messages():
        yield _entry(message)


def _entry(message: bytes) -> Stat:
    try:
        packet = Packet.FromString(message)
    except DecodeError as error:
        raise BuildError(f"the client sent what is no packet of its context: {error}") from None
    if packet.type == Packet.PACKET_ERR:
        raise BuildError(f"the client failed to send its context: {packet.data.decode('utf-8', 'replace')}")
    if packet.type != Packet.PACKET_STAT:
        raise BuildError("the client sent data of a file that it was not asked for")
    found: Stat = packet.stat
    return found


async def listed_entries(stream: Stream[Any, Any]) -> AsyncIterator[Stat]:
    """Yield what the client has. Who reads says how many are too many. Raises BuildError."""
    async for run in list_runs(stream):
        for one in run_entries(run):
            yield one


class SentList(Sequence[Stat]):
    """A list that has come, or its beginning: what is asked of it is decoded each time, and may raise BuildError."""

    def __init__(self) -> None:
        self._runs: list[MessageRun] = []
        #: Of the first entry of each run, its number.
        self._numbers = array("Q")
        self._count = 0
        self._digest = sha256()
        self.size = 0
        """In bytes."""
        self.is_complete = False

    async def receive(self, runs: AsyncIterator[MessageRun], most_entries: int, most_bytes: int) -> None:
        """Take packets up to the end of the list, or until there are so many."""
        async for run in runs:
            self._numbers.append(self._count)
            # As bytes: of each number of Python's there would be twenty times as many.
            self._runs.append(MessageRun(run.data, array("I", run.starts)))
            self._count += len(run.starts)
            self._digest.update(run.data)
            self.size += len(run.data)
            if self._count > most_entries or self.size > most_bytes:
                return
        self.is_complete = True

    def runs(self) -> Sequence[MessageRun]:
        """What has come, in order."""
        return self._runs

    def digest(self) -> bytes:
        """The SHA-256 of all that has come."""
        return self._digest.digest()

    async def in_turns(self) -> AsyncIterator[tuple[int, Stat]]:
        """Yield the entries with their numbers, and let others have a turn of the event loop between."""
        number = 0
        for run in self._runs:
            for one in run_entries(run):
                yield number, one
                number += 1
            await asyncio.sleep(0)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, number: int) -> Stat: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[Stat]: ...

    def __getitem__(self, number: int | slice) -> Stat | Sequence[Stat]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(self._count))]
        if not 0 <= number < self._count:
            raise IndexError(number)
        at = bisect_right(self._numbers, number) - 1
        data, starts = self._runs[at]
        place = number - self._numbers[at]
        end = starts[place + 1] - _PREFIX_BYTES if place + 1 < len(starts) else len(data)
        return _entry(data[starts[place] : end])

    def __iter__(self) -> Iterator[Stat]:
        for run in self._runs:
            yield from run_entries(run)
