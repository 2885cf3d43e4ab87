"""From a canonical document to the typed model: mappings and sequences in the one form that the model has."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from darse.compose.errors import ComposeError, shown_path
from darse.compose.model.build import Model
from darse.compose.model.project import FileObject, Project, ProjectNetwork, ProjectVolume
from darse.compose.model.quantities import read_quantity
from darse.compose.model.service import Service
from darse.compose.paths import PathTable, transform
from darse.compose.syntax import commands
from darse.compose.syntax.pairs import go_text, pairs, texts

_Path = tuple["str | int", ...]
# Keys are names that users choose: one that begins with `x-` is a name there, and no extension.
_NAMES: PathTable[bool] = PathTable(
    dict.fromkeys(("services", "services.*.depends_on", "volumes", "networks", "secrets", "configs"), True)
)
_PLACE = re.compile(r" - at `\$((?:\.\w+|\[\.*\d*\])*)`\Z")
_LONG = re.compile(r"\.(\w+)|\[(\d+)\]")


def to_project(document: dict[str, Any], name: str) -> Project:
    """The model of a canonical document. Raises ComposeError with the path of what has the wrong type."""
    plain = transform(_with_extensions(document, (), _NAMES), _FORMS)
    return Project(
        name=name,
        services=_parts(plain, "services", Service),
        networks=_parts(plain, "networks", ProjectNetwork),
        volumes=_parts(plain, "volumes", ProjectVolume),
        secrets=_parts(plain, "secrets", FileObject),
        configs=_parts(plain, "configs", FileObject),
        models=_parts(plain, "models", Model),
        extensions=plain.get("extensions", {}),
    )


def _parts(document: dict[str, Any], kind: str, part: Any) -> dict[str, Any]:
    return {key: _part(value or {}, (kind, key), part) for key, value in (document.get(kind) or {}).items()}


def _part(value: Any, path: _Path, part: Any) -> Any:
    try:
        return msgspec.convert(value, part, strict=False, dec_hook=read_quantity)
    except msgspec.ValidationError as error:
        message = str(error)
        if match := _PLACE.search(message):
            steps = [name or int(number) for name, number in _LONG.findall(match[1])]
            path = (*path, *steps)
            message = message[: match.start()]
        raise ComposeError(f"{shown_path(path)}: {message}", path) from error


def _with_extensions(value: Any, path: _Path, names: PathTable[bool] | None) -> Any:
    """A copy with the `x-` keys of each mapping apart, and without what is null."""
    if isinstance(value, list):
        return [_with_extensions(one, path, None) for one in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    apart: dict[str, Any] = {}
    has_names = names is not None and names.value
    for key, one in value.items():
        if key.startswith("x-") and not has_names:
            apart[key] = one
        else:
            found[key] = _with_extensions(one, path, names.step(key) if names else None)
    if apart:
        found["extensions"] = apart
    return found


def _command(value: Any, path: _Path) -> Any:
    if not isinstance(value, str):
        return value if value is None else [go_text(one) for one in value]
    try:
        return commands.split(value)
    except commands.InvalidCommand as error:
        raise ComposeError(f"{shown_path(path)}: {error}", path) from error


def _test(value: Any, _path: _Path) -> Any:
    return ["CMD-SHELL", value] if isinstance(value, str) else value


def _pairs(value: Any, path: _Path) -> Any:
    found = pairs(_without_extensions(value) if value is not None else {})
    for key in found:
        if key != key.rstrip():
            raise ComposeError(f"environment variable {key} is declared with a trailing space", path)
    return found


def _texts(value: Any, _path: _Path) -> Any:
    return texts(_without_extensions(value) if value is not None else {})


def _without_extensions(value: Any) -> Any:
    """Labels and variables may begin with `x-`: put back what was set apart."""
    if isinstance(value, dict) and isinstance(apart := value.get("extensions"), dict):
        return {key: one for key, one in value.items() if key != "extensions"} | apart
    return value


def _several(value: Any, _path: _Path) -> Any:
    if value is None:
        return []
    return [value] if isinstance(value, str) else [go_text(one) for one in value]


def _lists(value: Any, _path: _Path) -> Any:
    return {key: [go_text(each) for each in (one if isinstance(one, list) else [one])] for key, one in value.items()}


def _ulimit(value: Any, _path: _Path) -> Any:
    return {"single": value} if isinstance(value, int) else value


def _hosts(value: Any, path: _Path) -> Any:
    hosts: dict[str, list[str]] = {}
    if isinstance(value, dict):
        for host, one in value.items():
            hosts[host] = [go_text(each) for each in (one if isinstance(one, list) else [one])]
    for entry in value if isinstance(value, list) else ():
        text = go_text(entry)
        host, separator, addresses = text.partition("=" if "=" in text else ":")
        if not separator:
            raise ComposeError(f"invalid additional host, missing IP: {text}", path)
        hosts.setdefault(host, []).extend(addresses.split(","))
    for host, found in hosts.items():
        if not host or ":" in host or "=" in host:
            raise ComposeError(f"bad host name '{host}'", path)
        hosts[host] = [one[1:-1] if len(one) > 2 and one[0] + one[-1] == "[]" else one for one in found]
    return hosts


def _text(value: Any, _path: _Path) -> Any:
    return None if value is None else go_text(value)


def _attributes(value: Any, _path: _Path) -> Any:
    """Attributes that are null are as if they were not there."""
    if not isinstance(value, dict):
        return value
    return {key: one for key, one in value.items() if one is not None}


_SERVICES: dict[Callable[[Any, _Path], Any], str] = {
    _attributes: "build deploy healthcheck logging develop credential_spec provider ports.* volumes.* secrets.* "
    "configs.* networks.* deploy.resources deploy.resources.limits deploy.resources.reservations blkio_config",
    _command: "command entrypoint post_start.*.command pre_stop.*.command develop.watch.*.exec.command",
    _test: "healthcheck.test",
    _pairs: "environment build.args post_start.*.environment pre_stop.*.environment develop.watch.*.exec.environment",
    _texts: "labels annotations build.labels build.additional_contexts deploy.labels logging.options log_opt sysctls "
    "storage_opt networks.*.driver_opts volumes.*.volume.labels gpus.*.options "
    "deploy.resources.reservations.devices.*.options",
    _several: "dns dns_search dns_opt tmpfs expose label_file build.cache_from build.cache_to build.tags "
    "build.platforms develop.watch.*.ignore develop.watch.*.include group_add",
    _lists: "provider.options",
    _ulimit: "ulimits.* build.ulimits.*",
    _hosts: "extra_hosts build.extra_hosts",
    _text: "ports.*.published secrets.*.uid secrets.*.gid configs.*.uid configs.*.gid build.secrets.*.uid "
    "build.secrets.*.gid",
}
_TOP: dict[Callable[[Any, _Path], Any], str] = {
    _attributes: "services.* networks.* volumes.* secrets.* configs.* models.* networks.*.ipam",
    _texts: "networks.*.labels networks.*.driver_opts volumes.*.labels volumes.*.driver_opts secrets.*.labels "
    "configs.*.labels secrets.*.driver_opts configs.*.driver_opts networks.*.ipam.config.*.aux_addresses",
}
_FORMS: PathTable[Callable[[Any, _Path], Any]] = PathTable(
    {f"services.*.{path}": form for form, paths in _SERVICES.items() for path in paths.split()}
    | {path: form for form, paths in _TOP.items() for path in paths.split()}
)
