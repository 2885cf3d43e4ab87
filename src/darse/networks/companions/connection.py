"""The engine's connection to a companion: calls, their answers, and descriptors that go with either."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from darse.core.errors import SystemFault
from darse.core.exhaustion import reason
from darse.linux import packets
from darse.linux.descriptors import DescriptorClosed, FileDescriptor

View = dict[str, Any]


class CompanionLost(SystemFault):
    """The connection to a companion has ended."""


class CompanionConnection:
    """A connection to the process: calls, and their answers."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        """`name` is what the companion is called in errors."""
        sock.setblocking(False)
        self._name = name
        self._socket = sock
        self._descriptor = FileDescriptor(sock.fileno(), sock.close)
        self._serials = itertools.count(1)
        self._answers: dict[int, asyncio.Future[View]] = {}
        #: With descriptors of our own: those who call may give up, and close theirs, before a packet leaves.
        self._unsent: deque[tuple[bytes, list[int]]] = deque()
        self._sender: asyncio.Task[None] | None = None
        #: Set when the other side is gone.
        self.lost = asyncio.Event()
        self._descriptor.listen(self._readable)

    def call(self, document: Mapping[str, Any], descriptors: Sequence[int] = ()) -> asyncio.Future[View]:
        """Send a message, in the order of calls, and return its answer to come; `descriptors` stay the caller's.

        That raises CompanionLost, and SystemFault for an error. Its `descriptors`, if there are any, are the caller's.
        """
        serial = next(self._serials)
        answer: asyncio.Future[View] = asyncio.get_running_loop().create_future()
        # Of several answers that are waited for in turn, one may never be looked at.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        if self.lost.is_set():
            answer.set_exception(CompanionLost(f"the {self._name} has ended"))
            return answer
        self._answers[serial] = answer
        packet = packets.pack(serial, dict(document))
        if self._sender is not None or not self._sent(packet, descriptors):
            try:
                self._unsent.append((packet, copies_of(descriptors)))
            except OSError as error:
                del self._answers[serial]
                answer.set_exception(SystemFault(f"the {self._name} is busy, and this cannot wait: {reason(error)}"))
            else:
                if self._sender is None:
                    self._sender = asyncio.create_task(self._send_later(), name="companion's changes")
        return answer

    def _sent(self, packet: bytes, descriptors: Sequence[int]) -> bool:
        """Send a packet; False when the other side does not take it yet. A connection that is lost takes all."""
        try:
            packets.send(self._socket, packet, descriptors)
        except BlockingIOError:
            return False
        except OSError as error:
            self._lose(error.strerror or str(error))
        return True

    def _flush(self) -> None:
        while self._unsent and self._sent(*self._unsent[0]):
            if self._unsent:
                close_all(self._unsent.popleft()[1])

    async def _send_later(self) -> None:
        with contextlib.suppress(DescriptorClosed):
            while self._unsent:
                await self._descriptor.writable()
                self._flush()
        self._sender = None

    def _readable(self) -> None:
        try:
            packet, descriptors = packets.receive(self._socket)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(error.strerror or str(error))
            return
        if not packet:
            self._lose("it has ended")
            return
        serial, document = packets.unpack(packet)
        answer = self._answers.pop(serial, None)
        if answer is None or answer.done():
            close_all(descriptors)
            return
        if descriptors:
            document["descriptors"] = descriptors
        if "error" in document:
            answer.set_exception(SystemFault(f"the {self._name}: {document['error']}"))
        else:
            answer.set_result(document)

    def _lose(self, why: str) -> None:
        self._descriptor.stop_listening()
        self.lost.set()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(CompanionLost(f"the connection to the {self._name} has ended: {why}"))
        self._answers.clear()
        while self._unsent:
            close_all(self._unsent.popleft()[1])

    def close(self) -> None:
        """Close it; who waits for answers gets CompanionLost."""
        if not self._descriptor.closed:
            self._lose("it is closed")
            self._descriptor.close()


def copies_of(descriptors: Sequence[int]) -> list[int]:
    """Descriptors of one's own for the same files. Raises OSError, and leaves none then."""
    copies: list[int] = []
    try:
        for descriptor in descriptors:
            copies.append(os.dup(descriptor))
    except OSError:
        close_all(copies)
        raise
    return copies


def close_all(descriptors: Iterable[int]) -> None:
    """Close descriptors."""
    for descriptor in descriptors:
        os.close(descriptor)
