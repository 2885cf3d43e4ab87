"""`logs`: what a container has printed, and with `--follow` what it prints, across restarts of the engine."""

from __future__ import annotations

import re
import time

from darse.cli.command_line.flags import Command, string, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.creating.values import duration
from darse.cli.engine.resume import StampedStream, api_time
from darse.cli.errors import CliError, ConnectionFailed
from darse.cli.terminal.streams import write_all
from darse.client.blocking import Reconnection
from darse.client.requests import containers
from darse.client.streams import Demultiplexer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.client.requests import StreamsRequest

_RELATIVE = re.compile(r"(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+\Z")


def moment(text: str, flag: str) -> str | None:
    """A time for the API: `10m` ago becomes seconds since the epoch; other forms are the engine's to read."""
    if not text:
        return None
    if _RELATIVE.match(text):
        return f"{time.time() - duration(text, flag) / 1e9:.9f}"
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return text
    return _local(text)


def _local(text: str) -> str:
    import datetime

    try:
        parsed = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise CliError(f'invalid value for "since": failed to parse value as time or duration: "{text}"') from None
    # Not by a float: it has no room for nanoseconds, and `since` with a line's own stamp would lose that line.
    fraction = re.search(r"[.,](\d+)", text)
    nanoseconds = int(fraction[1][:9].ljust(9, "0")) if fraction else 0
    return api_time(int(parsed.replace(microsecond=0).timestamp()) * 10**9 + nanoseconds)


def logs(invocation: Invocation) -> int:
    """Print a container's log; with --follow also after the engine went away and came back."""
    options, client = invocation.options, invocation.client
    name = invocation.arguments[0]
    begun = time.time_ns()
    tty = client.do(containers.inspect(name))["Config"]["Tty"]
    since, until, tail = moment(options.since, "since"), moment(options.until, "until"), options.tail

    def requested(*, timestamps: bool) -> StreamsRequest:
        return containers.logs(
            name,
            follow=options.follow,
            since=since,
            until=until,
            timestamps=timestamps,
            tail=tail,
            details=options.details,
        )

    if not options.follow:
        take = (lambda data: write_all(1, data)) if tty else Demultiplexer(write_all).feed
        for piece in client.open(requested(timestamps=options.timestamps)).pieces():
            take(piece)
        return 0
    follower = _Follower(tty=tty, show_stamps=options.timestamps)
    reconnection = Reconnection(client)
    while True:
        try:
            for piece in client.open(requested(timestamps=True)).pieces():
                reconnection.progress()
                follower.take(piece)
        except ConnectionFailed as lost:
            reconnection.wait(lost, f"the engine went away; {name} runs on: `darse logs -f {name}`")
        else:
            return 0
        if seen := follower.again(begun if options.tail != "all" else 0):
            since, tail = api_time(seen), "all"


class _Follower:
    """A log that is followed, with the times that it is found again by."""

    def __init__(self, *, tty: bool, show_stamps: bool) -> None:
        self._tty = tty
        self._streams = {number: StampedStream(show_stamps=show_stamps) for number in ((1,) if tty else (1, 2))}
        self._begin()

    def _begin(self) -> None:
        self.take = (lambda data: self._show(1, data)) if self._tty else Demultiplexer(self._show).feed

    def _show(self, descriptor: int, data: bytes) -> None:
        shown = self._streams[descriptor].feed(data, is_frame=not self._tty)
        if shown:
            write_all(descriptor, shown)

    def again(self, otherwise: int) -> int:
        """Begin anew; return from when on the log is to be asked for, `otherwise` where nothing was shown."""
        self._begin()
        for stream in self._streams.values():
            stream.again()
        seen = [since for stream in self._streams.values() if (since := stream.since_ns())]
        return min(seen, default=otherwise)


COMMANDS = {
    "container logs": (
        Command(
            "container logs",
            "[OPTIONS] CONTAINER",
            "Fetch the logs of a container",
            (
                switch("details", "Show extra details provided to logs"),
                switch("follow", "Follow log output", "f"),
                string("since", 'Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m")'),
                string("tail", "Number of lines to show from the end of the logs", "n", default="all"),
                switch("timestamps", "Show timestamps", "t"),
                string("until", 'Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m")'),
            ),
            minimum=1,
            maximum=1,
        ),
        logs,
    )
}
