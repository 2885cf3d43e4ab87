"""`logs`."""

from __future__ import annotations

import re
import time

from darse.cli.client import quote
from darse.cli.creating.values import duration
from darse.cli.errors import CliError
from darse.cli.flags import Command, string, switch
from darse.cli.invocation import Invocation
from darse.cli.streams import Demultiplexer, write_all

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
    return f"{parsed.timestamp():.9f}"


def logs(invocation: Invocation) -> int:
    """Print a container's log."""
    options, client = invocation.options, invocation.client
    path = f"/containers/{quote(invocation.arguments[0])}"
    tty = client.call("GET", f"{path}/json")["Config"]["Tty"]
    response = client.stream(
        "GET",
        f"{path}/logs",
        {
            "stdout": True,
            "stderr": True,
            "follow": options.follow,
            "since": moment(options.since, "since"),
            "until": moment(options.until, "until"),
            "timestamps": options.timestamps,
            "tail": options.tail,
            "details": options.details,
        },
    )
    take = (lambda data: write_all(1, data)) if tty else Demultiplexer(write_all).feed
    for piece in response.pieces():
        take(piece)
    return 0


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
