"""The streams of a process: many clients on conmon's one socket.

conmon closes a process's stdin when any client of its socket leaves, so the engine is the only client: a hub holds
one connection per process and shares its output among the attachments. The slowest attachment sets the pace: when
its buffer is full the hub stops reading, then conmon stops, then the process, as with a pipe. Who attaches to a
process that runs already is an onlooker: one that takes nothing for `STALLED_SECONDS` while the process waits for it
is let go, so that it cannot stop what is not its own. What it missed is in the log.

However many attachments there are, they share the pieces of the output, and the hub hands them out some at a time, so
that other clients have their turn.

With a terminal there is one stream, which conmon calls stdout.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator

from darse.containers.streams.output import STDERR, STDOUT, Batch, Piece
from darse.detach_keys import DetachKeys
from darse.runtime.monitor import conmon
from darse.runtime.monitor.console import Console

_HIGH_WATER = 1024 * 1024
# Bytes that are given to a client's connection at once: it copies what the client does not take yet.
_MOST_GIVEN = 64 * 1024
# What a piece counts beside its bytes, so that a great many tiny ones are not taken for nothing.
_PIECE_OVERHEAD = 8
# Attachments that are woken, or left, in one turn of the event loop.
_AT_ONCE = 64
STALLED_SECONDS = 10.0
_log = logging.getLogger("darse.containers")
_STREAMS = {conmon.STDOUT: STDOUT, conmon.STDERR: STDERR}


class Attachment:
    """One client's view of a process's streams."""

    def __init__(
        self,
        hub: ConsoleHub,
        *,
        terminal: bool,
        stdin: bool,
        outputs: frozenset[int],
        detach_keys: DetachKeys | None,
        history: AsyncIterator[Batch] | None = None,
    ) -> None:
        """`outputs` holds STDOUT and STDERR as the client asked; `history` is what comes first (past log lines).

        `terminal` is whether the client takes the output for a terminal's, as one stream.
        """
        self.terminal = terminal
        self.detached = False
        self._hub = hub
        self._stdin = stdin
        self._outputs = outputs
        self._keys = detach_keys
        self._history = history
        self._on_let_go: Callable[[], None] | None = None
        #: Since when the client has taken nothing of what there is for it, in the event loop's time.
        self.waits_since: float | None = None
        self._buffer: deque[Piece] = deque()
        self._size = 0
        self._wakeup = asyncio.Event()
        self._finished = False

    @property
    def full(self) -> bool:
        """Whether the client is too slow to be given more."""
        return self._size >= _HIGH_WATER

    def take(self, piece: Piece) -> None:
        """Take a piece of the output."""
        if piece[0] not in self._outputs or self._finished:
            return
        if not self._buffer:
            self.waits_since = asyncio.get_running_loop().time()
        self._buffer.append(piece)
        self._size += len(piece[1]) + _PIECE_OVERHEAD
        self._wakeup.set()

    def finish(self) -> None:
        """No more output comes; what is buffered is still delivered."""
        self._finished = True
        self._wakeup.set()

    def let_go(self) -> None:
        """End the attachment of a client that does not read, and drop what waits for it."""
        self._buffer.clear()
        self._size = 0
        self.finish()
        if self._on_let_go is not None:
            self._on_let_go()

    def when_let_go(self, leave: Callable[[], None]) -> None:
        """Have `leave` called if the client is let go because it does not read."""
        self._on_let_go = leave

    async def output(self) -> AsyncIterator[Batch]:
        """Yield output until the process has ended, the client has detached, or `close()`."""
        if self._history is not None:
            async for batch in self._history:
                yield batch
        while True:
            if self._buffer:
                yield self._next()
            elif self._finished:
                return
            else:
                self._wakeup.clear()
                await self._wakeup.wait()

    def _next(self) -> Batch:
        batch = [self._buffer.popleft()]
        size = len(batch[0][1]) + _PIECE_OVERHEAD
        while self._buffer and (more := size + len(self._buffer[0][1]) + _PIECE_OVERHEAD) <= _MOST_GIVEN:
            batch.append(self._buffer.popleft())
            size = more
        self.waits_since = asyncio.get_running_loop().time() if self._buffer else None
        was_full = self.full
        self._size -= size
        if was_full:
            self._hub.read_by(self)
        return batch

    async def write(self, data: bytes) -> None:
        """Give input to the process. Input that nobody can take any more is dropped, as a closed pipe's is."""
        if not self._stdin or self._finished:
            return
        if self._keys is not None:
            data, detached = self._keys.filter(data)
            if detached:
                await self._deliver(data)
                self.detached = True
                self._hub.remove_attachment(self)
                self.finish()
                return
        await self._deliver(data)

    async def _deliver(self, data: bytes) -> None:
        if data:
            with contextlib.suppress(ConnectionError):
                await self._hub.write(data)

    async def close_stdin(self) -> None:
        """The client has no more input."""
        if self._stdin and not self._finished:
            await self._hub.input_ended()

    async def close(self) -> None:
        """The client is gone."""
        if self._stdin and not self._finished:
            self._hub.client_left()
        self._hub.remove_attachment(self)
        self.finish()


class ConsoleHub:
    """The engine's connection to one process's conmon, and the attachments that share it."""

    def __init__(
        self,
        connect: Callable[[], socket.socket],
        *,
        terminal: bool,
        stdin_once: bool,
        keep_connected: bool,
        on_detach: Callable[[], None],
    ) -> None:
        """`connect` opens conmon's socket; `stdin_once` closes stdin when the first client's input ends.

        `keep_connected` is for processes whose stdin conmon would close with our connection. Others are left alone
        while nobody is attached, so that their output costs the engine nothing.
        """
        self.terminal = terminal
        self._connect = connect
        self._stdin_once = stdin_once
        self._keep_connected = keep_connected
        self._on_detach = on_detach
        self._console: Console | None = None
        self._connected = asyncio.Event()
        self._attachments: dict[Attachment, None] = {}
        # Those that the process waits for.
        self._full: set[Attachment] = set()
        self._late_attachments: set[Attachment] = set()
        self._stall_timer: asyncio.TimerHandle | None = None
        # Whether a piece of output is being handed out.
        self._sharing = False
        self._exited = False

    @property
    def is_used(self) -> bool:
        """Whether somebody is attached."""
        return bool(self._attachments)

    def connect(self, connection: socket.socket | None = None) -> None:
        """Connect to conmon, with `connection` where there is one already. Raises OSError."""
        if self._console is None:
            self._console = Console(connection or self._connect(), self._output, self._ended)
            self._connected.set()
            self.balance()

    def add(self, attachment: Attachment, *, running: bool) -> None:
        """Share the streams with `attachment`, from now on, or from the process's start. Raises OSError."""
        if running:
            # Without a monitor the process has ended: as with docker its streams are empty, and end with it.
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                self.connect()
            self._late_attachments.add(attachment)
        self._attachments[attachment] = None

    def remove_attachment(self, attachment: Attachment) -> None:
        """Stop sharing with `attachment`."""
        if attachment in self._attachments:
            del self._attachments[attachment]
            self._late_attachments.discard(attachment)
            self.read_by(attachment)
            if attachment.detached:
                self._on_detach()
            if not self._attachments and not self._keep_connected and self._console is not None:
                self._console.close()
                self._console = None
                self._connected.clear()

    def read_by(self, attachment: Attachment) -> None:
        """A client that kept the process waiting has taken some of its output, or is gone."""
        if attachment in self._full:
            self._full.discard(attachment)
            self.balance()

    def balance(self) -> None:
        """Read from conmon while every attachment has room."""
        if self._stall_timer is not None and not self._full:
            self._stall_timer.cancel()
            self._stall_timer = None
        if self._console is None or self._sharing:
            return
        if self._full:
            self._console.pause()
            if self._stall_timer is None and not self._late_attachments.isdisjoint(self._full):
                self._stall_timer = asyncio.get_running_loop().call_later(STALLED_SECONDS, self._let_go)
        else:
            self._console.resume()

    def _let_go(self) -> None:
        """Leave the onlookers that have taken nothing for too long, and look again after the others.

        Also those whose buffers have some room yet: the process would wait for each of them next.
        """
        self._stall_timer = None
        before = asyncio.get_running_loop().time() - STALLED_SECONDS * 0.9
        stalled = [one for one in self._late_attachments if one.waits_since is not None and one.waits_since <= before]
        if stalled:
            _log.warning("%d clients of a container's streams do not read, and are let go", len(stalled))
        self._leave_in_turns(iter(stalled))

    def _leave_in_turns(self, stalled: Iterator[Attachment]) -> None:
        """Leave some of them; the others when other clients have had their turn: each is a connection to be ended."""
        some = list(itertools.islice(stalled, _AT_ONCE))
        for attachment in some:
            if attachment in self._attachments:
                attachment.let_go()
                self.remove_attachment(attachment)
        if some:
            asyncio.get_running_loop().call_soon(self._leave_in_turns, stalled)
        elif self._full:
            self.balance()

    async def write(self, data: bytes) -> None:
        """Give input to the process, once it runs. Raises ConnectionError when it takes none any more."""
        await self._connected.wait()
        if self._console is not None:
            await self._console.write(data)

    async def input_ended(self) -> None:
        """A client said that it has no more input: the end of it for the process where stdin is for one client."""
        await self._connected.wait()
        self.client_left()

    def client_left(self) -> None:
        """A client with stdin vanished; that ends the input too."""
        if self._stdin_once and not self.terminal and self._console is not None:
            self._console.end_input()

    def _output(self, stream: int, data: bytes) -> None:
        piece = (_STREAMS[stream], data)
        everybody = iter(list(self._attachments))
        if len(self._attachments) <= _AT_ONCE:
            self._share(piece, everybody)
            if self._full:
                self.balance()
        else:
            assert self._console is not None
            self._sharing = True
            self._console.pause()
            self._share_in_turns(piece, everybody)

    def _share(self, piece: Piece, among: Iterator[Attachment]) -> None:
        for attachment in among:
            attachment.take(piece)
            if attachment.full and attachment in self._attachments:
                self._full.add(attachment)

    def _share_in_turns(self, piece: Piece, rest: Iterator[Attachment]) -> None:
        some = list(itertools.islice(rest, _AT_ONCE))
        self._share(piece, iter(some))
        if some:
            asyncio.get_running_loop().call_soon(self._share_in_turns, piece, rest)
        else:
            self._sharing = False
            self.balance()

    def _ended(self) -> None:
        assert self._console is not None
        self._console.close()
        self._console = None
        if self._exited:
            self._finish()

    def process_exited(self) -> None:
        """The process's exit is on record: finish every attachment once all output is through.

        A client that reads to the end of the stream may then ask for the exit code and gets it.
        """
        self._exited = True
        if self._console is None:
            self._finish()

    def _finish(self) -> None:
        """Let the attachments go, and be ready for the next start."""
        self._exited = False
        self._connected.clear()
        for attachment in list(self._attachments):
            attachment.finish()
        self._attachments.clear()
        self._late_attachments.clear()
        self._full.clear()
        self.balance()
