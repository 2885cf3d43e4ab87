"""The model as plain values: in YAML's form, and in JSON's, whose rules for what is left out differ a little.

JSON's is what hashes are made of, so it is docker compose's to the byte: the order of attributes, null commands, parts
that are shown though they are empty, capitals in the devices' limits.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import msgspec

from darse.compose.model.base import ModelPart
from darse.compose.model.build import ServiceHook, ServiceUlimit, Watch
from darse.compose.model.deploy import Deploy
from darse.compose.model.project import Project, ProjectNetwork
from darse.compose.model.quantities import Quantity
from darse.compose.model.service import Dependency, EnvFile, Service, ThrottledDevice, WeightedDevice
from darse.compose.output.order import natural

# Shown in JSON though they have no value; those of a second set in YAML, too.
_ALWAYS_IN_JSON: dict[type, frozenset[str]] = {
    Service: frozenset({"command", "entrypoint"}),
    ServiceHook: frozenset({"command"}),
    Deploy: frozenset({"resources", "placement"}),
    ProjectNetwork: frozenset({"ipam"}),
    Watch: frozenset({"exec", "path", "action"}),
    Dependency: frozenset({"required"}),
    EnvFile: frozenset({"required"}),
    WeightedDevice: frozenset({"path", "weight"}),
    ThrottledDevice: frozenset({"path", "rate"}),
}
_ALWAYS_IN_YAML: dict[type, frozenset[str]] = {
    Watch: frozenset({"path", "action"}),
    Dependency: frozenset({"required"}),
    EnvFile: frozenset({"required"}),
    WeightedDevice: frozenset({"path", "weight"}),
    ThrottledDevice: frozenset({"path", "rate"}),
}
_CAPITALS = (WeightedDevice, ThrottledDevice)
_HOSTS = "extra_hosts"


def project_yaml(project: Project) -> dict[str, Any]:
    """What `config` prints as YAML."""
    shown: dict[str, Any] = {"name": project.name} if project.name else {}
    shown["services"] = _in_yaml(project.services)
    for kind in ("networks", "volumes", "secrets", "configs", "models"):
        if found := getattr(project, kind):
            shown[kind] = _in_yaml(found)
    shown.update(ordered(project.extensions))
    return shown


def project_json(project: Project) -> str:
    """What `config --format json` prints: keys in order, `<`, `>` and `&` escaped."""
    shown: dict[str, Any] = {"name": project.name, "services": in_json(project.services)}
    for kind in ("networks", "volumes", "secrets", "configs"):
        if found := getattr(project, kind):
            shown[kind] = in_json(found)
    return go_json(dict(sorted((shown | in_json(project.extensions)).items())), indent=2)


def go_json(value: Any, indent: int | None = None) -> str:
    """JSON as Go writes it."""
    separators = (",", ": ") if indent else (",", ":")
    text = json.dumps(value, indent=indent, separators=separators, ensure_ascii=False)
    for one, escaped in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"), ("\u2028", "\\u2028")):
        text = text.replace(one, escaped)
    return text.replace("\u2029", "\\u2029")


@functools.cache
def _fields(part: type[ModelPart]) -> tuple[tuple[str, bool], ...]:
    """The names of a part's attributes, and whether each may be None."""
    return tuple(
        (field.name, field.default is None) for field in msgspec.structs.fields(part) if field.name != "extensions"
    )


def _is_left_out(value: Any, is_optional: bool) -> bool:
    """Whether an attribute is not shown: one that may be None is shown as soon as it is set."""
    if is_optional:
        return value is None
    if isinstance(value, ModelPart):
        return _is_empty(value)
    return not value


def _is_empty(part: ModelPart) -> bool:
    return not part.extensions and all(
        _is_left_out(getattr(part, name), is_optional) for name, is_optional in _fields(type(part))
    )


def _in_yaml(value: Any) -> Any:
    if isinstance(value, ModelPart):
        return _part_in_yaml(value)
    if isinstance(value, Quantity):
        return value.formatted
    if isinstance(value, dict):
        return {key: _in_yaml(value[key]) for key in sorted(value, key=natural)}
    return [_in_yaml(one) for one in value] if isinstance(value, list) else value


def _part_in_yaml(part: ModelPart) -> Any:
    if isinstance(part, ServiceUlimit):
        return part.single or {"soft": part.soft, "hard": part.hard}
    if isinstance(part, EnvFile) and part.required:
        return part.path
    always = _ALWAYS_IN_YAML.get(type(part), frozenset())
    shown: dict[str, Any] = {}
    for name, is_optional in _fields(type(part)):
        value = getattr(part, name)
        if name in always or not _is_left_out(value, is_optional):
            shown[name] = _listed(name, value) if name in _LISTED else _in_yaml(value)
    if isinstance(part, EnvFile):
        shown.pop("format", None)
    return shown | ordered(part.extensions)


def ordered(value: Any) -> Any:
    """A value of an extension, whose keys are sorted as those of all maps are."""
    if isinstance(value, dict):
        return {key: ordered(value[key]) for key in sorted(value, key=natural)}
    return [ordered(one) for one in value] if isinstance(value, list) else value


_LISTED = frozenset({_HOSTS, "ssh"})


def _listed(name: str, value: dict[str, Any]) -> list[str]:
    if name == _HOSTS:
        return sorted(f"{host}={address}" for host, addresses in value.items() for address in addresses)
    return [key if not path else f"{key}: {path}" for key, path in value.items()]


def in_json(value: Any) -> Any:
    """A part, or a mapping or sequence of parts, as JSON has it."""
    if isinstance(value, ModelPart):
        return _part_in_json(value)
    if isinstance(value, Quantity):
        return value.formatted
    if isinstance(value, dict):
        return {key: in_json(value[key]) for key in sorted(value)}
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return int(value)
    return [in_json(one) for one in value] if isinstance(value, list) else value


def _part_in_json(part: ModelPart) -> Any:
    if isinstance(part, ServiceUlimit) and part.single:
        return part.single
    if isinstance(part, EnvFile) and part.required:
        return part.path
    always = _ALWAYS_IN_JSON.get(type(part), frozenset())
    shown: dict[str, Any] = {}
    for name, is_optional in _fields(type(part)):
        value = getattr(part, name)
        if name in always or isinstance(value, ModelPart) or not _is_left_out(value, is_optional):
            key = name.capitalize() if isinstance(part, _CAPITALS) else name
            shown[key] = _listed(name, value) if name in _LISTED else in_json(value)
    return shown
