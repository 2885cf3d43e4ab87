"""Login, logout, and the language."""

from __future__ import annotations

from darse.aiohttp_server import StreamResponse
from darse.web.accounts import Account, Role
from darse.web.errors import InvalidForm, RateExceeded, Refused
from darse.web.routing import PageRoutes
from darse.web.texts import LANGUAGES
from darse.web.visit import LANGUAGE_COOKIE, Visit

PAGES = PageRoutes()
_YEAR = 365 * 24 * 3600
#: Who has come with a token has no name of a file.
TOKEN_USER = "token"  # noqa: S105


@PAGES.get("/login", None)
async def login_page(visit: Visit) -> StreamResponse:
    """The form."""
    if visit.current_session is not None:
        return visit.redirect("/")
    return visit.render("login.html", failed=False, has_users=visit.dashboard.options.users is not None)


@PAGES.post("/login", None)
async def login(visit: Visit) -> StreamResponse:
    """Begin a session, by a token or by a name and a password. Raises RateExceeded."""
    dashboard = visit.dashboard
    if not dashboard.logins.allows(visit.request.remote or "") or not dashboard.all_logins.allows(""):
        raise RateExceeded
    found: tuple[str, Role, Account | None] | None = None
    if token := visit.form.get("token", "").strip():
        if dashboard.sessions.take_token(token):
            found = TOKEN_USER, Role.ADMINISTRATE, None
    elif (name := visit.form.get("user", "")) and (password := visit.form.get("password", "")):
        account = await dashboard.accounts.check(name, password)
        found = (account.name, account.role, account) if account is not None else None
    if found is None:
        has_users = dashboard.options.users is not None
        return visit.render("login.html", status=403, failed=True, has_users=has_users)
    dashboard.logins.refund(visit.request.remote or "")
    dashboard.all_logins.refund("")
    dashboard.sessions.end(visit.request.cookies.get(dashboard.cookie, ""))
    number, visit.current_session = dashboard.sessions.begin(*found)
    response = visit.redirect("/")
    dashboard.set_session(response, number)
    return response


@PAGES.post("/logout", Role.LOOK)
async def logout(visit: Visit) -> StreamResponse:
    """End the session, and all that follows something in it."""
    dashboard = visit.dashboard
    dashboard.sessions.end(visit.request.cookies.get(dashboard.cookie, ""))
    response = visit.redirect("/login")
    response.del_cookie(dashboard.cookie, path="/", secure=dashboard.site.scheme == "https", httponly=True)
    return response


@PAGES.post("/language", None)
async def set_language(visit: Visit) -> StreamResponse:
    """Choose a language for this browser. Raises InvalidForm, Refused."""
    language = visit.field("language")
    if language not in LANGUAGES:
        raise InvalidForm("language")
    path = visit.form.get("path", "/")
    # A path of this site: with a second slash it would name another.
    if not path.startswith("/") or path.startswith(("//", "/\\")) or not path.isprintable():
        raise Refused("path")
    response = visit.redirect(path)
    response.set_cookie(
        LANGUAGE_COOKIE,
        language,
        path="/",
        max_age=_YEAR,
        httponly=True,
        samesite="Strict",
        secure=visit.dashboard.site.scheme == "https",
    )
    return response
