"""Between a hijacked connection and the user's standard streams.

One loop around poll(2): input goes up while there is room, output comes down, signals arrive through a pipe. Output
of a process without a terminal is multiplexed: an 8-byte header (stream, length) before each piece.
"""

from __future__ import annotations

import os
import select

from darse.client.blocking import Connection
from darse.client.stdlib import signal, socket
from darse.client.streams import Demultiplexer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PIECE = 64 * 1024


def write_all(descriptor: int, data: bytes) -> None:
    """Write everything. Raises BrokenPipeError when nobody reads any more."""
    view = memoryview(data)
    while view:
        try:
            written = os.write(descriptor, view)
        except BlockingIOError:
            select.select([], [descriptor], [])
            continue
        view = view[written:]


class Relay:
    """Runs a stream to its end."""

    def __init__(
        self,
        connection: Connection,
        *,
        multiplexed: bool,
        stdin: bool,
        stdout: bool = True,
        stderr: bool = True,
        on_signal: Callable[[int], None] | None = None,
        on_input: Callable[[bytes], None] | None = None,
        on_output: Callable[[int, bytes], None] | None = None,
    ) -> None:
        """`on_signal` is called for each signal that the pipe catches, outside of any handler.

        `on_output` gets what the process printed, by descriptor, before it is shown.
        """
        self._connection = connection
        self._socket = connection.socket
        self._stdin = stdin
        self._shown = {1: stdout, 2: stderr}
        self._on_signal = on_signal
        self._on_input = on_input
        self._on_output = on_output
        self._pending = b""
        self._input_ended = False
        demultiplexer = Demultiplexer(self._show)
        self._take = demultiplexer.feed if multiplexed else lambda data: self._show(1, data)

    def _show(self, descriptor: int, data: bytes) -> None:
        if self._on_output is not None:
            self._on_output(descriptor, data)
        if self._shown[descriptor]:
            write_all(descriptor, data)

    def run(self, signals: SignalPipe | None = None) -> None:
        """Return when the engine ends the stream. Raises BrokenPipeError when our output has no reader."""
        early = self._connection.early()
        if early:
            self._take(early)
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if self._stdin:
            poll.register(0, select.POLLIN)
        if signals is not None:
            poll.register(signals.descriptor, select.POLLIN)
        if hasattr(self._socket, "pending"):
            self._socket.setblocking(True)
        while True:
            for descriptor, event in poll.poll():
                if signals is not None and descriptor == signals.descriptor:
                    for number in signals.caught():
                        if self._on_signal is not None:
                            self._on_signal(number)
                elif descriptor == 0:
                    self._read_input(poll)
                elif event & select.POLLOUT:
                    self._send_pending(poll)
                readable = descriptor == self._socket.fileno() and event & ~select.POLLOUT
                if readable and not self._receive():
                    return

    def _receive(self) -> bool:
        try:
            data = self._socket.recv(_PIECE)
        except ConnectionError:
            return False
        if data:
            self._take(data)
        return bool(data)

    def _read_input(self, poll: select.poll) -> None:
        data = os.read(0, _PIECE)
        if not data:
            poll.unregister(0)
            self._input_ended = True
            if not self._pending:
                self._end_input()
            return
        if self._on_input is not None:
            self._on_input(data)
        self._pending += data
        poll.unregister(0)  # until this is on its way
        poll.register(self._socket, select.POLLIN | select.POLLOUT)

    def _send_pending(self, poll: select.poll) -> None:
        try:
            sent = self._socket.send(self._pending, socket.MSG_DONTWAIT) if self._plain() else self._send_whole()
        except BlockingIOError:
            return
        except ConnectionError:
            sent = len(self._pending)  # the process takes no more input; its output may still come
            self._input_ended = True
        self._pending = self._pending[sent:]
        if not self._pending:
            poll.register(self._socket, select.POLLIN)
            if self._input_ended:
                self._end_input()
            else:
                poll.register(0, select.POLLIN)

    def _plain(self) -> bool:
        return not hasattr(self._socket, "pending")

    def _send_whole(self) -> int:
        self._socket.sendall(self._pending)
        return len(self._pending)

    def _end_input(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the engine has ended the stream already


class SignalPipe:
    """Signals as bytes in a pipe, so that they are handled between, not during, other work."""

    def __init__(self, numbers: list[int]) -> None:
        self.descriptor, self._write = os.pipe()
        os.set_blocking(self.descriptor, False)
        os.set_blocking(self._write, False)
        self._before = {number: signal.signal(number, self._nothing) for number in numbers}
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    @staticmethod
    def _nothing(_number: int, _frame: object) -> None:
        """The wake-up pipe has the signal; a handler must exist for that."""

    def caught(self) -> list[int]:
        """The signals that came since the last call."""
        try:
            return list(os.read(self.descriptor, 4096))
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Give signals back their meaning."""
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self.descriptor)
        os.close(self._write)


def proxied_signals() -> list[int]:
    """The signals that are passed on to the process: all that can be caught and mean something to it."""
    kept = {signal.SIGCHLD, signal.SIGPIPE, signal.SIGURG, signal.SIGWINCH, signal.SIGKILL, signal.SIGSTOP}
    kept |= {
        signal.SIGSEGV,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGBUS,
        signal.SIGTTIN,
        signal.SIGTTOU,
        signal.SIGTSTP,
    }
    return [number for number in signal.valid_signals() if number not in kept and number < 32]
