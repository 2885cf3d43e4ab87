"""Reading query parameters, as the API's server does: a flag is true unless it is empty, 0, no, false or none."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import msgspec

from darse import aiohttp_server as web
from darse.core.errors import InvalidParameter
from darse.core.times import parse_time
from darse.image_spec import platforms
from darse.image_spec.platforms import Platform

_FALSE = frozenset({"", "0", "no", "false", "none"})


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


def accepted(request: web.BaseRequest, offers: Sequence[str], default: str) -> str:
    """Which of the media types on offer the client's `Accept` likes best (RFC 9110); the first of several.

    `default` is for clients that name none of them.
    """
    ranges: dict[str, float] = {}
    for part in ",".join(request.headers.getall("Accept", [])).split(","):
        media_range, *parameters = (word.strip().lower() for word in part.split(";"))
        ranges[media_range] = next((_quality(one) for one in parameters if one.startswith("q=")), 1.0)
    best, chosen = (0.0, -1), default
    for offer in offers:
        # Of the ranges that an offer is in, the most exact counts.
        names = ("*/*", f"{offer.partition('/')[0]}/*", offer)
        exactness = max((number for number, name in enumerate(names) if name in ranges), default=-1)
        quality = ranges[names[exactness]] if exactness >= 0 else 0.0
        if quality > 0 and (quality, exactness) > best:
            best, chosen = (quality, exactness), offer
    return chosen


def _quality(parameter: str) -> float:
    try:
        return float(parameter.removeprefix("q="))
    except ValueError:
        return 0.0


def platform(request: web.BaseRequest) -> Platform | None:
    """A JSON-encoded OCI platform; None when absent. Raises InvalidParameter."""
    value = text(request, "platform")
    return read_platform(value) if value else None


def platforms_of(request: web.BaseRequest) -> list[Platform]:
    """JSON-encoded OCI platforms, of a parameter that may come several times. Raises InvalidParameter."""
    return [read_platform(one) for one in request.query.getall("platform", []) if one]


def read_platform(value: str) -> Platform:
    """The normal form of an OCI platform in JSON, or of `os[/arch[/variant]]`. Raises InvalidParameter."""
    if not value.lstrip().startswith("{"):
        try:
            return platforms.normalized(platforms.parse(value))
        except platforms.InvalidPlatform as error:
            raise InvalidParameter(str(error)) from None
    try:
        given = msgspec.json.decode(value, type=Platform)
    except msgspec.MsgspecError as error:
        raise InvalidParameter(f"failed to parse platform: {error}") from error
    except RecursionError:
        raise InvalidParameter("failed to parse platform: nested too deeply") from None
    if not given.os and not given.architecture:
        raise InvalidParameter("failed to parse platform: both OS and Architecture must be provided")
    if not given.architecture:
        given = msgspec.structs.replace(given, architecture=platforms.host().architecture)
    return platforms.normalized(given)


def size(request: web.BaseRequest, name: str) -> int:
    """A terminal's height or width. Raises InvalidParameter."""
    value = number(request, name)
    if value is None or not 0 <= value <= 65535:
        raise InvalidParameter(f"invalid value for {name}: must be a number from 0 to 65535")
    return value


def time_ns(request: web.BaseRequest, name: str) -> int:
    """A time in nanoseconds since the epoch; 0 when absent. Raises InvalidParameter."""
    value = text(request, name)
    return parse_time(value, name) if value else 0
