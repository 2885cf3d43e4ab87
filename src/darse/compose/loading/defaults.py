"""What an attribute is where a file does not say it, and checks that the schema cannot express."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from darse.compose.errors import ComposeError, shown_path
from darse.compose.paths import PathTable, transform

_Path = tuple["str | int", ...]


def set_defaults(document: dict[str, Any]) -> None:
    """Add the defaults to a canonical document."""
    transform(document, DEFAULTS)


def check(document: dict[str, Any]) -> None:
    """Raise ComposeError for attributes that exclude each other, and for addresses that are none."""
    transform(document, CHECKS)


def _context(value: Any, _path: _Path) -> Any:
    if isinstance(value, dict):
        value.setdefault("context", ".")
    return value


def _secret(value: Any, _path: _Path) -> Any:
    value.setdefault("target", f"/run/secrets/{value.get('source')}")
    return value


def _port(value: Any, _path: _Path) -> Any:
    if isinstance(value, dict):
        value.setdefault("protocol", "tcp")
        value.setdefault("mode", "ingress")
    return value


def _device(value: Any, _path: _Path) -> Any:
    if "count" not in value and "device_ids" not in value:
        value["count"] = "all"
    return value


DEFAULTS: PathTable[Callable[[Any, _Path], Any]] = PathTable(
    {
        "services.*.build": _context,
        "services.*.secrets.*": _secret,
        "services.*.ports.*": _port,
        "services.*.deploy.resources.reservations.devices.*": _device,
        "services.*.gpus.*": _device,
    }
)


def _check_volume(value: Any, path: _Path) -> Any:
    if isinstance(value, dict) and value.get("external") is True:
        for key in value:
            if key not in ("name", "external") and not key.startswith("x-"):
                raise ComposeError(
                    f'{shown_path(path)}: conflicting parameters "external" and "{key}" specified', (*path, key)
                )
    return value


def _check_file_object(*keys: str) -> Callable[[Any, _Path], Any]:
    def check_one(value: Any, path: _Path) -> Any:
        given = [key for key in keys if key in (value or {})]
        if len(given) > 1:
            raise ComposeError(f"{shown_path(path)}: {'|'.join(keys)} attributes are mutually exclusive", path)
        if not given and "driver" not in (value or {}) and "external" not in (value or {}):
            raise ComposeError(f"{shown_path(path)}: one of {'|'.join(keys)} must be set", path)
        return value

    return check_one


def _check_path(value: Any, path: _Path) -> Any:
    if value == "":
        raise ComposeError(f"{shown_path(path)}: value can't be blank", path)
    return value


def _check_device(value: Any, path: _Path) -> Any:
    if "count" in value and "device_ids" in value:
        raise ComposeError(f'{shown_path(path)}: "count" and "device_ids" attributes are exclusive', path)
    return value


def _check_port(value: Any, path: _Path) -> Any:
    import ipaddress  # noqa: PLC0415 - slow to import; most ports have no address

    if isinstance(value, dict) and "host_ip" in value:
        try:
            ipaddress.ip_address(value["host_ip"])
        except ValueError as error:
            raise ComposeError(f"{shown_path(path)}: invalid ip address: {value['host_ip']}", path) from error
    return value


CHECKS: PathTable[Callable[[Any, _Path], Any]] = PathTable(
    {
        "volumes.*": _check_volume,
        "configs.*": _check_file_object("file", "environment", "content"),
        "secrets.*": _check_file_object("file", "environment"),
        "services.*.ports.*": _check_port,
        "services.*.develop.watch.*.path": _check_path,
        "services.*.deploy.resources.reservations.devices.*": _check_device,
        "services.*.gpus.*": _check_device,
    }
)
