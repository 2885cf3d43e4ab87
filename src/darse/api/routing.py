"""The table of routes: from a method and a path to the handler that serves it.

The table is our own: the API's paths have names with slashes in them, which the usual routers take apart.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

from darse import aiohttp_server as web

if TYPE_CHECKING:
    from darse.engine.engine import Engine

_PARAMETER = re.compile(r"\{(\w+)\}")


class Call(NamedTuple):
    """A request that found its route."""

    engine: Engine
    request: web.BaseRequest
    version: tuple[int, int]
    match: dict[str, str]


Handler = Callable[[Call], Awaitable[web.StreamResponse]]


def _parameter(name: str, template: str) -> str:
    """The expression for a parameter of a path."""
    if name == "name" or template.startswith(("/networks/{id}", "/volumes/{id}", "/darse/volumes/{id}")):
        return ".+"
    # A container that another links to has that one's name for it, too: app/mysql.
    return "[^/]+(?:/[^/]+)?" if template.startswith("/containers/{id}/") else "[^/]+"


class _Route:
    """A route whose path has parameters."""

    def __init__(self, method: str, template: str, handler: Handler) -> None:
        self.method = method
        self.prefix = template[: template.index("{")]
        self.handler = handler
        self._template = template

    @functools.cached_property
    def pattern(self) -> re.Pattern[str]:
        """Made for the first path that begins as the route does: a hundred of them take time of a cold start."""
        template = self._template
        pattern = _PARAMETER.sub(lambda match: f"(?P<{match[1]}>{_parameter(match[1], template)})", template)
        return re.compile(pattern + r"\Z")


class Routes:
    """A table of routes; a parameter called `name`, and names of networks and volumes, may contain slashes."""

    def __init__(self) -> None:
        self._exact: dict[tuple[str, str], Handler] = {}
        self._patterns: list[_Route] = []
        self.templates: list[tuple[str, str]] = []
        self._templates: dict[Handler, str] = {}

    def add(self, method: str, template: str) -> Callable[[Handler], Handler]:
        """Register a handler."""

        def register(handler: Handler) -> Handler:
            self.templates.append((method, template))
            self._templates[handler] = template
            if "{" not in template:
                self._exact[method, template] = handler
            else:
                self._patterns.append(_Route(method, template, handler))
            return handler

        return register

    def extend(self, other: Routes) -> None:
        """Take over another table's routes."""
        self._exact |= other._exact
        self._patterns += other._patterns
        self.templates += other.templates
        self._templates |= other._templates

    def template_of(self, method: str, path: str) -> str:
        """The template of a path; empty where it has no route."""
        found = self.find(method, path)
        return self._templates[found[0]] if found is not None else ""

    def find(self, method: str, path: str) -> tuple[Handler, dict[str, str]] | None:
        """Return the handler of a path and its parameters."""
        exact = self._exact.get((method, path))
        if exact is not None:
            return exact, {}
        for route in self._patterns:
            if route.method == method and path.startswith(route.prefix) and (match := route.pattern.match(path)):
                return route.handler, match.groupdict()
        return None
