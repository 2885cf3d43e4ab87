"""Merge a later file, or an extending service, into what is before it: mappings key by key, sequences end to end.

Some attributes are replaced, or are merged as one of their several forms: `_SPECIAL` has them by their paths.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from darse.compose.errors import ComposeError, shown_path
from darse.compose.paths import PathTable
from darse.compose.syntax.pairs import go_text

_Path = tuple["str | int", ...]
_Merger = Callable[[Any, Any, _Path, "PathTable[Any] | None"], Any]


def merge(base: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """`other` over `base`; changes `base`. Raises ComposeError where they have different forms."""
    merged: dict[str, Any] = _merge(base, other, (), SPECIAL)
    return merged


def merge_service(base: dict[str, Any], other: dict[str, Any], name: str) -> dict[str, Any]:
    """A service over the one that it extends."""
    table = SPECIAL.below["services"].step(name)
    merged: dict[str, Any] = _merge(base, other, ("services", name), table)
    return merged


def _merge(base: Any, other: Any, path: _Path, table: PathTable[_Merger] | None) -> Any:
    if table is not None and table.value is not None:
        return table.value(base, other, path, table)
    if other is None:
        return base
    if isinstance(base, dict):
        if not isinstance(other, dict):
            raise ComposeError(f"cannot override {shown_path(path)}", path)
        return _merge_mappings(base, other, path, table)
    if isinstance(base, list):
        if not isinstance(other, list):
            raise ComposeError(f"cannot override {shown_path(path)}", path)
        return base + other
    return other


def _merge_mappings(
    base: dict[str, Any], other: dict[str, Any], path: _Path, table: PathTable[_Merger] | None
) -> dict[str, Any]:
    for key, value in other.items():
        if key in base:
            base[key] = _merge(base[key], value, (*path, key), table.step(key) if table else None)
        else:
            base[key] = value
    return base


def _replace(_base: Any, other: Any, _path: _Path, _table: PathTable[Any] | None) -> Any:
    return other


def _sequences(base: Any, other: Any, _path: _Path, _table: PathTable[Any] | None) -> list[Any]:
    return sequence_of(base) + sequence_of(other)


def _hosts(base: Any, other: Any, _path: _Path, _table: PathTable[Any] | None) -> list[Any]:
    first = sequence_of(base)
    return first + [one for one in sequence_of(other) if one not in first]


def sequence_of(value: Any) -> list[Any]:
    """`KEY=value` texts of a mapping, in order; a sequence as it is; a text as the only one."""
    if isinstance(value, dict):
        pairs: list[str] = []
        for key, one in value.items():
            if one is None:
                pairs.append(key)
            else:
                pairs += [f"{key}={go_text(each)}" for each in (one if isinstance(one, list) else [one])]
        return sorted(pairs)
    if isinstance(value, list):
        return value
    return [value] if isinstance(value, str) else []


def _mapping_of(value: Any, path: _Path, default: dict[str, Any] | None = None) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    if value is None:
        return {}
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ComposeError(f"cannot override {shown_path(path)}", path)
    return {name: dict(default) if default is not None else None for name in value}


def _names(base: Any, other: Any, path: _Path, table: PathTable[Any] | None) -> dict[str, Any]:
    return _merge_mappings(_mapping_of(base, path), _mapping_of(other, path), path, table)


def _dependencies(base: Any, other: Any, path: _Path, table: PathTable[Any] | None) -> dict[str, Any]:
    default = {"condition": "service_started", "required": True}
    return _merge_mappings(_mapping_of(base, path, default), _mapping_of(other, path, default), path, table)


def _build(base: Any, other: Any, path: _Path, table: PathTable[Any] | None) -> dict[str, Any]:
    first = {"context": base} if isinstance(base, str) else _mapping_of(base, path)
    second = {"context": other} if isinstance(other, str) else _mapping_of(other, path)
    return _merge_mappings(first, second, path, table)


def _logging(base: Any, other: Any, path: _Path, table: PathTable[Any] | None) -> dict[str, Any]:
    first, second = _mapping_of(base, path), _mapping_of(other, path)
    if "driver" in first and "driver" in second and first["driver"] != second["driver"]:
        return second  # the options of one driver mean nothing to another
    return _merge_mappings(first, second, path, table)


def _pools(base: Any, other: Any, path: _Path, table: PathTable[Any] | None) -> list[Any]:
    """Address pools with one subnet are one pool."""
    if not isinstance(base, list) or not isinstance(other, list):
        raise ComposeError(f"{shown_path(path)}: must be a sequence", path)
    pools = [_mapping_of(one, path) for one in base]
    for one in other:
        added = _mapping_of(one, path)
        same = next((pool for pool in pools if pool.get("subnet") == added.get("subnet")), None)
        if same is None:
            pools.append(added)
        else:
            _merge_mappings(same, added, path, None)
    return pools


_SERVICES: dict[_Merger, str] = {
    _sequences: "annotations build.args build.additional_contexts build.labels deploy.labels dns dns_opt dns_search "
    "env_file label_file environment labels volumes.*.volume.labels sysctls tmpfs",
    _hosts: "build.extra_hosts extra_hosts",
    _replace: "command entrypoint healthcheck.test ulimits.*",
    _names: "models networks",
    _dependencies: "depends_on",
    _build: "build",
    _logging: "logging",
}
SPECIAL: PathTable[_Merger] = PathTable(
    {f"services.*.{path}": merger for merger, paths in _SERVICES.items() for path in paths.split()}
    | {"networks.*.ipam.config": _pools, "networks.*.labels": _sequences, "volumes.*.labels": _sequences}
)
