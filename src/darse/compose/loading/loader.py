"""The order in which a model is made of files, which decides its values.

For each document of each file: variables are replaced; services that extend others are merged with them; what earlier
files say is dropped where this one says `!reset` or `!override`; what it includes is added; it is merged into the
earlier ones; what must be unique is; the schema is checked; short forms become long ones. Then, once: defaults, checks,
absolute paths, the environment's variables, and what follows from the rest (`normalize`).
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from typing import Any

from darse.compose import dotenv
from darse.compose.errors import ComposeError, FilePosition
from darse.compose.interpolation.document import Interpolation
from darse.compose.loading import defaults
from darse.compose.loading.canonical import Canonical
from darse.compose.loading.merge import merge, merge_service
from darse.compose.loading.normalize import normalize, resolved
from darse.compose.loading.relative_paths import resolve_paths
from darse.compose.loading.sources import Sources
from darse.compose.loading.unicity import enforce_unicity
from darse.compose.schema.validator import validate

_Marks = list[tuple["str | int", ...]]
_RESOURCES = ("services", "volumes", "networks", "secrets", "configs", "models")


class LoadSettings:
    """What of the work is done: `config` has a flag for each."""

    def __init__(self, *, interpolate: bool = True, resolve_paths: bool = True, normalize: bool = True) -> None:
        self.interpolate = interpolate
        self.resolve_paths = resolve_paths
        self.normalize = normalize


class _Scope:
    """Where relative paths begin, what the variables are, and which files led here: of the project or of an include."""

    def __init__(self, directory: str, shown: str, environment: dict[str, str], included: list[str]) -> None:
        self.directory = directory
        self.shown = shown
        self.environment = environment
        self.included = included


class Loader:
    """Makes one document of a project's files."""

    def __init__(self, sources: Sources, settings: LoadSettings, warn: Callable[[str], None]) -> None:
        self._sources = sources
        self._settings = settings
        self._warn = warn

    def load(self, files: list[str], directory: str, project: str, environment: dict[str, str]) -> dict[str, Any]:
        """The document of a project; its paths are relative to `directory`. Raises ComposeError."""
        document = self._files(files, _Scope(directory, directory, environment, []))
        if not document:
            raise ComposeError("empty compose file")
        if self._settings.normalize:
            # What is printed with its variables left in gets none of their values either.
            normalize(document, project, environment.get if self._settings.interpolate else _nothing)
        return document

    def _files(self, files: list[str], scope: _Scope) -> dict[str, Any]:
        document: dict[str, Any] = {}
        for file in files:
            for one in self._sources.documents(file):
                if one.value is None:
                    continue
                values = self._interpolated(one.value, scope, one.file)
                self._extend_services(values, file, one.marked, scope, [])
                _drop(document, one.marked)
                self._include(values, file, scope)
                document = self._merged(document, values, file)
        defaults.set_defaults(document)
        defaults.check(document)
        if self._settings.resolve_paths:
            resolve_paths(document, scope.shown)
        if self._settings.interpolate:
            _add_variables(document, scope.environment)
        return document

    def _interpolated(self, value: Any, scope: _Scope, file: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ComposeError("top-level object must be a mapping", (), FilePosition(file, 1, 1))
        if not self._settings.interpolate:
            return value
        applied: dict[str, Any] = Interpolation(scope.environment.get, self._warn).apply(value)
        return applied

    def _merged(self, document: dict[str, Any], values: dict[str, Any], file: str) -> dict[str, Any]:
        merged = enforce_unicity(merge(document, values))
        validate(merged)
        if merged.pop("version", None) is not None:
            self._warn(
                f"{file}: the attribute `version` is obsolete, it will be ignored, please remove it to avoid potential "
                "confusion"
            )
        # A range of ports may show only now that it has one that is there already.
        return enforce_unicity(self._canonical(merged))

    def _canonical(self, document: dict[str, Any]) -> dict[str, Any]:
        return Canonical(is_interpolated=self._settings.interpolate, warn=self._warn).apply(document)

    def _extend_services(
        self, values: dict[str, Any], file: str, marks: _Marks, scope: _Scope, seen: list[tuple[str, str]]
    ) -> None:
        services = values.get("services")
        if services is None:
            return
        if not isinstance(services, dict):
            raise ComposeError("services must be a mapping", ("services",))
        for name in services:
            services[name] = self._extended(name, services, file, marks, scope, seen)

    def _extended(
        self,
        name: str,
        services: dict[str, Any],
        file: str,
        marks: _Marks,
        scope: _Scope,
        seen: list[tuple[str, str]],
    ) -> Any:
        service = services[name]
        path: tuple[str, ...] = ("services", name)
        if service is None:
            return None
        if not isinstance(service, dict):
            raise ComposeError(f"services.{name} must be a mapping", path)
        extends = service.get("extends")
        if extends is None:
            return service
        path = (*path, "extends")
        base_name = extends.get("service") if isinstance(extends, dict) else extends
        if not isinstance(base_name, str):
            raise ComposeError(f"extends.{name}.service is required", path)
        base_file = extends.get("file") if isinstance(extends, dict) else None
        if base_file is not None:
            bases, base_marks, base_scope, base_path = self._base_file(name, base_name, file, str(base_file), scope)
        else:
            bases, base_marks, base_scope, base_path = services, marks, scope, file
            if base_name not in services:
                raise ComposeError(f'cannot extend service "{name}" in {file}: service "{base_name}" not found', path)
        here = (file, name)
        if here in seen:
            raise ComposeError(_circle([*seen[seen.index(here) :], here]), path)
        base = self._extended(base_name, bases, base_path, base_marks, base_scope, [*seen, here])
        if base is None:
            return service
        source = copy.deepcopy(base)
        _drop({"services": {name: source}}, marks)
        merged = merge_service(source, service, name)
        merged.pop("extends", None)
        services[name] = merged
        return merged

    def _base_file(
        self, name: str, base_name: str, file: str, base_file: str, scope: _Scope
    ) -> tuple[dict[str, Any], _Marks, _Scope, str]:
        """The services of a file that one is extended from, with their paths relative to the project's directory."""
        if remote := self._sources.remote(base_file):
            path, directory = remote
        else:
            path = os.path.normpath(os.path.join(scope.directory, os.path.expanduser(base_file)))
            directory = os.path.dirname(path)
        shown = os.path.relpath(directory, scope.directory)
        base_scope = _Scope(directory, shown, scope.environment, scope.included)
        merged: dict[str, Any] = {}
        marks: _Marks = []
        for one in self._sources.documents(path):
            if one.value is not None:
                marks = one.marked
                _drop(merged, marks)
                merged = enforce_unicity(merge(merged, self._interpolated(one.value, scope, one.file)))
        services = merged.get("services")
        where = f'cannot extend service "{name}" in '
        if not isinstance(services, dict):
            reason = "no services section" if services is None else "services must be a mapping"
            raise ComposeError(f"{where}{path}: {reason}")
        if base_name not in services:
            raise ComposeError(
                f'{where}{file}: service "{base_name}" not found in {base_file}', ("services", name, "extends")
            )
        validate({"services": services})
        resolve_paths(self._canonical({"services": services}), shown)
        return services, marks, base_scope, path

    def _include(self, values: dict[str, Any], file: str, scope: _Scope) -> None:
        entries = values.pop("include", None)
        if entries is None:
            return
        if not isinstance(entries, list):
            raise ComposeError(f"`include` must be a list, got {entries}", ("include",))
        for number, entry in enumerate(entries):
            try:
                imported = self._included({"path": entry} if isinstance(entry, str) else entry, file, scope)
            except ComposeError as error:
                if not error.path and error.place is None:
                    error.path = ("include", number)
                raise
            _import(imported, values)

    def _included(self, entry: dict[str, Any], file: str, scope: _Scope) -> dict[str, Any]:
        files: list[str] = []
        for path in _listed(entry.get("path")):
            remote = self._sources.remote(path)
            files.append(remote.path if remote else os.path.normpath(os.path.join(scope.directory, path)))
        if not files:
            raise ComposeError("include: path is required")
        seen = [*scope.included, file]
        if files[0] in seen:
            lines = "\n include ".join([*seen[1:], files[0]])
            raise ComposeError(f"include cycle detected:\n{seen[0]}\n include {lines}")
        directory = os.path.dirname(files[0])
        if entry.get("project_directory"):
            directory = os.path.normpath(os.path.join(scope.directory, entry["project_directory"]))
        environment = self._include_environment(_listed(entry.get("env_file")), directory, scope)
        shown = os.path.relpath(directory, scope.directory) if scope.shown != scope.directory else directory
        return self._files(files, _Scope(directory, shown, environment, seen))

    def _include_environment(self, env_files: list[str], directory: str, scope: _Scope) -> dict[str, str]:
        files = [os.path.join(scope.directory, name) for name in env_files]
        if not files:
            files = [os.path.join(directory, ".env")]
            self._sources.inputs.note(files[0])
            files = files if os.path.isfile(files[0]) else []
        for name in files:
            self._sources.inputs.note(name)
        return dotenv.read_files(files, scope.environment, self._unset) | scope.environment

    def _unset(self, name: str) -> None:
        self._warn(f'The "{name}" variable is not set. Defaulting to a blank string.')


def _nothing(_name: str) -> None:
    return None


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(one) for one in value or ()]


def _circle(loop: list[tuple[str, str]]) -> str:
    lines = ["Circular reference:", f"  {loop[0][1]} in {loop[0][0]}"]
    lines += [f"  extends {name} in {file}" for file, name in loop[1:]]
    return "\n".join(lines)


def _drop(document: dict[str, Any], marks: _Marks) -> None:
    """Take out what a later file resets or overrides."""
    for path in marks:
        value: Any = document
        for part in path[:-1]:
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, dict):
            value.pop(path[-1], None)


def _import(imported: dict[str, Any], values: dict[str, Any]) -> None:
    for kind in _RESOURCES:
        target = values.get(kind) or {}
        for name, resource in (imported.get(kind) or {}).items():
            if name in target and target[name] != resource:
                raise ComposeError(f"{kind}.{name} conflicts with imported resource", (kind, name))
            target[name] = resource
        if target:
            values[kind] = target


def _add_variables(document: dict[str, Any], environment: dict[str, str]) -> None:
    """Variables without a value get the environment's, here that of the include; so do configs."""
    for service in (document.get("services") or {}).values():
        if isinstance(service, dict) and isinstance(service.get("environment"), list):
            service["environment"] = resolved(service["environment"], environment.get, keep_unset=True)
    for config in (document.get("configs") or {}).values():
        name = (config or {}).get("environment")
        if isinstance(name, str) and name in environment:
            config["content"] = environment[name]
