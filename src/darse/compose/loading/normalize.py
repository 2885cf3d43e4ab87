"""Write out what follows from the rest of the model: default networks, names, implied dependencies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from darse.compose.syntax.pairs import go_text
from darse.compose.syntax.volumes import clean

_NAMESPACES = ("network_mode", "ipc", "pid", "uts", "cgroup")
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})


def normalize(document: dict[str, Any], project: str, lookup: Callable[[str], str | None]) -> None:
    """Change a canonical document; `lookup` has the environment's variables."""
    document["name"] = project
    _networks(document)
    for service in (document.get("services") or {}).values():
        if isinstance(service, dict):
            _service(service, lookup)
    _names(document, project)


def _networks(document: dict[str, Any]) -> None:
    networks = document.get("networks") or {}
    uses_default = False
    for service in (document.get("services") or {}).values():
        if not isinstance(service, dict) or "provider" in service or "network_mode" in service:
            continue
        if not service.get("networks"):
            service["networks"] = {"default": None}
        uses_default = uses_default or "default" in service["networks"]
    if uses_default:
        networks.setdefault("default", None)
    if networks:
        document["networks"] = networks


def _service(service: dict[str, Any], lookup: Callable[[str], str | None]) -> None:
    if service.get("pull_policy") == "if_not_present":
        service["pull_policy"] = "missing"
    if isinstance(build := service.get("build"), dict):
        build.setdefault("context", ".")
        if build.get("dockerfile") is None and build.get("dockerfile_inline") is None:
            build["dockerfile"] = "Dockerfile"
        if (arguments := build.get("args")) is not None:
            build["args"] = resolved(arguments, lookup, keep_unset=False)
    if (environment := service.get("environment")) is not None:
        service["environment"] = resolved(environment, lookup, keep_unset=True)
    dependencies = service.get("depends_on") or {}
    _implied(service, dependencies)
    if dependencies:
        service["depends_on"] = dependencies
    for volume in service.get("volumes") or ():
        if isinstance(volume, dict) and isinstance(volume.get("target"), str):
            volume["target"] = clean(volume["target"])


def _implied(service: dict[str, Any], dependencies: dict[str, Any]) -> None:
    """Links, shared namespaces and shared volumes need the other service."""
    for link in service.get("links") or ():
        _depend(dependencies, str(link).partition(":")[0], restart=True)
    for namespace in _NAMESPACES:
        owner = service.get(namespace)
        if isinstance(owner, str) and owner.startswith("service:"):
            _depend(dependencies, owner.removeprefix("service:"), restart=True)
    for source in service.get("volumes_from") or ():
        if not str(source).startswith("container:"):
            _depend(dependencies, str(source).partition(":")[0], restart=False)


def _depend(dependencies: dict[str, Any], name: str, *, restart: bool) -> None:
    if name not in dependencies:
        dependencies[name] = {"condition": "service_started", "restart": restart, "required": True}


def resolved(value: Any, lookup: Callable[[str], str | None], *, keep_unset: bool) -> Any:
    """Variables without a value get that of the environment; those that are not set there stay only if `keep_unset`."""
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        for key, one in value.items():
            text = lookup(key) if one is None else one
            if text is not None or keep_unset:
                found[key] = text
        return found
    entries: list[Any] = []
    for entry in value:
        if isinstance(entry, str) and "=" not in entry:
            text = lookup(entry)
            if text is not None:
                entries.append(f"{entry}={text}")
            elif keep_unset:
                entries.append(entry)
        else:
            entries.append(entry)
    return entries


def _names(document: dict[str, Any], project: str) -> None:
    for kind in ("networks", "volumes", "configs", "secrets"):
        resources = document.get(kind) or {}
        for key, resource in resources.items():
            named = resource or {}
            if named.get("name") is None:
                named["name"] = key if go_text(named.get("external")) in _TRUE else f"{project}_{key}"
            resources[key] = named
