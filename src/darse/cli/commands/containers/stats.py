"""`stats`: what containers use; on a terminal refreshed in place.

Each container is read on a connection and a thread of its own, as the API offers nothing else; the main thread draws.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import nullcontext

from darse.cli.command_line.flags import Command, string, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import CliError, ConnectionFailed
from darse.cli.output import stats_rows
from darse.cli.output.format import FORMAT_HELP, Format
from darse.cli.terminal import modes, screen
from darse.client.blocking import Reconnection
from darse.client.requests import containers, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.client.blocking import Client
    from darse.client.documents.observation import StatsResponseDocument

_REFRESH_SECONDS = 0.5
_FIRST_SECONDS = 2.0
_STACK = 256 * 1024
_HOME, _CLEAR, _END_OF_LINE, _BELOW = "\033[H", "\033[2J", "\033[K", "\033[J"


class _Watched:
    """One container: its newest sample."""

    def __init__(self, client: Client, container: str, *, stream: bool) -> None:
        self.container = container
        self.sample: StatsResponseDocument = {}
        self.error: CliError | None = None
        self.lost: ConnectionFailed | None = None
        self.ready = threading.Event()
        self.over = False
        self._client = client
        self._stream = stream
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        try:
            response = self._client.open(containers.stats(self.container, stream=self._stream))
            for sample in response.messages() if self._stream else filter(None, [response.json()]):
                self.sample = sample
                self.ready.set()
        except ConnectionFailed as error:
            self.lost = error
        except (CliError, OSError) as error:
            self.error = error if isinstance(error, CliError) else CliError(str(error))
        finally:
            self.over = True
            self.ready.set()


class _Fleet:
    """The containers that are shown: those named, or all that run and come to run."""

    def __init__(self, invocation: Invocation) -> None:
        self._client = invocation.client
        self._everything = invocation.options.all
        self._stream = not invocation.options.no_stream
        self._lock = threading.Lock()
        self._watched: dict[str, _Watched] = {}
        self._lost: ConnectionFailed | None = None
        for name in invocation.arguments:
            self._watched.setdefault(name, self._watch(name))
        if not invocation.arguments:
            if self._stream:
                # Before the list: what starts in between is in both.
                threading.Thread(target=self._follow, daemon=True).start()
            for container in self._client.do(containers.list_containers(all=self._everything)):
                self._add(container["Id"][:12])

    def _watch(self, container: str) -> _Watched:
        return _Watched(self._client, container, stream=self._stream)

    def _add(self, container: str) -> None:
        with self._lock:
            known = self._watched.get(container)
            if known is None or known.over:
                self._watched[container] = self._watch(container)

    def _follow(self) -> None:
        """Add containers as they start, and drop them as they end."""
        actions = {"create", "start", "destroy"} if self._everything else {"start", "die", "destroy"}
        filters = {"type": ["container"], "event": sorted(actions)}
        try:
            for event in self._client.open(system.events(filters=filters)).messages():
                container = event["Actor"]["ID"][:12]
                if event["Action"] in ("create", "start"):
                    self._add(container)
                else:
                    with self._lock:
                        self._watched.pop(container, None)
        except ConnectionFailed as error:
            self._lost = error
        except (CliError, OSError) as error:
            self._lost = ConnectionFailed(f"cannot follow the engine's events: {error}")

    def lost(self) -> ConnectionFailed | None:
        """How the connection to the engine was lost; None while it holds."""
        return self._lost or next((one.lost for one in self.shown() if one.lost is not None), None)

    def shown(self) -> list[_Watched]:
        """The containers now."""
        with self._lock:
            return list(self._watched.values())


def stats(invocation: Invocation) -> int:
    """Print what containers use; an interrupt leaves the last table, and the prompt below it."""
    try:
        # The cursor stands below the table: there is nothing to tidy up but the `^C`, which is not shown.
        with modes.no_echo_of_controls(0) if sys.stdin.isatty() else nullcontext():
            return _stats(invocation)
    except KeyboardInterrupt:
        if sys.stdout.isatty() and not sys.stdin.isatty():
            sys.stdout.write("\n")
        raise


def _stats(invocation: Invocation) -> int:
    """Print what containers use. Raises CliError when a container that was named is not there."""
    options = invocation.options
    source = options.format or invocation.settings.member("statsFormat", str)
    layout = Format(stats_rows.DEFAULT if source in ("", "table") else source)
    threading.stack_size(_STACK)
    live = sys.stdout.isatty() and not options.no_stream
    reconnection = Reconnection(invocation.client)
    fleet = _Fleet(invocation)
    is_new = True
    while True:
        if is_new:
            _await_first(fleet, forever=options.no_stream)
            _refuse_missing(fleet, invocation)
            if live:
                screen.control(_CLEAR)
        lost, shown = fleet.lost(), fleet.shown()
        if lost is not None and options.no_stream:
            raise lost
        _draw(layout, shown, truncate=not options.no_trunc, live=live, unknown=lost is not None)
        if lost is not None:
            reconnection.wait(lost, "the engine went away; containers run on: `darse stats`")
            fleet, is_new = _Fleet(invocation), True
            continue
        if options.no_stream or (invocation.arguments and all(one.over for one in shown)):
            return 0
        if not is_new:
            reconnection.progress()
        is_new = False
        time.sleep(_REFRESH_SECONDS)


def _refuse_missing(fleet: _Fleet, invocation: Invocation) -> None:
    errors = [one.error for one in fleet.shown() if one.error is not None]
    if errors and invocation.arguments:
        raise CliError("\n".join(str(error) for error in errors))


def _await_first(fleet: _Fleet, *, forever: bool) -> None:
    deadline = time.monotonic() + _FIRST_SECONDS
    for one in fleet.shown():
        one.ready.wait(None if forever else max(0.0, deadline - time.monotonic()))


def _draw(layout: Format, shown: list[_Watched], *, truncate: bool, live: bool, unknown: bool) -> None:
    """Print a table; the figures are `unknown` while there is no engine."""
    columns = 0
    if layout.is_table and sys.stdout.isatty():
        from darse.cli.command_line.flags import terminal_width

        columns = terminal_width()
    rows = [
        stats_rows.StatsRow(one.container, {} if unknown else one.sample, truncate=truncate)
        for one in shown
        if one.error is None
    ]
    text = layout.render(rows, stats_rows.HEADINGS, columns=columns)
    if live:
        screen.control(_HOME + screen.visible(text).replace("\n", f"{_END_OF_LINE}\n") + _BELOW)
    else:
        sys.stdout.write(text)
    sys.stdout.flush()


COMMANDS = {
    "container stats": (
        Command(
            "container stats",
            "[OPTIONS] [CONTAINER...]",
            "Display a live stream of container(s) resource usage statistics",
            (
                switch("all", "Show all containers (default shows just running)", "a"),
                string("format", FORMAT_HELP),
                switch("no-stream", "Disable streaming stats and only pull the first result"),
                switch("no-trunc", "Do not truncate output"),
            ),
            0,
            None,
        ),
        stats,
    )
}
