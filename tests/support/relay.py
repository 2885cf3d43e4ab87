"""A unix socket between a client and the engine that shows what has passed.

with Relay(tmp_path / "between", engine) as relay:
    process = engine.docker.popen("-H", relay.host, "wait", "it")
    wait_until(lambda: relay.answered("/containers/it/wait"), what="the wait")
"""

from __future__ import annotations

import contextlib
import socketserver
import threading
from pathlib import Path
from socket import SHUT_WR, socket
from types import TracebackType
from typing import Self

from tests.support.engine import Engine
from tests.support.http import connect

_PIECE = 65536


class Relay:
    """Serves while it is entered."""

    def __init__(self, path: Path, engine: Engine) -> None:
        """Listen at `path`, which is short enough for a socket."""
        self.host = f"unix://{path}"
        # What each connection has passed on, in order: who sent it, and what.
        self._passed: list[list[tuple[str, bytes]]] = []

        class Handler(socketserver.BaseRequestHandler):
            def handle(handler) -> None:  # noqa: N805 - `self` is the relay
                self._pass(handler.request, str(engine.socket))

        self._server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        """Serve."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take no more connections; those that are open end with their clients."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answered(self, target: str) -> bool:
        """Whether an answer has begun to a request for a path that has `target` in it."""
        for passed in self._passed:
            asked = [number for number, (sender, piece) in enumerate(passed) if target.encode() in piece]
            if asked and any(sender == "engine" for sender, _ in passed[asked[0] :]):
                return True
        return False

    def _pass(self, client: socket, path: str) -> None:
        passed: list[tuple[str, bytes]] = []
        self._passed.append(passed)
        with connect(path, None) as engine:
            back = threading.Thread(target=_copy, args=("engine", engine, client, passed))
            back.start()
            _copy("client", client, engine, passed)
            back.join()


def _copy(sender: str, source: socket, sink: socket, passed: list[tuple[str, bytes]]) -> None:
    # Either may have gone, and then the other gets its end.
    with contextlib.suppress(ConnectionError, BrokenPipeError):
        while piece := source.recv(_PIECE):
            passed.append((sender, piece))
            sink.sendall(piece)
    with contextlib.suppress(OSError):
        sink.shutdown(SHUT_WR)
