"""Requests as values: what is asked, and what type the answer has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")
# What a filter takes: each key with the values of which one must match.
Filters = Mapping[str, list[str]]


@dataclass(frozen=True)
class ApiRequest(Generic[T]):
    """A request with one answer, of type `result`; `None` is an answer that has no body, or none of interest."""

    method: str
    path: str
    result: type[T]
    query: Mapping[str, Any] = field(default_factory=dict)
    #: A msgspec struct, or what json.dumps takes.
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    #: A body that is no JSON: an archive.
    content: bytes | None = None


class DocumentsRequest(ApiRequest[T]):
    """A request whose answer is a stream of JSON documents: events, statistics, progress."""


class BytesRequest(ApiRequest[bytes]):
    """A request whose answer is a stream of bytes: an archive."""


class StreamsRequest(ApiRequest[bytes]):
    """A request whose connection becomes the standard streams of a process, or shows what it printed.

    `upgrade`: the connection takes input, too.
    """

    upgrade = False


class AttachRequest(StreamsRequest):
    """A request after which the connection belongs to a process."""

    upgrade = True
