"""The span of each request, below that of its client where it sends one (`traceparent`), and above those of operations.

Attributes are those of OpenTelemetry's semantic conventions for HTTP servers. A ping is no operation.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from darse import aiohttp_server as web
from darse.api.routing import Routes
from darse.core import spans
from darse.core.trace import Operation

VERSION = re.compile(r"/v(\d{1,3})\.(\d{1,3})(?=/|\Z)", re.ASCII)
_PING = "/_ping"


@contextmanager
def request_span(routes: Routes, request: web.BaseRequest) -> Iterator[Callable[[int], None]]:
    """Record the block as a request; it calls what it gets with the answer's status."""
    if not spans.observed() or (path := VERSION.sub("", request.path, count=1) or "/") == _PING:
        yield _ignore
        return
    template = routes.template_of(request.method, path)
    operation = Operation(f"{request.method} {template}".rstrip(), "", time.time_ns())
    began = time.perf_counter_ns()
    with spans.request_span(operation, spans.parse_traceparent(request.headers.get("traceparent", ""))) as span:
        span.attributes = {"http.request.method": request.method, "http.route": template, "url.path": request.path}

        def answered(status: int) -> None:
            span.attributes["http.response.status_code"] = status
            operation.outcome = "done" if status < 500 else f"failed: {status}"

        operation.outcome = "failed: it was cancelled"
        try:
            yield answered
        finally:
            operation.duration_ns = time.perf_counter_ns() - began


def _ignore(status: int) -> None:
    """Nobody listens."""
