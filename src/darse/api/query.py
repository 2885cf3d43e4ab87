"""Reading query parameters, as the API's server does: a flag is true unless it is empty, 0, no, false or none."""

from __future__ import annotations

import datetime
import json
import re

from darse.api import aiohttp_server as web
from darse.engine.errors import InvalidParameter

_FALSE = frozenset({"", "0", "no", "false", "none"})
_SECONDS = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,9})?\Z")


def text(request: web.BaseRequest, name: str, default: str = "") -> str:
    """A parameter as it is. Raises InvalidParameter for a NUL in it."""
    value = request.query.get(name, default)
    if "\0" in value:
        raise InvalidParameter(f"invalid parameter {name}: it contains a NUL byte")
    return value


def flag(request: web.BaseRequest, name: str, default: bool = False) -> bool:
    """A boolean parameter."""
    if name not in request.query:
        return default
    return request.query[name].strip().lower() not in _FALSE


def number(request: web.BaseRequest, name: str, default: int | None = None) -> int | None:
    """A whole number. Raises InvalidParameter."""
    value = request.query.get(name, "")
    if value == "":
        return default
    if not re.fullmatch(r"-?[0-9]{1,18}", value, re.ASCII):
        raise InvalidParameter(f"invalid value for {name}: {json.dumps(value)} is no number")
    return int(value)


def size(request: web.BaseRequest, name: str) -> int:
    """A terminal's height or width. Raises InvalidParameter."""
    value = number(request, name)
    if value is None or not 0 <= value <= 65535:
        raise InvalidParameter(f"invalid value for {name}: a number from 0 to 65535 is wanted")
    return value


def time_ns(value: str, name: str) -> int:
    """A time in nanoseconds since the epoch, from seconds (`1700000000.5`) or RFC 3339; "" and 0 give 0.

    Raises InvalidParameter.
    """
    if not value:
        return 0
    if _SECONDS.match(value):
        whole, _, fraction = value.partition(".")
        return int(whole) * 1_000_000_000 + int(fraction.ljust(9, "0") or 0)
    try:
        moment = datetime.datetime.fromisoformat(value)
    except ValueError:
        raise InvalidParameter(
            f'invalid value for "{name}": failed to parse value as time or duration: {value!r}'
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return int(moment.timestamp() * 1_000_000) * 1000
