"""The table of pages: method, path, and the role that each takes. There is no page without one of these."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from urllib.parse import unquote

from darse.aiohttp_server import StreamResponse
from darse.web.accounts import Role
from darse.web.errors import PageNotFound, WrongMethod

if TYPE_CHECKING:
    from darse.web.visit import Visit

Page: TypeAlias = "Callable[[Visit], Awaitable[StreamResponse]]"


class PageRoute(NamedTuple):
    """One row. role None: nobody needs to be logged in. is_upload: the page checks the form's token itself."""

    method: str
    path: str
    role: Role | None
    page: Page
    pattern: re.Pattern[str]
    is_stream: bool
    is_upload: bool = False


class PageRoutes:
    """Some rows of the table."""

    def __init__(self) -> None:
        self.rows: list[PageRoute] = []

    def get(self, path: str, role: Role | None, *, stream: bool = False) -> Callable[[Page], Page]:
        """A page that changes nothing. stream: one that lasts, as server-sent events and websockets do."""
        return self._add("GET", path, role, is_stream=stream)

    def post(self, path: str, role: Role | None, *, upload: bool = False) -> Callable[[Page], Page]:
        """A form's action. upload: one that reads the form itself, its token first."""
        return self._add("POST", path, role, is_stream=False, is_upload=upload)

    def extend(self, other: PageRoutes) -> None:
        """Take over all rows of another table."""
        self.rows += other.rows

    def find(self, method: str, raw_path: str) -> tuple[PageRoute, dict[str, str]]:
        """The row of a request, and what its path has in the place of names. Raises PageNotFound and WrongMethod.

        raw_path: as it was sent, so that a slash in a name (%2F) is none of the path.
        """
        others = False
        for row in self.rows:
            if (match := row.pattern.fullmatch(raw_path)) is None:
                continue
            if row.method == ("GET" if method == "HEAD" else method):
                return row, {name: unquote(value) for name, value in match.groupdict().items()}
            others = True
        raise WrongMethod if others else PageNotFound

    def _add(
        self, method: str, path: str, role: Role | None, *, is_stream: bool, is_upload: bool = False
    ) -> Callable[[Page], Page]:
        pattern = re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path)))

        def add(page: Page) -> Page:
            self.rows.append(PageRoute(method, path, role, page, pattern, is_stream, is_upload))
            return page

        return add
