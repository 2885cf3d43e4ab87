"""A real HTTP proxy: requests with whole URLs, and CONNECT. It knows hosts that nobody else knows.

with Proxy({"registry.example": registry.address}) as proxy:
    engine = new_engine(environment={"HTTP_PROXY": proxy.url})
    ...
    assert proxy.requests[0] == "CONNECT registry.example:443"
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import select
import socket
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from tests.support.serving import ThreadedServer

_PIECE = 65536
_HOP = frozenset({"connection", "proxy-authorization", "proxy-connection", "transfer-encoding"})


class Proxy(ThreadedServer):
    """The server; it runs in threads of this process. `hosts` maps names to `ADDRESS:PORT`, whatever port is asked."""

    def __init__(self, hosts: Mapping[str, str], *, user: str = "", password: str = "") -> None:
        """With a user, who does not show the password is refused."""
        super().__init__(_Handler)
        self.hosts = dict(hosts)
        self.requests: list[str] = []
        self.secret = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}" if user else ""
        self._shown = f"{user}:{password}@" if user else ""

    @property
    def url(self) -> str:
        """As engines are told it."""
        return f"http://{self._shown}{self.address}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def proxy(self) -> Proxy:
        found = self.server.owner  # type: ignore[attr-defined]
        assert isinstance(found, Proxy)
        return found

    def _admitted(self) -> bool:
        self.proxy.requests.append(f"{self.command} {self.path}")
        if self.proxy.secret in ("", self.headers.get("Proxy-Authorization")):
            return True
        self._refuse(407)
        return False

    def _refuse(self, status: int) -> None:
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_CONNECT(self) -> None:
        """Join the client with the host."""
        if not self._admitted():
            return
        address = self.proxy.hosts.get(self.path.rpartition(":")[0])
        if address is None:
            self._refuse(502)
            return
        host, _, port = address.rpartition(":")
        self.close_connection = True
        with socket.create_connection((host, int(port))) as there:
            self.send_response(200)
            self.end_headers()
            others = {self.connection: there, there: self.connection}
            with contextlib.suppress(ConnectionError):
                while True:
                    for one in select.select(list(others), [], [])[0]:
                        piece = one.recv(_PIECE)
                        if not piece:
                            return
                        others[one].sendall(piece)

    def do_GET(self) -> None:
        """Ask the host of a whole URL."""
        if not self._admitted():
            return
        url = urlsplit(self.path)
        address = self.proxy.hosts.get(url.hostname or "")
        if address is None:
            self._refuse(502)
            return
        connection = http.client.HTTPConnection(address)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        sent = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        target = url.path + (f"?{url.query}" if url.query else "")
        connection.request(self.command, target, body, sent)
        answer = connection.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in (*_HOP, "content-length"):
                self.send_header(name, value)
        length = answer.headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(content)
        connection.close()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def log_message(self, *_: object) -> None:
        """Nothing."""
