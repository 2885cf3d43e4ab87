"""What a sequence may have once: of two entries with one key the later stays, in the place of the first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from darse.compose.errors import ComposeError, shown_path
from darse.compose.paths import PathTable, transform
from darse.compose.syntax import volumes
from darse.compose.syntax.pairs import go_text

_Path = tuple["str | int", ...]


def enforce_unicity(document: dict[str, Any]) -> dict[str, Any]:
    """Changes and returns the document. Raises ComposeError for an entry without what makes its key."""
    unique: dict[str, Any] = transform(document, UNIQUE)
    return unique


def _by(key_of: Callable[[Any, _Path], str]) -> Callable[[Any, _Path], Any]:
    def keep_last(value: Any, path: _Path) -> Any:
        if not isinstance(value, list):
            return value
        kept: dict[str, Any] = {}
        for number, entry in enumerate(value):
            kept[key_of(entry, (*path, number))] = entry
        return list(kept.values())

    return keep_last


def _name(entry: Any, path: _Path) -> str:
    if isinstance(entry, str):
        return entry.partition("=")[0]
    if isinstance(entry, (int, float)):
        return go_text(entry)
    raise ComposeError(f"{shown_path(path)} must be a string", path)


def _target(entry: Any, path: _Path) -> str:
    if isinstance(entry, dict):
        if not isinstance(entry.get("target"), str):
            raise ComposeError(f"service volume {shown_path(path)} is missing a mount target", path)
        return str(entry["target"])
    try:
        return str(volumes.parse(entry)["target"]) if isinstance(entry, str) else ""
    except volumes.InvalidVolume as error:
        raise ComposeError(str(error), path) from error


def _device(entry: Any, path: _Path) -> str:
    if isinstance(entry, dict):
        if not isinstance(entry.get("target"), str):
            raise ComposeError(f"service device {shown_path(path)} is missing a mount target", path)
        return str(entry["target"])
    parts = str(entry).split(":")
    return parts[0] if len(parts) == 1 else parts[1]


def _mount(directory: str) -> Callable[[Any, _Path], str]:
    def key(entry: Any, _path: _Path) -> str:
        if isinstance(entry, dict):
            return str(entry.get("target") or f"{directory}/{entry.get('source')}")
        return f"{directory}/{entry}"

    return key


def _port(entry: Any, path: _Path) -> str:
    if not isinstance(entry, dict):
        return go_text(entry)
    if "target" not in entry:
        raise ComposeError(f"service ports {shown_path(path)} is missing a target port", path)
    host, protocol = entry.get("host_ip", "0.0.0.0"), entry.get("protocol", "tcp")  # noqa: S104 - a key, no address
    return f"{host}:{entry.get('published', '')}:{entry['target']}/{protocol}"


def _env_file(entry: Any, path: _Path) -> str:
    if isinstance(entry, dict) and "path" not in entry:
        raise ComposeError(f"environment path attribute {shown_path(path)} is missing", path)
    return str(entry["path"] if isinstance(entry, dict) else entry)


_SERVICES: dict[Callable[[Any, _Path], str], str] = {
    _name: "annotations build.args build.additional_contexts build.platform build.tags build.labels cap_add cap_drop "
    "deploy.labels dns dns_opt dns_search environment expose labels links networks.*.aliases networks.*.link_local_ips "
    "profiles sysctls tmpfs",
    _target: "volumes",
    _device: "devices",
    _mount(""): "configs",
    _mount("/run/secrets"): "secrets",
    _port: "ports",
    _env_file: "env_file",
}
UNIQUE: PathTable[Callable[[Any, _Path], Any]] = PathTable(
    {f"services.*.{path}": _by(key) for key, paths in _SERVICES.items() for path in paths.split()}
    | {"networks.*.labels": _by(_name), "networks.*.ipam.options": _by(_name)}
)
