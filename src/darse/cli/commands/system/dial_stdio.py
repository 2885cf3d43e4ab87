"""`system dial-stdio`: the engine's socket on standard input and output, for clients that come through ssh."""

from __future__ import annotations

import os
import selectors
import socket

from darse.cli.command_line.flags import Command
from darse.cli.command_line.invocation import Invocation
from darse.client.blocking import Connection

_PIECE = 64 * 1024


def dial_stdio(invocation: Invocation) -> int:
    """Copy both ways until the engine has no more to say."""
    connection = Connection(invocation.settings.endpoint()).socket
    # poll(2) rather than epoll(7), which refuses files and /dev/null as standard input.
    with selectors.PollSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        selector.register(0, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is connection:
                    data = connection.recv(_PIECE)
                    if not data:
                        return 0
                    _write(data)
                elif data := os.read(0, _PIECE):
                    connection.sendall(data)
                else:
                    selector.unregister(0)
                    connection.shutdown(socket.SHUT_WR)


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


COMMANDS = {
    "system dial-stdio": (
        Command("system dial-stdio", "", "Proxy the stdio stream to the engine"),
        dial_stdio,
    )
}
