"""Logging drivers: which there are, the options that each takes, and what the options of the local files mean.

With every driver conmon writes the log to disk (but with `none`), so `docker logs` always has something to read. See
https://docs.docker.com/engine/logging/configure/ for the options.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from darse.containers.logs.driver_names import LOCAL_DRIVERS
from darse.containers.logs.shipping.registry import REMOTE_DRIVERS
from darse.containers.logs.tags import check_tag
from darse.core.errors import InvalidParameter
from darse.core.expressions import CostlyExpression, Expression, InvalidExpression
from darse.units import InvalidSize, parse_size
from darse.wire.host_config import LogConfig

_ATTRIBUTES: Final = frozenset("labels labels-regex env env-regex tag".split())
_FILES: Final = frozenset("max-size max-file compress".split())
# What docker's own cache of remote drivers and its delivery take; a container here never waits for a receiver.
_DELIVERY: Final = frozenset("mode max-buffer-size cache-disabled cache-max-size cache-max-file cache-compress".split())
_OPTIONS: Final[dict[str, frozenset[str]]] = {
    "json-file": _FILES | _ATTRIBUTES,
    "local": _FILES | _ATTRIBUTES,
    "none": _FILES | _ATTRIBUTES,  # taken, and without effect
}
_BOOLEANS: Final = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


class Retention(msgspec.Struct, frozen=True):
    """How a log's files are kept: bytes of one (0: no limit), how many, and whether rotated ones are compressed."""

    max_size: int
    max_files: int
    compress: bool


_KEPT: Final = {"local": Retention(20_000_000, 5, compress=True)}
_KEPT_WHOLE: Final = Retention(0, 1, compress=False)
# What stays for `docker logs` of a log that was sent: docker's cache. Nothing goes before it was sent.
_CACHE: Final = Retention(20_000_000, 5, compress=True)
_NO_CACHE: Final = Retention(20_000_000, 1, compress=False)


def drivers() -> list[str]:
    """The names of the drivers."""
    return sorted({*_OPTIONS, *REMOTE_DRIVERS})


def with_defaults(given: LogConfig, driver: str, options: Mapping[str, str]) -> LogConfig:
    """A container's configuration over the engine's, whose options count where the driver is the same."""
    chosen = given.Type or driver
    inherited = options if chosen == driver else {}
    return msgspec.structs.replace(given, Type=chosen, Config={**inherited, **(given.Config or {})})


def check(config: LogConfig) -> None:
    """Raise InvalidParameter for an unknown option, or a value that means nothing.

    A driver that is none of ours is a plugin's: whether there is one only `check_plugin` can tell.
    """
    remote = REMOTE_DRIVERS.get(config.Type)
    taken = remote.options if remote is not None else _OPTIONS.get(config.Type)
    options = config.Config or {}
    for name, value in options.items():
        if taken is not None and name not in taken | _DELIVERY:
            quoted = f'"{name}"' if config.Type == "gelf" else f"'{name}'"
            raise InvalidParameter(f"unknown log opt {quoted} for {config.Type} log driver")
        if "\0" in value:
            raise InvalidParameter(f"invalid log opt {name}: it contains a NUL byte")
        read = _READ.get(name) if taken is not None or name in _DELIVERY else None
        if read is not None:
            read(name, value)
    if remote is not None:
        remote.check(options)
    kept = retention(config)
    if config.Type == "json-file" and kept.compress and (kept.max_files == 1 or kept.max_size == 0):
        raise InvalidParameter("compress cannot be true when max-file is less than 2 or max-size is not set")


def retention(config: LogConfig) -> Retention:
    """How the files of a log are kept. Raises InvalidParameter for values that `check` refuses."""
    options = config.Config or {}
    prefix, kept = "", _KEPT.get(config.Type, _KEPT_WHOLE)
    if config.Type not in LOCAL_DRIVERS:
        if not is_readable(config):
            return _NO_CACHE
        prefix, kept = "cache-", _CACHE
    size, count, compress = f"{prefix}max-size", f"{prefix}max-file", f"{prefix}compress"
    return Retention(
        _size(size, options[size]) if size in options else kept.max_size,
        _count(count, options[count]) if count in options else kept.max_files,
        _boolean(compress, options[compress]) if compress in options else kept.compress,
    )


def is_readable(config: LogConfig) -> bool:
    """Whether `docker logs` has something to read. Raises InvalidParameter for values that `check` refuses."""
    if config.Type == "none":
        return False
    disabled = (config.Config or {}).get("cache-disabled", "false")
    return config.Type in LOCAL_DRIVERS or not _boolean("cache-disabled", disabled)


def _size(name: str, value: str) -> int:
    """Bytes, from docker's decimal units: 10m is ten million; 0 for "-1", which is no limit."""
    if value == "-1":
        return 0
    try:
        size = parse_size(value, 1000)
    except InvalidSize as error:
        raise InvalidParameter(f"invalid log opt {name}: {error}") from None
    if size <= 0:
        raise InvalidParameter(f"invalid log opt {name}: {name} must be a positive number")
    return size


def _count(name: str, value: str) -> int:
    if not (value.isascii() and value.isdecimal() and 1 <= int(value[:10]) <= 10_000):
        raise InvalidParameter(f"{name} cannot be less than 1, and must be a number of at most 10000")
    return int(value)


def _boolean(name: str, value: str) -> bool:
    if value not in _BOOLEANS:
        raise InvalidParameter(f"invalid log opt {name}: {value!r} is neither true nor false")
    return _BOOLEANS[value]


def _mode(_: str, value: str) -> str:
    if value not in ("", "blocking", "non-blocking"):
        raise InvalidParameter(f"logger: logging mode not supported: {value}")
    return value


def _pattern(name: str, value: str) -> Expression:
    try:
        return Expression(value)
    except InvalidExpression as error:
        raise InvalidParameter(f"invalid log opt {name}: {value!r} is no regular expression: {error}") from None
    except CostlyExpression as error:
        raise InvalidParameter(f"invalid log opt {name}: {error}") from None


_READ: Final[dict[str, Callable[[str, str], object]]] = {
    "max-size": _size,
    "max-file": _count,
    "compress": _boolean,
    "mode": _mode,
    "max-buffer-size": _size,
    "tag": lambda _, value: check_tag(value),
    "labels-regex": _pattern,
    "env-regex": _pattern,
    "cache-disabled": _boolean,
    "cache-max-size": _size,
    "cache-max-file": _count,
    "cache-compress": _boolean,
}
