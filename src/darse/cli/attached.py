"""A container's or exec's streams on this terminal: what run, start, attach and exec have in common."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable

from darse.cli import terminal
from darse.cli.client import Client, Connection, Response
from darse.cli.errors import CliError
from darse.cli.streams import Relay, SignalPipe, proxied_signals

DEFAULT_KEYS = "ctrl-p,ctrl-q"


def follow(
    client: Client,
    container: str,
    *,
    tty: bool,
    stdin: bool,
    stdout: bool = True,
    stderr: bool = True,
    keys: str = "",
    proxy_signals: bool,
    condition: str,
    begin: Callable[[], None] = lambda: None,
) -> int:
    """Be the terminal of a container until it ends or is detached from; return its status.

    `container` is its path in the API, `condition` what of the API's wait to wait for, `begin` starts it. Attached and
    waited for before that, a container that ends at once is not missed.
    """
    query = {"stream": True, "stdin": stdin, "stdout": stdout, "stderr": stderr, "detachKeys": keys or None}
    waiting = client.stream("POST", f"{container}/wait", {"condition": condition})
    connection, response = client.hijack(f"{container}/attach", query)
    session = Session(
        client,
        f"{container}/resize",
        tty=tty,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        keys=keys,
        kill_path=f"{container}/kill" if proxy_signals else "",
    )
    session.run(connection, response, begin)
    connection.close()
    if session.detached:
        return 0
    result = waiting.json()
    if result.get("Error"):
        raise CliError(result["Error"]["Message"], 125)
    return int(result["StatusCode"])


class Session:
    """One attached stream, and what goes with it: raw mode, sizes, signals, detach keys."""

    def __init__(
        self,
        client: Client,
        resize_path: str,
        *,
        tty: bool,
        stdin: bool,
        stdout: bool = True,
        stderr: bool = True,
        keys: str = "",
        kill_path: str = "",
    ) -> None:
        """`kill_path` is where signals are passed on to; empty to leave them their meaning here."""
        self._client = client
        self._resize_path = resize_path
        self._kill_path = kill_path
        self._tty = tty
        self._stdin = stdin
        self._shown = (stdout, stderr)
        self._watcher = terminal.KeyWatcher(terminal.parse_keys(keys or DEFAULT_KEYS))
        self._signals: SignalPipe | None = None

    @property
    def detached(self) -> bool:
        """Whether the user typed the detach keys."""
        return self._watcher.detached

    def run(self, connection: Connection, response: Response, begin: Callable[[], None]) -> None:
        """Call `begin` (which starts the process) with everything in place, and relay to the end."""
        multiplexed = not self._tty
        relay = Relay(
            connection,
            multiplexed=multiplexed,
            stdin=self._stdin,
            stdout=self._shown[0],
            stderr=self._shown[1],
            on_signal=self._on_signal,
            on_input=self._watcher.watch if self._tty else None,
        )
        del response  # its head has been read; what follows is the stream
        with contextlib.ExitStack() as stack:
            numbers = proxied_signals() if self._kill_path and not self._tty else []
            if self._tty:
                numbers.append(signal.SIGWINCH)
            self._signals = SignalPipe(numbers)
            stack.callback(self._signals.close)
            begin()
            if self._tty and self._stdin and terminal.is_terminal(0):
                stack.enter_context(terminal.raw_mode(0))
            if self._tty:
                self.resize()
            relay.run(self._signals)

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGWINCH:
            self.resize()
        elif self._kill_path:
            # The process may have ended just now.
            with contextlib.suppress(CliError):
                self._client.call("POST", self._kill_path, {"signal": str(number)})

    def resize(self) -> None:
        """Give the process's terminal the size of ours."""
        height, width = terminal.size()
        if height and width:
            # Before the process runs, or after it, there is nothing to resize.
            with contextlib.suppress(CliError):
                self._client.call("POST", self._resize_path, {"h": height, "w": width})
