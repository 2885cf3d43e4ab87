"""`events`: what happens, as it happens."""

from __future__ import annotations

import sys
import time

from darse.cli.command_line.flags import Command, listing, parse_filters, string, terminal_width
from darse.cli.command_line.invocation import Invocation
from darse.cli.engine.resume import api_time
from darse.cli.errors import CliError, ConnectionFailed
from darse.cli.output.format import INSPECT_FORMAT_HELP, short_id
from darse.cli.output.table import ellipsis
from darse.client.blocking import Reconnection
from darse.client.requests import system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from darse.client.documents.system import EventDocument


def events(invocation: Invocation) -> int:
    """Print events until there are no more, also when the engine goes away meanwhile and comes back."""
    options, client = invocation.options, invocation.client
    show = _shower(options.format)
    now = time.time()
    since, until = _moment(options.since, now), _moment(options.until, now)
    filters = parse_filters(options.filter)
    reconnection = Reconnection(client)
    newest = 0
    shown: list[EventDocument] = []  # what is shown already of the newest nanosecond
    while True:
        try:
            for event in client.open(system.events(since=since, until=until, filters=filters)).messages():
                reconnection.progress()
                happened = event.get("timeNano", 0)
                if event in shown:
                    continue
                newest, shown = (happened, [event]) if happened > newest else (newest, [*shown, event])
                sys.stdout.write(show(event) + "\n")
                sys.stdout.flush()
        except ConnectionFailed as lost:
            since = api_time(newest) if newest else since or f"{now:.9f}"
            again = f"`darse events --since {since}` goes on from here when it is back"
            reconnection.wait(lost, f"the engine went away, containers run on: {again}")
        else:
            return 0


def _moment(text: str, now: float) -> str | None:
    """`10m`, `1h30m`: that long ago, as seconds since the epoch. Other times are the engine's to read."""
    if not text:
        return None
    if text == "0":
        return text  # the beginning of time, as docker has it
    from darse.durations import InvalidDuration, parse_duration

    try:
        return f"{now - parse_duration(text) / 1e9:.9f}"
    except InvalidDuration:
        return text


def _shower(source: str) -> Callable[[EventDocument], str]:
    if not source:
        return _line
    from darse.cli.templates import Template, TemplateError

    try:
        template = Template("{{json .}}" if source == "json" else source)
        template.of_type({}, "*events.Message")
    except TemplateError as error:
        raise CliError(f"Error parsing format: {error}", 64) from error

    def show(event: EventDocument) -> str:
        try:
            return template.of_type(event, "events.Message")
        except TemplateError as error:
            raise CliError(str(error)) from error

    return show


def _line(event: EventDocument) -> str:
    actor = event.get("Actor") or {}
    nanoseconds = event.get("timeNano") or event.get("time", 0) * 1_000_000_000
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    local = time.localtime(seconds)
    zone = time.strftime("%z", local)
    zone = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    text = f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{fraction:09d}{zone}"
    attributes = actor.get("Attributes") or {}
    listed = f" ({', '.join(f'{key}={attributes[key]}' for key in sorted(attributes))})" if attributes else ""
    line = f"{text} {event['Type']} {event['Action']} {actor.get('ID', '')}{listed}"
    if not sys.stdout.isatty() or len(line) <= (columns := terminal_width()):
        return line
    # On a terminal that is too narrow: the time of day, a short id, and as much of the attributes as there is room for.
    clock = f"{time.strftime('%H:%M:%S', local)}.{fraction // 1_000_000:03d}"
    return ellipsis(f"{clock} {event['Type']} {event['Action']} {short_id(actor.get('ID', ''))}{listed}", columns)


COMMANDS = {
    "system events": (
        Command(
            "system events",
            "[OPTIONS]",
            "Get real time events from the engine",
            (
                listing("filter", "Filter output based on conditions provided", "f", "filter"),
                string("format", INSPECT_FORMAT_HELP),
                string("since", "Show all events created since timestamp"),
                string("until", "Stream events until this timestamp"),
            ),
        ),
        events,
    )
}
