"""The dashboard's HTTP server: each request is checked here, before a page sees it."""

from __future__ import annotations

import asyncio
import logging
import resource
import ssl
from contextlib import AsyncExitStack

from darse import aiohttp_server as web
from darse.audit import AuditLog
from darse.client.asynchronous import AsyncClient
from darse.client.errors import ApiError, ClientError
from darse.web.accounts import AccountError, Accounts
from darse.web.checks import HEADERS, READING, Site, is_websocket
from darse.web.errors import LoginRequired, PageError, PageNotFound, RateExceeded, Refused, SlowRequest, UnknownHost
from darse.web.history import UsageHistory
from darse.web.limits import RateLimit
from darse.web.options import WebOptions
from darse.web.pages import all_pages
from darse.web.rendering import Renderer
from darse.web.routing import PageRoute
from darse.web.sessions import Sessions, WebSession
from darse.web.static_files import StaticFiles
from darse.web.visit import Visit

_log = logging.getLogger("darse.web")
_LINE_LIMIT = 16 * 1024
_SWEEP_SECONDS = 60
_FORM_SECONDS = 30.0
# Descriptors that are not for connections; each of those may take a second one, to the engine.
_OTHER_DESCRIPTORS = 64


class Dashboard:
    """Handles the requests of all browsers."""

    def __init__(self, options: WebOptions, site: Site, audit: AuditLog) -> None:
        self.options = options
        self.site = site
        self.audit = audit
        self.client = AsyncClient(options.endpoint)
        self.sessions = Sessions()
        self.accounts = Accounts(options.users)
        self.renderer = Renderer()
        self.history = UsageHistory(self.client)
        self.logins = RateLimit(rate=0.1, burst=6)
        self.all_logins = RateLimit(rate=1, burst=30)
        self.anonymous = RateLimit(rate=20, burst=100)
        self.requests = RateLimit(rate=40, burst=300)
        self.changes = RateLimit(rate=5, burst=60)
        self._static = StaticFiles()
        self._pages = all_pages()

    @property
    def cookie(self) -> str:
        """The name of the session's cookie: with TLS one that browsers take from this host only (RFC 6265bis 4.1.3)."""
        return "__Host-darse" if self.site.scheme == "https" else "darse-session"

    def set_session(self, response: web.Response, number: str) -> None:
        """Put a session into the browser."""
        secure = self.site.scheme == "https"
        response.set_cookie(self.cookie, number, path="/", httponly=True, samesite="Strict", secure=secure)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve one request; never raises but to end the connection."""
        session = None
        try:
            if not self.site.knows_host(request):
                raise UnknownHost(request.headers.get("Host", "")[:256])
            if (file := self._static.find(request)) is not None:
                response: web.StreamResponse = file
            else:
                session = self.sessions.find(request.cookies.get(self.cookie, ""))
                response = await self._page(request, session)
        except PageError as error:
            response = self._error(request, session, error)
        if not response.prepared:
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
            if self.site.scheme == "https":
                response.headers["Strict-Transport-Security"] = "max-age=31536000"
        return response

    async def _page(self, request: web.BaseRequest, session: WebSession | None) -> web.StreamResponse:
        row, match = self._pages.find(request.method, request.rel_url.raw_path)
        self._check_origin(request, row)
        self._check_rate(request, session)
        if row.role is not None:
            if session is None:
                raise LoginRequired
            if session.role < row.role:
                return self._refuse_role(Visit(self, request, match, session), row)
        visit = Visit(self, request, match, session)
        if row.method == "POST":
            return await self._change(visit, row)
        if row.is_stream and session is not None:
            return await self._stream(visit, row, session)
        return await self._answer(visit, row)

    def _refuse_role(self, visit: Visit, row: PageRoute) -> web.StreamResponse:
        """Raises Refused; an attempt to change something is on record, too."""
        if row.method == "POST":
            visit.outcome = "refused: 403 role"
            self.record(visit, row.path)
        raise Refused("role")

    def _check_origin(self, request: web.BaseRequest, row: PageRoute) -> None:
        if (request.method not in READING or is_websocket(request)) and not self.site.is_own_origin(request):
            raise Refused("origin")
        if self.site.is_from_elsewhere(request):
            raise Refused("origin")
        if row.method == "GET" and is_websocket(request) and not row.is_stream:
            raise PageNotFound

    def _check_rate(self, request: web.BaseRequest, session: WebSession | None) -> None:
        if session is None:
            allowed = self.anonymous.allows(request.remote or "")
        else:
            allowed = self.requests.allows(session.csrf)
            if request.method not in READING:
                allowed = allowed and self.changes.allows(session.csrf)
        if not allowed:
            raise RateExceeded

    async def _stream(self, visit: Visit, row: PageRoute, session: WebSession) -> web.StreamResponse:
        if not session.holds_stream():
            raise RateExceeded
        try:
            return await self._answer(visit, row)
        finally:
            session.release_stream()

    async def _change(self, visit: Visit, row: PageRoute) -> web.StreamResponse:
        """Do what a form asks for, and keep a record of it, however it ends."""
        if not row.is_upload:
            try:
                async with asyncio.timeout(_FORM_SECONDS):
                    posted = await visit.request.post()
            except TimeoutError as error:
                raise SlowRequest from error
            visit.form = {name: value for name, value in posted.items() if isinstance(value, str)}
        try:
            if not row.is_upload:
                _check_token(visit, row)
            response = await self._answer(visit, row)
        except PageError as error:
            visit.outcome = f"refused: {error.status} {error.detail}".rstrip()
            raise
        except BaseException:
            visit.outcome = "failed"
            raise
        else:
            return response
        finally:
            self.record(visit, row.path)

    def record(self, visit: Visit, action: str) -> None:
        """Put what a user did into the audit log."""
        session = visit.current_session
        self.audit.record(
            door="dashboard",
            user=session.user if session is not None else visit.form.get("user", "")[:64],
            role=session.role.word if session is not None else "",
            address=visit.request.remote or "",
            action=action,
            objects=dict(visit.match),
            outcome=visit.outcome,
        )

    async def _answer(self, visit: Visit, row: PageRoute) -> web.StreamResponse:
        """The page, or what the engine says against it."""
        try:
            return await row.page(visit)
        except ApiError as error:
            return self._engine_error(visit, error.http_status, error.reason)
        except ClientError as error:
            return self._engine_error(visit, 502, str(error))

    def _engine_error(self, visit: Visit, status: int, reason: str) -> web.Response:
        visit.outcome = f"engine: {status} {reason}"
        if visit.request.writer.output_size > 0:
            visit.request.protocol.force_close()
            raise ConnectionAbortedError(reason)
        return visit.render("error.html", status=status, title=visit.texts.text("error.engine"), detail=reason)

    def _error(self, request: web.BaseRequest, session: WebSession | None, error: PageError) -> web.Response:
        if isinstance(error, UnknownHost):
            # Nothing of ours for a page that believes to be somebody else's.
            return web.Response(status=error.status, text="the dashboard is not at this host name\n")
        visit = Visit(self, request, {}, session)
        is_page = request.method in READING and "text/html" in request.headers.get("Accept", "")
        if isinstance(error, LoginRequired) and is_page:
            return visit.redirect("/login")
        return visit.render("error.html", status=error.status, title=visit.texts.text(error.key), detail=error.detail)

    async def sweep(self) -> None:
        """End what is over, for as long as the server runs."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            self.sessions.drop_ended()
            await self.drop_removed()

    async def drop_removed(self) -> None:
        """End the sessions of users who are not in the file any more, or have another role or password there."""
        if not self.sessions.accounts():
            return
        try:
            self.sessions.drop_accounts(await self.accounts.read())
        except (AccountError, OSError) as error:
            _log.warning("the users' file cannot be read, so sessions stay as they are: %s", error)


class WebServer:
    """A dashboard that listens. An asynchronous context manager."""

    def __init__(self, options: WebOptions) -> None:
        self._options = options
        self._exits = AsyncExitStack()
        self.dashboard: Dashboard
        self.port = 0
        self.most_connections = (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _OTHER_DESCRIPTORS) // 2

    @property
    def url(self) -> str:
        """Where browsers find it."""
        address = self._options.address
        host = self._options.names[0] if self._options.names else f"[{address}]" if ":" in address else address
        return f"{'https' if self._options.certificate else 'http'}://{host}:{self.port}"

    async def __aenter__(self) -> WebServer:
        """Listen. Raises OSError, ssl.SSLError, ValueError for an address that is none."""
        options = self._options
        context = _tls(options) if options.certificate is not None else None
        server = web.Server(self._handle, max_line_size=_LINE_LIMIT, max_field_size=_LINE_LIMIT, access_log=None)
        loop = asyncio.get_running_loop()
        listening = await loop.create_server(lambda: _Gate(self, server), options.address, options.port, ssl=context)
        self.port = listening.sockets[0].getsockname()[1]
        audit = AuditLog(options.audit_log)
        self._exits.callback(audit.close)
        site = Site(options.address, self.port, options.names, tls=context is not None)
        self.dashboard = Dashboard(options, site, audit)
        await self._exits.enter_async_context(self.dashboard.client)
        self._exits.push_async_callback(server.shutdown, 2.0)
        self._exits.callback(listening.close)
        self._exits.callback(self.dashboard.sessions.end_all)
        for work in (self.dashboard.sweep(), self.dashboard.history.run()):
            task = asyncio.create_task(work)
            self._exits.push_async_callback(_end, task)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exits.aclose()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self.dashboard.handle(request)


class _Gate(asyncio.Protocol):
    """Lets a connection through while there is room for it: those that are there go on."""

    def __init__(self, owner: WebServer, server: web.Server) -> None:
        self._owner = owner
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if len(self._server.connections) >= self._owner.most_connections:
            transport.abort()
            return
        handler = self._server()
        transport.set_protocol(handler)
        handler.connection_made(transport)


def _check_token(visit: Visit, row: PageRoute) -> None:
    """Raises Refused for a form that is none of the session's; a login has no session yet."""
    if row.role is not None and not visit.session.has_token(visit.form.get("csrf", "")):
        raise Refused("token")


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _tls(options: WebOptions) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    assert options.certificate is not None
    context.load_cert_chain(options.certificate, options.key)
    return context
