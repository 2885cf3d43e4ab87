"""The API's operations as typed requests: values that say what to ask, for any client to do.

    async with AsyncClient(Endpoint("unix:///run/darse/darse.sock")) as client:
        created = await client.do(containers.create(CreateRequest(Image="builtin/busybox"), name="web"))
        await client.do(containers.start(created.Id))

Each module has the functions of a resource; their optional arguments have the names and meanings of the API's query
parameters (Docker Engine API 1.51).

An answer has two types. The asyncio client decodes it into a struct of `darse.wire`: `result`. The blocking client
leaves it the JSON document that it is, which costs a command that ends after a few milliseconds nothing and has all
that templates show; its type is one of `darse.client.documents`. For the same reason nothing here loads the structs,
`typing` or `dataclasses` before somebody asks for them.
"""

from __future__ import annotations

__all__ = [
    "ApiRequest",
    "AttachRequest",
    "BytesRequest",
    "D_co",
    "DocumentsRequest",
    "Filters",
    "Generic",
    "LazyModule",
    "StreamsRequest",
    "T",
    "document",
    "documents",
    "nothing",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Generic, Self, TypeVar

    from typing_extensions import TypeVar as DefaultTypeVar

    T = TypeVar("T")
    # The type of the document; a request without one is of no use to the blocking client.
    D_co = DefaultTypeVar("D_co", covariant=True, default=object)
    # What a filter takes: each key with the values of which one must match.
    Filters = Mapping[str, list[str]]
else:
    T = D_co = Filters = None

    class Generic:
        """`typing.Generic` as far as classes that run need it."""

        __class_getitem__ = classmethod(type(list[int]))


class LazyModule:
    """A module of the API's types, loaded when the first of them is used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        from importlib import import_module

        return getattr(import_module(self._name), name)


def nothing() -> type[None]:
    """The result of a request whose answer has no body, or none of interest."""
    return type(None)


def document() -> type[dict[str, Any]]:
    """The result of a request whose answer has no struct."""
    from typing import Any

    return dict[str, Any]


def documents() -> type[list[dict[str, Any]]]:
    """The result of a request whose answer is a list of what has no struct."""
    from typing import Any

    return list[dict[str, Any]]


class ApiRequest(Generic[T, D_co]):
    """A request with one answer: a `T` for the asyncio client, for the blocking one a document `D_co`."""

    #: Whether the connection becomes a stream that takes input, too.
    upgrade = False

    def __init__(
        self,
        method: str,
        path: str,
        result: Callable[[], type[T]],
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        content: bytes | Iterable[bytes] | None = None,
        version: str = "",
    ) -> None:
        """`body`: a msgspec struct, or what json.dumps takes. `content`: a body that is no JSON, as an archive.

        version: of the API, where the request needs a newer one than others do.
        """
        self.method = method
        self.path = path
        #: Returns the type of the answer.
        self.result = result
        self.query = query or {}
        self.body = body
        self.headers = headers or {}
        self.content = content
        self.version = version

    def with_header(self, name: str, value: str) -> Self:
        """The same request with one header more."""
        other = object.__new__(type(self))
        other.__dict__ |= self.__dict__ | {"headers": {**self.headers, name: value}}
        return other


class DocumentsRequest(ApiRequest[T, D_co]):
    """A request whose answer is a stream of JSON documents: events, statistics, progress."""


class BytesRequest(ApiRequest[bytes, bytes]):
    """A request whose answer is a stream of bytes: an archive."""

    def __init__(self, method: str, path: str, query: Mapping[str, Any] | None = None, body: Any = None) -> None:
        super().__init__(method, path, _bytes, query, body)


class StreamsRequest(BytesRequest):
    """A request whose answer is what a process prints; see `AttachRequest` for one that takes input, too."""


class AttachRequest(StreamsRequest):
    """A request after which the connection belongs to a process."""

    upgrade = True


def _bytes() -> type[bytes]:
    return bytes
