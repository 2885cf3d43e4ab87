"""Sends one container's log to its receiver: reads from where the last delivery ended, sends, and notes what arrived.

The container never waits: its output goes to the disk, and from there at the receiver's pace. While the receiver is
away the position stays, and the log is kept (see `LogRotation`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from enum import Enum

import msgspec

from darse.containers.logs.files import LogFiles
from darse.containers.logs.shipping.origin import Origin
from darse.containers.logs.shipping.receivers import Receiver
from darse.containers.logs.shipping.spool import Position, PositionFile, Spool
from darse.core import executors
from darse.linux.fs.inotify import Inotify, Subscription

_log = logging.getLogger("darse.logs")

_LONGEST_DELAY = 5.0
# Batches that were sent and are not known to have arrived; more wait.
_MOST_IN_FLIGHT = 64
# How soon to ask again whether something has arrived, in seconds; it doubles.
_FIRST_LOOK, _LAST_LOOK = 0.001, 0.1
# How long a stopping engine waits to hear that what it has sent arrived.
_DRAIN_SECONDS = 2.0


class Work(msgspec.Struct, frozen=True):
    """A log that is to be sent: its files, and where its position is noted."""

    origin: Origin
    files: LogFiles
    position: PositionFile


class _InFlight(msgspec.Struct):
    """A batch that was sent: the numbers of messages of this connection before it and in it, and its positions."""

    before: int
    count: int
    begin: Position
    end: Position

    def after(self, delivered: int) -> Position:
        """The position when so many messages of the connection were delivered."""
        done = delivered - self.before
        return self.end if done >= self.count else msgspec.structs.replace(self.begin, skip=self.begin.skip + done)


class _Talk(Enum):
    """How a connection ended."""

    FINISHED = "everything was sent, and no more comes"
    STOPPED = "the engine stops"


class Shipper:
    """The task of one log."""

    def __init__(
        self,
        work: Work,
        inotify: Inotify,
        connect: Callable[[], Receiver],
        *,
        retry_delay: float,
        ended: bool,
        moved_on: Callable[[], None],
    ) -> None:
        """`ended`: the container does not run; `moved_on()` is called when files of the log are needed no more."""
        self._work = work
        self._inotify = inotify
        self._new_receiver = connect
        self._first_delay = retry_delay
        self._ended = ended
        self._moved_on = moved_on
        self._wake = asyncio.Event()
        self._stopping = False
        self._position = self._noted = work.position.load()
        # The first file that may still be asked for.
        self.needs = self._position.sequence
        self._spool: Spool | None = None
        self._watch: Subscription | None = None
        self._failing = False
        self._delay = retry_delay

    # What happens around it

    def container_ended(self) -> None:
        """No more is written: finish when everything was sent."""
        self._ended = True
        self._wake.set()

    def container_started(self) -> None:
        """There will be more."""
        self._ended = False
        self._wake.set()

    def stop(self) -> None:
        """The engine stops: hear what has arrived, and leave the rest to the next one."""
        self._stopping = True
        self._wake.set()

    def move(self, work: Work) -> None:
        """The files are at another place now."""
        self._work = work
        if self._spool is not None:
            self._spool.move(work.files)
        self._unwatch()
        self._wake.set()

    @property
    def is_done(self) -> bool:
        """Whether a container that has ended needs no shipper."""
        return self._ended

    # The work

    async def run(self) -> bool:
        """Send until everything of a container that has ended was sent (true), or the engine stops (false)."""
        try:
            while not self._stopping:
                try:
                    talk = await self._talk()
                except OSError as error:
                    self._report(error)
                    await self._pause()
                    continue
                if talk is _Talk.STOPPED:
                    return False
                if self._ended:
                    return True
            return False
        finally:
            self._unwatch()

    async def _pause(self) -> None:
        """Wait before the next attempt. What the container writes meanwhile wakes nobody."""
        self._unwatch()
        delay, self._delay = self._delay, min(self._delay * 2, max(_LONGEST_DELAY, self._first_delay))
        deadline = asyncio.get_running_loop().time() + delay
        while not self._stopping and (left := deadline - asyncio.get_running_loop().time()) > 0:
            await self._wait(left)

    async def _talk(self) -> _Talk:
        """Use one connection until it is lost (OSError), or not needed any more."""
        receiver = self._new_receiver()
        in_flight: deque[_InFlight] = deque()
        try:
            await receiver.connect(self._wake.set)
            self._spool = spool = Spool(self._work.files, self._position)
            try:
                return await self._send_all(receiver, spool, in_flight)
            finally:
                self._spool = None
                spool.close()
        finally:
            receiver.close()
            self._position = _where(in_flight, receiver.delivered, self._position)
            await self._note(self._position)

    async def _send_all(self, receiver: Receiver, spool: Spool, in_flight: deque[_InFlight]) -> _Talk:
        sent = 0
        look = _FIRST_LOOK
        while True:
            self._listen()
            # Asked before reading: what was written before the end is then surely read.
            ended = self._ended
            receiver.check()
            batch = None
            if not self._stopping and _undelivered(in_flight, receiver.delivered) < _MOST_IN_FLIGHT:
                batch = await spool.read(ended=ended)
            if batch is not None:
                in_flight.append(_InFlight(sent, len(batch.messages), batch.begin, batch.end))
                sent += len(batch.messages)
                await receiver.send(batch.messages)
                await self._settle(receiver, in_flight, sent)
                look = _FIRST_LOOK
                continue
            waiting = await self._settle(receiver, in_flight, sent)
            if self._stopping:
                await self._drain(receiver, in_flight, sent)
                return _Talk.STOPPED
            if not waiting and ended and self._ended:
                await receiver.finish()
                return _Talk.FINISHED
            await self._wait(look if waiting else None)
            look = min(look * 2, _LAST_LOOK)

    async def _drain(self, receiver: Receiver, in_flight: deque[_InFlight], sent: int) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _DRAIN_SECONDS
        look = _FIRST_LOOK
        while await self._settle(receiver, in_flight, sent) and (left := deadline - loop.time()) > 0:
            receiver.check()
            self._wake.clear()
            await self._wait(min(look, left))
            look *= 2

    async def _settle(self, receiver: Receiver, in_flight: deque[_InFlight], sent: int) -> bool:
        """Note what has arrived; whether there is more that has not."""
        delivered = receiver.delivered
        if delivered and self._failing:
            self._failing = False
            _log.info("the log of container %s is sent again", self._work.origin.short_id)
        if delivered:
            self._delay = self._first_delay
        position = _where(in_flight, delivered, self._position)
        settled = receiver.settled
        while in_flight and in_flight[0].before + in_flight[0].count <= settled:
            self._position = in_flight.popleft().end
        await self._note(position)
        return delivered < sent

    async def _note(self, position: Position) -> None:
        if position != self._noted:
            self._noted = position
            # ext4 writes the new file to the disk before it takes the place of the old one.
            await executors.storage.run(self._work.position.save, position)
        needs = min(self._position.sequence, position.sequence)
        if needs > self.needs:
            self.needs = needs
            self._moved_on()

    def _listen(self) -> None:
        if self._watch is None and not self._ended:
            self._watch = self._inotify.subscribe(self._work.files.current.parent, self._wake.set)

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    async def _wait(self, seconds: float | None) -> None:
        """Until something has changed, or for some time."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return
        if not self._stopping:
            self._wake.clear()

    def _report(self, error: OSError) -> None:
        """Say it once, until something was delivered again."""
        level = logging.DEBUG if self._failing else logging.WARNING
        self._failing = True
        origin = self._work.origin
        reason = error.strerror or str(error) or type(error).__name__
        _log.log(
            level,
            "%s of container %s: %s; its log is kept, and sent when the receiver is there again",
            origin.driver,
            origin.short_id,
            reason,
        )


def _where(in_flight: deque[_InFlight], delivered: int, otherwise: Position) -> Position:
    """The position after so many messages of a connection."""
    for one in reversed(in_flight):
        if one.before <= delivered:
            return one.after(delivered)
    return otherwise


def _undelivered(in_flight: deque[_InFlight], delivered: int) -> int:
    """How many batches have not arrived as a whole."""
    found = 0
    for one in reversed(in_flight):
        if one.before + one.count <= delivered:
            break
        found += 1
    return found
