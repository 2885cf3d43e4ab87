"""One attached stream on this terminal, with its size, its signals and its keys to detach."""

from __future__ import annotations

from darse.cli.errors import CliError
from darse.cli.terminal import modes
from darse.cli.terminal.streams import Relay, SignalPipe, proxied_signals
from darse.client.stdlib import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from darse.client.blocking import Client, Connection
    from darse.client.requests import ApiRequest


class Detached(CliError):
    """The keys to detach were typed; docker's `attach` and `exec` fail then, its `run` and `start` do not."""

    def __init__(self) -> None:
        super().__init__("read escape sequence")


class Session:
    """One attached stream, and what goes with it: raw mode, sizes, signals, detach keys."""

    def __init__(
        self,
        client: Client,
        resize: Callable[..., ApiRequest[None, None]],
        *,
        tty: bool,
        stdin: bool,
        stdout: bool = True,
        stderr: bool = True,
        keys: str = "",
        kill: Callable[[str], ApiRequest[None, None]] | None = None,
        on_output: Callable[[int, bytes], None] | None = None,
        redraw: bool = False,
    ) -> None:
        """`resize` (height, width) asks for another size of the process's terminal.

        `kill` asks for a signal to be passed on, by its number; None leaves signals their meaning here.

        `on_output` gets what is printed; with `redraw` the process is made to draw its screen anew.
        """
        self._client = client
        self._resize = resize
        self._kill = kill
        self._tty = tty
        self._stdin = stdin
        self._shown = (stdout, stderr)
        self._on_output = on_output
        self.redraw = redraw
        self._keys = modes.detach_keys(keys)
        self.detached = False
        self._signals: SignalPipe | None = None

    def _watch(self, typed: bytes) -> None:
        """Notice the detach keys: everything is passed on, and the engine detaches."""
        self.detached |= self._keys.filter(typed)[1]

    def run(self, connection: Connection, begin: Callable[[], None]) -> None:
        """Call `begin` (which starts the process) with everything in place, and relay to the end."""
        multiplexed = not self._tty
        relay = Relay(
            connection,
            multiplexed=multiplexed,
            stdin=self._stdin,
            stdout=self._shown[0],
            stderr=self._shown[1],
            on_signal=self._on_signal,
            on_input=self._watch if self._tty else None,
            on_output=self._on_output,
        )
        numbers = proxied_signals() if self._kill is not None and not self._tty else []
        if self._tty:
            numbers.append(signal.SIGWINCH)
        self._signals = SignalPipe(numbers)
        try:
            begin()
            if self._tty:
                self._run_on_terminal(relay, self._signals)
            else:
                relay.run(self._signals)
        finally:
            self._signals.close()

    def _run_on_terminal(self, relay: Relay, signals: SignalPipe) -> None:
        with modes.raw_mode(0, when=self._stdin and modes.is_terminal(0)):
            if self.redraw:
                # Programs draw when their terminal changes its size: there and back.
                self.resize(1)
            self.resize()
            relay.run(signals)

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGWINCH:
            self.resize()
        elif self._kill is not None:
            try:
                self._client.do(self._kill(str(number)))
            except CliError:
                return  # the process may have ended just now

    def resize(self, more: int = 0) -> None:
        """Give the process's terminal the size of ours, or that and so many lines and columns `more`."""
        height, width = modes.size()
        if height and width:
            try:
                self._client.do(self._resize(height=height + more, width=width + more))
            except CliError:
                return  # before the process runs, or after it, there is nothing to resize
