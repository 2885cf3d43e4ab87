"""The long form of every attribute that has a short one, so that what follows knows one form only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from darse.compose.errors import ComposeError, shown_path
from darse.compose.paths import PathTable, transform
from darse.compose.syntax import volumes
from darse.compose.syntax.pairs import go_text
from darse.port_specs import InvalidPort, parse_publish

_Path = tuple["str | int", ...]


class Canonical:
    """One pass. Where variables are left in, a text that cannot be read is left as it is."""

    def __init__(self, *, is_interpolated: bool, warn: Callable[[str], None]) -> None:
        self._is_interpolated = is_interpolated
        self._warn = warn
        self._table: PathTable[Callable[[Any, _Path], Any]] = PathTable(
            _TRANSFORMERS
            | {
                "services.*.build.additional_contexts": self._contexts,
                "services.*.devices.*": self._device,
                "services.*.ports": self._ports,
                "services.*.volumes.*": self._volume,
                # In the schema, and as in docker compose v2 not in the model: it may not go unnoticed.
                "services.*.pull_refresh_after": self._without_effect,
                "networks.*.ipam.options": self._without_effect,
            }
            | {f"{kind}.*": self._external for kind in ("volumes", "networks", "secrets", "configs")}
        )

    def apply(self, document: dict[str, Any]) -> dict[str, Any]:
        """Changes and returns the document. Raises ComposeError."""
        changed: dict[str, Any] = transform(document, self._table)
        for service in _mappings(changed.get("services")):
            if isinstance(service.get("dns"), list):
                service["dns"] = [one for one in service["dns"] if one not in (None, "")]
        return changed

    def _contexts(self, value: Any, path: _Path) -> Any:
        if not isinstance(value, list):
            return value
        pairs = {}
        for entry in value:
            name, equals, context = str(entry).partition("=")
            if not equals:
                if not self._is_interpolated:
                    return value
                raise ComposeError(f"{shown_path(path)}: invalid value {entry}, expected key=value", path)
            pairs[name] = context
        return pairs

    def _device(self, value: Any, path: _Path) -> Any:
        if not isinstance(value, str):
            return value
        parts = value.split(":")
        if len(parts) > 3:
            if not self._is_interpolated:
                return value
            raise ComposeError(f"confusing device mapping, please use long syntax: {value}", path)
        source, target, permissions = (*parts, "", "")[:3]
        return {"source": source, "target": target or source, "permissions": permissions or "rwm"}

    def _ports(self, value: Any, path: _Path) -> Any:
        ports: list[Any] = []
        for number, entry in enumerate(value):
            if isinstance(entry, dict):
                ports.append(entry)
                continue
            try:
                parsed = sorted(parse_publish(go_text(entry)), key=lambda pair: pair[0])
            except InvalidPort as error:
                if not self._is_interpolated:
                    return value
                raise ComposeError(str(error), (*path, number)) from error
            for key, binding in parsed:
                target, _, protocol = key.partition("/")
                port: dict[str, Any] = {"mode": "ingress", "target": int(target), "protocol": protocol}
                if binding["HostIp"]:
                    port["host_ip"] = binding["HostIp"]
                if binding["HostPort"]:
                    port["published"] = binding["HostPort"]
                ports.append(port)
        return ports

    def _volume(self, value: Any, path: _Path) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return volumes.parse(value)
        except volumes.InvalidVolume as error:
            if not self._is_interpolated:
                return value
            raise ComposeError(str(error), path) from error

    def _without_effect(self, value: Any, path: _Path) -> Any:
        self._warn(f"{shown_path(path)} has no effect")
        return value

    def _external(self, value: Any, path: _Path) -> Any:
        """`external: {name: N}` of version 2 and 3 files."""
        if not isinstance(value, dict) or not isinstance(external := value.get("external"), dict):
            return value
        value["external"] = True
        if (name := external.get("name")) is not None:
            self._warn(f"{shown_path(path)}: external.name is deprecated. Please set name and external: true")
            if value.setdefault("name", name) != name:
                raise ComposeError(f"{shown_path(path)}: name and external.name conflict; only use name", path)
        return value


def _mappings(value: Any) -> list[dict[str, Any]]:
    return [one for one in value.values() if isinstance(one, dict)] if isinstance(value, dict) else []


def _source(value: Any, _path: _Path) -> Any:
    return {"source": value} if isinstance(value, str) else value


def _context(value: Any, _path: _Path) -> Any:
    return {"context": value} if isinstance(value, str) else value


def _text(value: Any, _path: _Path) -> str:
    return go_text(value)


def _dependencies(value: Any, path: _Path) -> Any:
    services: dict[str, Any] = {name: {} for name in value} if isinstance(value, list) else value
    for name, one in services.items():
        if not isinstance(one, dict):
            raise ComposeError(f"{shown_path(path)}.{name}: unsupported value {one}", (*path, name))
        one.setdefault("condition", "service_started")
        one.setdefault("required", True)
    return services


def _env_files(value: Any, _path: _Path) -> Any:
    entries = [value] if isinstance(value, str) else value
    files: list[dict[str, Any]] = [{"path": one} if isinstance(one, str) else one for one in entries]
    for one in files:
        one.setdefault("required", True)
    return files


def _sequence(value: Any, _path: _Path) -> Any:
    return [value] if isinstance(value, str) else value


def _extends(value: Any, _path: _Path) -> Any:
    return {"service": value} if isinstance(value, str) else value


def _gpus(value: Any, _path: _Path) -> Any:
    return [{"count": "all"}] if isinstance(value, str) else value


def _names(value: Any, _path: _Path) -> Any:
    return dict.fromkeys(value) if isinstance(value, list) else value


def _ssh(value: Any, path: _Path) -> Any:
    if not isinstance(value, list):
        return value
    keys: dict[str, str | None] = {}
    for entry in value:
        name, equals, place = str(entry).partition("=")
        if not equals and name != "default":
            raise ComposeError(f'invalid ssh key "{name}"', path)
        keys[name] = place if equals else None
    return keys


_SERVICES: dict[Callable[[Any, _Path], Any], str] = {
    _source: "build.secrets.* secrets.* configs.*",
    _text: "build.provenance build.sbom",
    _dependencies: "depends_on",
    _env_files: "env_file",
    _sequence: "label_file dns develop.watch.*.ignore develop.watch.*.include",
    _extends: "extends",
    _gpus: "gpus",
    _names: "networks models",
    _context: "build",
    _ssh: "build.ssh",
}
_TRANSFORMERS: dict[str, Callable[[Any, _Path], Any]] = {
    f"services.*.{path}": function for function, paths in _SERVICES.items() for path in paths.split()
}
