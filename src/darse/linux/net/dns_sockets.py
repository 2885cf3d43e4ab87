"""The sockets of a name server inside a network namespace, and the rules that lead port 53 to them.

Both functions work in the network namespace of the calling thread. The rules rewrite the ports of packets between the
namespace's own programs and the name server, one by one: no connection is tracked, and a program that listens on port
53 of all addresses has that port for itself. See nft(8), "payload statement".
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable

from darse.core import trace
from darse.linux.net.nft import run_here

#: Where containers find their name server. The port is not one of those that the kernel chooses by itself.
ADDRESS = "127.0.0.11"
PORT = 61053
_TABLE = "darse_dns"
_BACKLOG = 64
# Sockets for queries over TCP that leave from the namespace: so many at a time.
_ASKING_STREAMS = 2


def redirect(*, fresh: bool = False) -> None:
    """Lead port 53 of the address to the name server's, whatever rules of ours there are. Raises NftError.

    With `fresh` there are none: to delete a table takes the kernel ten milliseconds, in which it waits for readers.
    """
    forth = f"ip daddr {ADDRESS} {{0}} dport 53 {{0}} dport set {PORT}"
    back = f"ip saddr {ADDRESS} {{0}} sport {PORT} {{0}} sport set 53"
    rules = [rule.format(protocol) for rule in (forth, back) for protocol in ("udp", "tcp")]
    run_here(
        ("" if fresh else f"add table ip {_TABLE}\ndelete table ip {_TABLE}\n")
        + f"table ip {_TABLE} {{\nchain output {{\ntype filter hook output priority raw; policy accept;\n"
        + "".join(f"{rule}\n" for rule in rules)
        + "}\n}\n"
    )


def open_sockets() -> list[socket.socket]:
    """Make the sockets on which a name server listens: for datagrams, and for streams. Raises OSError."""
    with _Opened() as opened, trace.step("process", f"name server's sockets at {ADDRESS}", "true"):
        datagrams = opened.make(socket.AF_INET, socket.SOCK_DGRAM)
        streams = opened.make(socket.AF_INET, socket.SOCK_STREAM)
        # One that was closed a moment ago, of a name server before, does not keep the port.
        streams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for sock in (datagrams, streams):
            sock.bind((ADDRESS, PORT))
        streams.listen(_BACKLOG)
        return opened.keep()


def open_asking_sockets(servers: Iterable[str]) -> list[socket.socket]:
    """Make the sockets with which a name server asks these addresses from this namespace. Raises OSError."""
    families = {socket.AF_INET6 if ":" in server else socket.AF_INET for server in servers}
    with _Opened() as opened:
        for family in sorted(families):
            opened.make(family, socket.SOCK_DGRAM)
            for _ in range(_ASKING_STREAMS):
                opened.make(family, socket.SOCK_STREAM)
        return opened.keep()


class _Opened(contextlib.ExitStack):
    """Sockets that are closed at the end of the block, unless they are kept."""

    def __init__(self) -> None:
        super().__init__()
        self._sockets: list[socket.socket] = []

    def make(self, family: int, kind: int) -> socket.socket:
        self._sockets.append(self.enter_context(socket.socket(family, kind | socket.SOCK_NONBLOCK)))
        return self._sockets[-1]

    def keep(self) -> list[socket.socket]:
        self.pop_all()
        return self._sockets
