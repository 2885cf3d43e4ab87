"""The dashboard as a browser without scripts sees it, and the dashboard itself in a thread.

with serving(WebOptions(endpoint, audit_log, port=0)) as server:
    browser = WebBrowser(server.port)
    browser.log_in_with_token(server.dashboard.sessions.new_token())
    assert browser.get("/containers").status == 200
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import http.client
import re
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from darse.web.options import WebOptions
from darse.web.server import WebServer


@dataclass(frozen=True)
class WebAnswer:
    """An answer, with its body as text."""

    status: int
    headers: Any
    text: str

    @property
    def location(self) -> str:
        """Where it leads."""
        return self.headers.get("Location", "")

    @property
    def words(self) -> str:
        """What a reader sees: the text of the document, without markup."""
        return html.unescape(re.sub(r"<[^>]*>", "", self.text))


class WebBrowser:
    """Keeps cookies, follows no redirections, and sends what a browser would."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.port = port
        self.host = f"{host}:{port}"
        self.cookies: dict[str, str] = {}
        self.csrf = ""

    @property
    def origin(self) -> str:
        """Of the dashboard's pages."""
        return f"http://{self.host}"

    def request(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: str | None = None
    ) -> WebAnswer:
        """Ask, with these headers instead of the usual ones; an empty one is not sent."""
        sent = {"Host": self.host, "Accept": "text/html", "Cookie": self.cookie_header, **(headers or {})}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                if value:
                    connection.putheader(name, value)
            data = body.encode() if body is not None else None
            if data is not None:
                connection.putheader("Content-Length", str(len(data)))
            connection.endheaders(data)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        for cookie in answer.headers.get_all("Set-Cookie", []):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value.strip('"')
        found = re.search(r'name="csrf" value="([^"]+)"', text)
        self.csrf = found[1] if found else self.csrf
        return WebAnswer(answer.status, answer.headers, text)

    @property
    def cookie_header(self) -> str:
        """What it sends of its cookies."""
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items() if value)

    def get(self, path: str, **headers: str) -> WebAnswer:
        """A page; `headers` with _ for -."""
        return self.request("GET", path, _named(headers))

    def post(self, path: str, fields: dict[str, str] | None = None, **headers: str) -> WebAnswer:
        """Send a form, with the token of the last page."""
        body = urllib.parse.urlencode({"csrf": self.csrf, **(fields or {})})
        usual = {"Content-Type": "application/x-www-form-urlencoded", "Origin": self.origin}
        return self.request("POST", path, {**usual, **_named(headers)}, body)

    def log_in_with_token(self, token: str) -> None:
        """Log in, and see the first page."""
        answer = self.post("/login", {"token": token})
        assert answer.status == 303, answer.text
        assert answer.location == "/"
        self.get("/")

    def log_in(self, user: str, password: str) -> None:
        """The same with a password."""
        answer = self.post("/login", {"user": user, "password": password})
        assert answer.status == 303, answer.text
        self.get("/")

    def events(self, path: str, count: int, **headers: str) -> list[tuple[str, str]]:
        """The first events of a stream, as (name, data)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            sent = {"Host": self.host, "Cookie": self.cookie_header, "Accept": "text/event-stream", **_named(headers)}
            connection.request("GET", path, headers=sent)
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            found: list[tuple[str, str]] = []
            name = ""
            while len(found) < count:
                line = answer.readline().decode()
                assert line, f"the stream ended after {found}"
                if line.startswith("event: "):
                    name = line.removeprefix("event: ").strip()
                elif line.startswith("data: "):
                    found.append((name, line.removeprefix("data: ").strip()))
            return found
        finally:
            connection.close()


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@contextlib.contextmanager
def serving(options: WebOptions) -> Iterator[WebServer]:
    """A dashboard in a thread of its own."""
    loop = asyncio.new_event_loop()
    server = WebServer(options)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(30)
        yield server
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
