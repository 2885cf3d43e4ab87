"""Where operations stand among those of others: W3C Trace Context, and who hears of each operation's end.

Operations are recorded by `darse.core.trace`, whoever listens. Ids are given to them while somebody does only: without
an observer, a span costs the look at an empty tuple. Current is the span of the request or operation that runs now, in
a context variable as the record itself. A task that outlives the operation in which it was made, such as one that
waits for a container's end, belongs to no trace of its own accord: its operations begin new ones."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

if TYPE_CHECKING:
    from darse.core.trace import Operation

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?\Z", re.ASCII)
_SAMPLED = 1


class SpanContext(msgspec.Struct, frozen=True):
    """The ids of a span, in lower-case hexadecimal digits; whether its trace is to be kept."""

    trace_id: str
    span_id: str
    sampled: bool = True


class Span(msgspec.Struct):
    """An operation that stands in a trace. `kind` says what was served: a client's request, or the engine itself."""

    context: SpanContext
    parent: SpanContext | None = None
    kind: Literal["request", "internal"] = "internal"
    #: By the names of OpenTelemetry's semantic conventions.
    attributes: dict[str, str | int] = {}
    open: bool = True


class SpanObserver(Protocol):
    """Hears of each operation's end, in the thread in which it ended. Must not block, and not raise."""

    def operation_ended(self, operation: Operation, span: Span) -> None:
        """An operation has ended, well or not."""


_observers: tuple[SpanObserver, ...] = ()
_current: ContextVar[Span | None] = ContextVar("darse_span", default=None)


def add_observer(observer: SpanObserver) -> None:
    """Tell `observer` of the operations that end from now on."""
    global _observers
    _observers = (*_observers, observer)


def remove_observer(observer: SpanObserver) -> None:
    """Tell it no more."""
    global _observers
    _observers = tuple(one for one in _observers if one is not observer)


def parse_traceparent(text: str) -> SpanContext | None:
    """Read the header of a client that is part of a trace itself; None for what is none.

    See https://www.w3.org/TR/trace-context/#traceparent-header.
    """
    found = _TRACEPARENT.match(text.strip().lower())
    if found is None or not found[1].strip("0") or not found[2].strip("0"):
        return None
    return SpanContext(found[1], found[2], bool(int(found[3], 16) & _SAMPLED))


def observed() -> bool:
    """Whether anybody hears of operations."""
    return bool(_observers)


@contextmanager
def span_of(operation: Operation) -> Iterator[None]:
    """Make the operation the current span for the block, and tell the observers when it has ended."""
    if not _observers:
        yield
        return
    around = _current.get()
    span = _child_of(around.context if around is not None and around.open else None)
    with _current_for(span):
        try:
            yield
        finally:
            _report_end(operation, span)


@contextmanager
def request_span(operation: Operation, client: SpanContext | None) -> Iterator[Span]:
    """As `span_of`, for a request; client: the span that it belongs to, where its client sent one."""
    span = _child_of(client)
    span.kind = "request"
    with _current_for(span):
        try:
            yield span
        finally:
            _report_end(operation, span)


def _child_of(parent: SpanContext | None) -> Span:
    own = os.urandom(8).hex()
    if parent is None:
        return Span(SpanContext(os.urandom(16).hex(), own))
    return Span(SpanContext(parent.trace_id, own, parent.sampled), parent)


@contextmanager
def _current_for(span: Span) -> Iterator[None]:
    token = _current.set(span)
    try:
        yield
    finally:
        _current.reset(token)


def _report_end(operation: Operation, span: Span) -> None:
    span.open = False
    for observer in _observers:
        observer.operation_ended(operation, span)
