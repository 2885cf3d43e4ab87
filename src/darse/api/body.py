"""JSON bodies as Go's decoder reads them.

A member matches its field whatever the case of its letters, an exact match first; `null` leaves the zero value; a
command may be a string; members that no field has are passed over, for clients send those of other versions and options
of their own along. What is stricter: invalid UTF-8, and NUL in strings (no file name, argument or label can hold one).

A plan per type is made once, from the struct's annotations; decoding walks document and plan side by side and ends
in `msgspec.convert`, which checks the types. Size and time of a body are bounded before that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable
from functools import cache
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from darse import aiohttp_server as web
from darse.api.errors import TooLarge
from darse.core.errors import InvalidParameter

T = TypeVar("T")

SIZE_LIMIT = 4 * 1024 * 1024
_SECONDS = 30
_INT64 = 1 << 63
# Where a request has its body once it is read.
_KEY = web.RequestKey("body", bytes)
# Fields that may be given as one string (Go's strslice).
_STRING_OR_LIST = frozenset({"Cmd", "Entrypoint"})
# So many are noted; clients choose their names.
_NOTED_MEMBERS, _LONGEST_NAME = 256, 128
_noted: set[str] = set()

log = logging.getLogger(__name__)

Normalizer = Callable[[Any, str], Any]


async def read_json(request: web.BaseRequest, type_: type[T], *, optional: bool = False) -> T:
    """Read a JSON body; with `optional`, none, or `null`, is all defaults. Raises InvalidParameter and TooLarge."""
    data = await read_body(request)
    if optional and data.strip() in (b"", b"null"):  # docker's client encodes what it has not
        return type_()
    if not data.strip():
        raise InvalidParameter("invalid JSON: got EOF while reading request body")
    content_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise InvalidParameter(f"unsupported Content-Type header ({content_type[:64]}): must be 'application/json'")
    return decode(data, type_)


async def read_body(request: web.BaseRequest) -> bytes:
    """All of a document's bytes; they can be read again. Raises InvalidParameter and TooLarge."""
    if _KEY not in request:
        request[_KEY] = await _read(request)
    return request[_KEY]


async def _read(request: web.BaseRequest) -> bytes:
    length = request.content_length
    if length is not None and length > SIZE_LIMIT:
        request.protocol.close()  # the rest is not read, so the connection cannot go on
        raise TooLarge(f"request body of {length} bytes is larger than {SIZE_LIMIT}")
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_SECONDS):
            async for piece in request.content.iter_any():
                size += len(piece)
                if size > SIZE_LIMIT:
                    request.protocol.close()
                    raise TooLarge(f"request body is larger than {SIZE_LIMIT} bytes")
                pieces.append(piece)
    except TimeoutError:
        request.protocol.close()
        raise InvalidParameter(f"request body was not complete after {_SECONDS} seconds") from None
    return b"".join(pieces)


def decode(data: bytes, type_: type[T]) -> T:
    """Decode a request body. Raises InvalidParameter that says where the mistake is."""
    try:
        document = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise InvalidParameter(f"invalid JSON: {error}") from None
    except RecursionError:
        raise InvalidParameter("invalid JSON: nested too deeply") from None
    except ValueError as error:  # a number of thousands of digits
        raise InvalidParameter(f"invalid JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidParameter("invalid JSON: must be an object")
    return convert(document, type_)


def convert(document: Any, type_: type[T]) -> T:
    """Make a decoded document a `type_`. Raises InvalidParameter."""
    try:
        return msgspec.convert(_normalizer(type_)(document, "$"), type_)  # type: ignore[arg-type]
    except msgspec.ValidationError as error:
        raise InvalidParameter(f"invalid JSON: {error}") from None
    except RecursionError:
        raise InvalidParameter("invalid JSON: nested too deeply") from None


@cache
def _normalizer(type_: Hashable) -> Normalizer:
    """How values of a type are normalized."""
    arguments = get_args(type_)
    origin = get_origin(type_)
    if origin is dict:
        return _of_dict(arguments[1])
    if origin is list:
        return _of_list(arguments[0])
    present = [one for one in arguments if one is not type(None)]
    if arguments and origin is not tuple:  # a union
        return _normalizer(present[0]) if len(present) == 1 else _plain
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return _of_struct(type_)
    return _plain


def _of_dict(of: Any) -> Normalizer:
    normalize, zero = _normalizer(of), _zero(of)

    def values(value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            return _plain(value, where)
        return {
            _text(key, where): normalize(zero() if one is None else one, f"{where}[{key!r}]")
            for key, one in value.items()
        }

    return values


def _of_list(of: Any) -> Normalizer:
    normalize, zero = _normalizer(of), _zero(of)

    def values(value: Any, where: str) -> Any:
        if not isinstance(value, list):
            return _plain(value, where)
        return [normalize(zero() if one is None else one, where) for one in value]

    return values


def _of_struct(type_: type[msgspec.Struct]) -> Normalizer:
    hints = get_type_hints(type_)
    exact = {
        wire: _normalizer(hints[name])
        for name, wire in zip(type_.__struct_fields__, type_.__struct_encode_fields__, strict=True)
    }
    folded = {name.lower(): name for name in exact}

    def members(value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            return _plain(value, where)
        result: dict[str, Any] = {}
        for key, one in value.items():
            if one is None:
                continue
            name = key if key in exact else folded.get(key.lower())
            if name is None:
                _note(key, where)
                continue
            if name in result and name != key:
                continue
            if name in _STRING_OR_LIST and isinstance(one, str):
                one = [one]  # noqa: PLW2901
            result[name] = exact[name](one, f"{where}.{name}")
        return result

    return members


def _zero(type_: Any) -> Callable[[], Any]:
    """What `null` stands for as an element of a list or an object."""
    if type(None) in get_args(type_):
        return lambda: None
    if type_ in (str, bool, int, float, list, dict):
        return type_  # type: ignore[no-any-return]
    if get_origin(type_) is list:
        return list
    return dict if get_origin(type_) is dict or _is_struct(type_) else lambda: None


def _is_struct(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, msgspec.Struct)


def _plain(value: Any, where: str) -> Any:
    """Check what is inside a value that has no plan of its own."""
    if isinstance(value, str):
        return _text(value, where)
    if isinstance(value, int):
        if not -_INT64 <= value < _INT64:
            raise InvalidParameter(f"invalid JSON: number out of range at {where}")
    elif isinstance(value, dict):
        return {_text(key, where): _plain(one, where) for key, one in value.items()}
    elif isinstance(value, list):
        return [_plain(one, where) for one in value]
    return value


def _text(value: str, where: str) -> str:
    if "\0" in value:
        raise InvalidParameter(f"invalid JSON: a string with a NUL at {where}")
    return value


def _note(key: str, where: str) -> None:
    """Say once that a member has no effect: it may be a misspelt option."""
    member = f"{where}.{key}"[:_LONGEST_NAME]
    if member not in _noted and len(_noted) < _NOTED_MEMBERS:
        _noted.add(member)
        log.debug("request bodies: member %r has no effect", member)
