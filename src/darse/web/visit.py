"""One request to the dashboard, as a page sees it: the user, the language, and the engine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeVar

from darse.aiohttp_server import BaseRequest, Response
from darse.client.asynchronous import AttachedStreams
from darse.client.errors import ApiError
from darse.client.requests import ApiRequest, AttachRequest, BytesRequest, DocumentsRequest, StreamsRequest
from darse.web.checks import HEADERS
from darse.web.errors import InvalidForm, LoginRequired
from darse.web.sessions import WebSession
from darse.web.texts import LANGUAGES, Texts, preferred

if TYPE_CHECKING:
    from darse.web.server import Dashboard

T = TypeVar("T")
R = TypeVar("R", bound="ApiRequest[Any]")
LANGUAGE_COOKIE = "darse-language"


class Visit:
    """A request that has passed all checks."""

    def __init__(
        self, dashboard: Dashboard, request: BaseRequest, match: Mapping[str, str], session: WebSession | None
    ) -> None:
        self.dashboard = dashboard
        self.request = request
        self.match = match
        self.current_session = session
        self.form: Mapping[str, str] = {}
        #: What the audit log has of a form.
        self.outcome = "done"
        cookie = request.cookies.get(LANGUAGE_COOKIE, "")
        language = cookie if cookie in LANGUAGES else preferred(request.headers.get("Accept-Language", ""))
        self.texts = Texts(language)

    @property
    def session(self) -> WebSession:
        """Who is logged in. Raises LoginRequired."""
        if self.current_session is None:
            raise LoginRequired
        return self.current_session

    def query(self, name: str, default: str = "") -> str:
        """A parameter of the address."""
        return self.request.query.get(name, default)

    def field(self, name: str) -> str:
        """A field of the form that must be filled. Raises InvalidForm."""
        value = self.form.get(name, "").strip()
        if not value:
            raise InvalidForm(f"{name} is empty")
        return value

    async def do(self, request: ApiRequest[T]) -> T:
        """Ask the engine. Raises ClientError."""
        return await self.dashboard.client.do(self._signed(request))

    def output(self, request: StreamsRequest) -> AsyncIterator[tuple[int, bytes]]:
        """Follow what a process prints; see `AsyncClient.output`."""
        return self.dashboard.client.output(self._signed(request))

    def follow(self, request: DocumentsRequest[T]) -> AsyncIterator[T]:
        """Follow an answer of many documents; see `AsyncClient.follow`."""
        return self.dashboard.client.follow(self._signed(request))

    def read(self, request: BytesRequest) -> AsyncGenerator[bytes]:
        """Read an archive; see `AsyncClient.read`."""
        return self.dashboard.client.read(self._signed(request))

    def attach(self, request: AttachRequest) -> AbstractAsyncContextManager[AttachedStreams]:
        """The streams of a process; see `AsyncClient.attach`."""
        return self.dashboard.client.attach(self._signed(request))

    def fail(self, error: ApiError) -> None:
        """Show on the next page what the engine says against this, and record it."""
        self.session.messages.append((False, error.reason))
        self.outcome = f"engine: {error.http_status} {error.reason}"

    def render(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page."""
        session = self.current_session
        messages: list[tuple[bool, str]] = []
        if session is not None:
            messages, session.messages = session.messages, []
        text = self.dashboard.renderer.render(
            template, self.texts, {"session": session, "messages": messages, "path": self.request.path, **values}
        )
        headers = {"Cache-Control": "no-store"}
        return Response(status=status, text=text, content_type="text/html", charset="utf-8", headers=headers)

    def redirect(self, path: str, message: str = "", **values: object) -> Response:
        """Go on to another page, which shows a message."""
        if message:
            self.session.messages.append((True, self.texts.text(message, **values)))
        return Response(status=303, headers={"Location": path, "Cache-Control": "no-store"})

    def stream_headers(self, **more: str) -> dict[str, str]:
        """The headers of an answer that is sent piece by piece."""
        return {**HEADERS, "Cache-Control": "no-store", **more}

    def _signed(self, request: R) -> R:
        """A request with the user's name, for the engine's audit log."""
        if self.current_session is None:
            return request
        return request.with_header("Darse-User", self.current_session.user)
