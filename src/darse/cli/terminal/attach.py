"""A container's streams on this terminal, across restarts of the engine: what run, start and attach have in common."""

from __future__ import annotations

import sys
import time

from darse.cli.engine.resume import AttachedStream, StampedStream, api_time
from darse.cli.errors import ApiError, CliError, ConnectionFailed
from darse.cli.terminal.session import Detached, Session
from darse.cli.terminal.streams import write_all
from darse.client.blocking import Reconnection
from darse.client.requests import containers, system
from darse.client.streams import Demultiplexer

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from darse.client.blocking import Client, Connection
    from darse.client.documents.containers import ContainerStateDocument, WaitResponseDocument
    from darse.client.requests import AttachRequest


def follow(
    client: Client,
    container: str,
    *,
    name: str,
    tty: bool,
    stdin: bool,
    stdout: bool = True,
    stderr: bool = True,
    keys: str = "",
    proxy_signals: bool,
    condition: str,
    begin: Callable[[], None] = lambda: None,
    redraw: bool = False,
    may_detach: bool = True,
) -> int:
    """Be the terminal of a container until it ends or is detached from; return its status.

    `container` is its name or id, `name` what users call it, `condition` what of the API's wait to wait for, `begin`
    starts it. Attached and waited for before that, a container that ends at once is not missed. When the engine goes
    away the container runs on; it is attached again, and what it printed meanwhile comes from its log.
    Raises Detached unless `may_detach`, and ConnectionLost when the engine does not come back in time.
    """
    streams = _streams(container, stdin=stdin, keys=keys)
    printed = _Printed(client, container, name, tty=tty, shown=(stdout, stderr))
    reconnection = Reconnection(client)
    waiting = client.open(containers.wait(container, condition=condition))
    connection, _ = client.attach(streams(stdout=stdout, stderr=stderr))
    session = Session(
        client,
        lambda **size: containers.resize(container, **size),
        tty=tty,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        keys=keys,
        kill=(lambda number: containers.kill(container, signal=number)) if proxy_signals else None,
        on_output=printed.note,
        redraw=redraw,
    )
    while True:
        session.run(connection, begin)
        connection.close()
        if session.detached:
            return _detached(may_detach=may_detach)
        printed.end()
        try:
            return _status_of(waiting.json())
        except ConnectionFailed as lost:
            reconnection.wait(lost, f"the engine went away; {name} runs on: `darse attach {name}`")
        state = _state(client, container, name, printed.begun_ns)
        printed.show_missed()
        if not state["Running"]:
            return int(state["ExitCode"])
        waiting = client.open(containers.wait(container, condition=condition))
        if (again := _attach_again(client, streams, printed, paused=state["Paused"])) is None:
            return _status_of(waiting.json())
        connection = again
        reconnection.progress()
        begin, session.redraw = (lambda: None), tty


def _streams(container: str, *, stdin: bool, keys: str) -> Callable[..., AttachRequest]:
    """What asks for the streams of a container; `stdout` and `stderr` say which of the two it is to have."""
    return lambda **shown: containers.attach(container, stdin=stdin, detach_keys=keys, **shown)


def _detached(*, may_detach: bool) -> int:
    if not may_detach:
        raise Detached
    return 0


def _status_of(ended: WaitResponseDocument) -> int:
    if error := ended.get("Error"):
        raise CliError(error["Message"], 125)
    return ended["StatusCode"]


def _state(client: Client, container: str, name: str, since_ns: int) -> ContainerStateDocument:
    """The state of a container after the engine came back. Raises CliError when it was removed without a trace."""
    try:
        state = client.do(containers.inspect(container))["State"]
    except ApiError as error:
        if error.http_status != 404:
            raise
        status = _died_with(client, container, since_ns)
        if status is None:
            text = f"{name} has ended and was removed while the engine was away: its exit status is lost"
            raise CliError(text) from error
        return {"Running": False, "ExitCode": status}
    return state


def _died_with(client: Client, container: str, since_ns: int) -> int | None:
    """The status of a removed container's last run since a time, by the engine's events; None when they have none."""
    filters = {"container": [container], "event": ["die"]}
    past = system.events(since=api_time(since_ns), until=api_time(time.time_ns()), filters=filters)
    statuses = [(event["Actor"]["Attributes"] or {}).get("exitCode") for event in client.open(past).messages()]
    return int(statuses[-1]) if statuses and statuses[-1] else None


def _attach_again(
    client: Client, streams: Callable[..., AttachRequest], printed: _Printed, *, paused: bool
) -> Connection | None:
    """Attach to a container that ran a moment ago; None when it is just ending or has been removed.

    Raises ApiError when it cannot be attached for another reason; that it is `paused`, say.
    """
    try:
        # Its log shows what it prints from now on: where that begins is known to the nanosecond.
        connection, _ = client.attach(streams(**printed.follow()))
    except ApiError as error:
        if error.http_status in (404, 409) and not paused:
            printed.end()
            return None
        raise
    printed.ends_with(connection)
    return connection


class _Printed:
    """What a container has printed here, and its log, from where that goes on once no engine has carried it."""

    def __init__(self, client: Client, container: str, name: str, *, tty: bool, shown: tuple[bool, bool]) -> None:
        self._client, self._container, self._name, self._tty = client, container, name, tty
        self._shown = shown
        numbers = [1] if tty else [number for number, on in zip((1, 2), shown, strict=True) if on]
        self.begun_ns = now = time.time_ns()
        self._attached = {number: AttachedStream(now) for number in numbers}
        self._stamped: dict[int, StampedStream] = {}
        self._following: threading.Thread | None = None
        self._no_reader: BrokenPipeError | None = None
        self._connection: Connection | None = None

    def note(self, descriptor: int, data: bytes) -> None:
        """Take what was printed."""
        if descriptor in self._attached:
            self._attached[descriptor].note(data)

    def show_missed(self) -> None:
        """Show what the log has more than was shown, or say why that cannot be."""
        if self._stamped or not self._attached:
            return  # the log itself goes on where it broke off
        stamped = {number: StampedStream(show_stamps=False) for number in self._attached}
        logs = {number: bytearray() for number in self._attached}
        since = min(stream.since_ns for stream in self._attached.values())
        try:
            for number, data in self._log(since):
                logs[number] += stamped[number].feed(data, is_frame=not self._tty)
        except ApiError as error:
            self._say(f"what {self._name} printed meanwhile cannot be shown: {error.reason}")
            return
        self._stamped = stamped
        for number, log in logs.items():
            missed = self._attached[number].missed(bytes(log))
            if missed is None:
                self._say(f"what {self._name} printed meanwhile is in `darse logs {self._name}`")
            else:
                write_all(number, missed)

    def follow(self) -> dict[str, bool]:
        """Show what the log has and gets from now on; return which of the streams are to be attached none the less."""
        if not self._stamped:
            return {"stdout": self._shown[0], "stderr": self._shown[1]}
        import threading

        self._following = threading.Thread(target=self._follow, daemon=True)
        self._following.start()
        return {"stdout": False, "stderr": False}

    def ends_with(self, connection: Connection) -> None:
        """Let this connection end when our output has no reader any more."""
        self._connection = connection
        if self._no_reader is not None:
            connection.end()

    def end(self) -> None:
        """Wait until the log has been shown to its end. Raises BrokenPipeError when our output has no reader."""
        if self._following is not None:
            self._following.join()
        if self._no_reader is not None:
            raise self._no_reader

    def _follow(self) -> None:
        since = min(stream.since_ns() for stream in self._stamped.values()) or self._first_ns()
        for stream in self._stamped.values():
            stream.again()
        try:
            for number, data in self._log(since, follow=True):
                write_all(number, self._stamped[number].feed(data, is_frame=not self._tty))
        except BrokenPipeError as error:
            self._no_reader = error
            if self._connection is not None:
                self._connection.end()
        except CliError:
            return  # the wait for the container's end fails as well, and says how

    def _first_ns(self) -> int:
        return min(stream.since_ns for stream in self._attached.values())

    def _log(self, since: int, *, follow: bool = False) -> Iterator[tuple[int, bytes]]:
        """The container's log from a time on, with times: pieces of its streams."""
        request = containers.logs(
            self._container,
            follow=follow,
            stdout=1 in self._attached,
            stderr=2 in self._attached,
            since=api_time(since),
            timestamps=True,
        )
        response = self._client.open(request)
        found: list[tuple[int, bytes]] = []
        demultiplexer = Demultiplexer(lambda number, data: found.append((number, data)))
        for piece in response.pieces():
            if self._tty:
                yield 1, piece
            else:
                demultiplexer.feed(piece)
                yield from found
                found.clear()

    @staticmethod
    def _say(text: str) -> None:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
