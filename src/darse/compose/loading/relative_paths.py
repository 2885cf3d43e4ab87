"""Make the paths of files and directories absolute: relative ones begin at the project's directory."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from darse.compose.errors import ComposeError
from darse.compose.paths import PathTable, transform

_Path = tuple["str | int", ...]
_REMOTE = ("https://", "http://", "git://", "ssh://", "github.com/", "git@")


def resolve_paths(document: dict[str, Any], directory: str) -> None:
    """Change the paths of a canonical document."""
    _Resolver(directory).apply(document)


class _Resolver:
    """The functions of each path's kind, for one directory."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._table: PathTable[Callable[[Any, _Path], Any]] = PathTable(
            {
                "services.*.build.context": self._context,
                "services.*.build.additional_contexts.*": self._context,
                "services.*.build.ssh.*": self._absolute,
                "services.*.env_file.*.path": self._absolute,
                "services.*.label_file.*": self._absolute,
                "services.*.extends.file": self._absolute,
                "services.*.develop.watch.*.path": self._watched,
                "services.*.volumes.*": self._mount,
                "configs.*.file": self._absolute,
                "secrets.*.file": self._absolute,
                "volumes.*": self._volume,
            }
        )

    def apply(self, document: dict[str, Any]) -> None:
        """Change a document's paths."""
        transform(document, self._table)

    def _absolute(self, value: Any, _path: _Path) -> Any:
        if not isinstance(value, str) or not value:
            return value
        if value.startswith("~"):
            value = os.path.expanduser("~") + "/" + value[1:]
        is_windows = value[1:3] in (":\\", ":/") or value.startswith("\\\\")
        return value if is_windows else os.path.normpath(os.path.join(self._directory, value))

    def _context(self, value: Any, path: _Path) -> Any:
        if not isinstance(value, str) or "://" in value or value.startswith(("service:", *_REMOTE)):
            return value
        return self._absolute(value, path)

    def _watched(self, value: Any, path: _Path) -> Any:
        absolute = self._absolute(value, path)
        return os.path.realpath(absolute) if isinstance(absolute, str) and absolute.startswith("/") else absolute

    def _mount(self, value: Any, path: _Path) -> Any:
        if isinstance(value, dict) and value.get("type") == "bind":
            if "source" not in value:
                raise ComposeError('invalid mount config for type "bind": field Source must not be empty', path)
            value["source"] = self._absolute(value["source"], path)
        return value

    def _volume(self, value: Any, path: _Path) -> Any:
        if isinstance(value, dict) and value.get("driver") == "local":
            options = value.get("driver_opts") or {}
            if options.get("o") == "bind" and "device" in options:
                options["device"] = self._absolute(options["device"], path)
        return value
