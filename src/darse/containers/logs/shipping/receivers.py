"""What a receiver is to the shipper. Each protocol has a module, with its options and a class that is a Receiver.

A receiver counts the messages that it was given since it was connected. `delivered` of them the other side has, as
far as the protocol lets us know; after a loss it says how many of them surely arrived, which can be fewer: what was
only in the other's buffers when it died. The shipper sends the rest again. `settled` of them are never asked about
again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from darse.containers.logs.shipping.messages import Message
from darse.containers.logs.shipping.origin import Origin


class Receiver(Protocol):
    """One connection to where messages go. Used once: after a loss there is a new one."""

    @property
    def delivered(self) -> int:
        """How many messages the other side has."""

    @property
    def settled(self) -> int:
        """How many of them will not be sent again, whatever becomes of the connection."""

    async def connect(self, wake: Callable[[], None]) -> None:
        """Reach the other side; `wake()` is called when it is lost. Raises OSError."""

    async def send(self, messages: Sequence[Message]) -> None:
        """Hand over messages, in order; waits while the other side is slow. Raises OSError."""

    def check(self) -> None:
        """Raise OSError when the other side is lost."""

    async def finish(self) -> None:
        """Everything was delivered, and nothing follows: part in peace. Raises OSError when it was not."""

    def close(self) -> None:
        """Let go; any number of times."""


class ReceiverConnection(Protocol):
    """What a receiver asks of its connection (`darse.containers.logs.shipping.connections`)."""

    @property
    def delivered(self) -> int:
        """See `Receiver`."""

    @property
    def settled(self) -> int:
        """See `Receiver`."""

    async def connect(self, wake: Callable[[], None]) -> None:
        """See `Receiver`."""

    def check(self) -> None:
        """See `Receiver`."""

    async def finish(self) -> None:
        """See `Receiver`."""

    def close(self) -> None:
        """See `Receiver`."""


class ConnectionReceiver:
    """The part of a Receiver that is its connection's, where what that has sent is what was delivered."""

    def __init__(self, connection: ReceiverConnection) -> None:
        self._transport = connection

    @property
    def delivered(self) -> int:
        """See `Receiver`."""
        return self._transport.delivered

    @property
    def settled(self) -> int:
        """See `Receiver`."""
        return self._transport.settled

    async def connect(self, wake: Callable[[], None]) -> None:
        """See `Receiver`."""
        await self._transport.connect(wake)

    def check(self) -> None:
        """See `Receiver`."""
        self._transport.check()

    async def finish(self) -> None:
        """See `Receiver`."""
        await self._transport.finish()

    def close(self) -> None:
        """See `Receiver`."""
        self._transport.close()


class RemoteDriver(msgspec.Struct, frozen=True):
    """A logging driver that sends its log somewhere."""

    options: frozenset[str]
    # Raises InvalidParameter for options that mean nothing.
    check: Callable[[Mapping[str, str]], None]
    receiver: Callable[[Origin], Receiver]
    # Seconds before the first new attempt to connect.
    retry_delay: Callable[[Mapping[str, str]], float] = lambda _: 0.1
