"""Contexts: engines by name, in docker's own files, so that docker's client, compose and editors see the same ones.

`contexts/meta/SHA256/meta.json` of the config directory has the endpoint, where SHA256 is of the name;
`contexts/tls/SHA256/docker/` its certificates, which only the owner can read. Members that are not known are kept.
"""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

from darse.cli.errors import CliError
from darse.cli.settings.config import DEFAULT_CONTEXT, Settings, context_directories
from darse.cli.settings.config_file import write_atomically

DEFAULT_DESCRIPTION = "Current DOCKER_HOST based configuration"
_RULE = "^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$"
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
# What certificates are called, here and in exported files.
TLS_FILES = ("ca.pem", "cert.pem", "key.pem")


class Context(NamedTuple):
    """A context: its meta.json, and the certificates of its endpoint by their names."""

    name: str
    meta: dict[str, Any]
    tls: dict[str, bytes]

    @property
    def endpoint(self) -> dict[str, Any]:
        """Where the engine is: `Host` and `SkipTLSVerify`."""
        found = (self.meta.get("Endpoints") or {}).get("docker")
        return found if isinstance(found, dict) else {}

    @property
    def description(self) -> str:
        """What the user wrote about it."""
        return str((self.meta.get("Metadata") or {}).get("Description", ""))

    def changed(
        self,
        name: str,
        *,
        description: str | None = None,
        endpoint: dict[str, Any] | None = None,
        tls: dict[str, bytes] | None = None,
    ) -> Context:
        """Itself under another name, or with another description or endpoint; None leaves each as it is."""
        metadata = dict(self.meta.get("Metadata") or {})
        if description is not None:
            metadata["Description"] = description
        endpoints = dict(self.meta.get("Endpoints") or {})
        if endpoint is not None:
            endpoints["docker"] = endpoint
        meta = {**self.meta, "Name": name, "Metadata": metadata, "Endpoints": endpoints}
        return Context(name, meta, self.tls if tls is None else tls)


def check_name(name: str) -> None:
    """Raise CliError for what cannot be a context's name."""
    if not name:
        raise CliError("context name cannot be empty")
    if name == DEFAULT_CONTEXT:
        raise CliError('"default" is a reserved context name')
    if len(name) < 2 or name[0] not in _LETTERS or set(name) - _LETTERS - set("_.+-"):
        raise CliError(f'context name "{name}" is invalid, names are validated against regexp "{_RULE}"')


class Contexts:
    """The contexts of a user. `default` is not stored: it is what the flags and the environment come down to."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._directory = settings.directory

    def names(self) -> list[str]:
        """All of them, by name. Raises CliError for files that cannot be read."""
        root = os.path.join(self._directory, "contexts", "meta")
        try:
            directories = os.listdir(root)
        except FileNotFoundError:
            directories = []
        metas = [os.path.join(root, one, "meta.json") for one in directories]
        found = [str(_read(path).get("Name", "")) for path in metas if os.path.exists(path)]
        return sorted([*filter(None, found), DEFAULT_CONTEXT])

    def exists(self, name: str) -> bool:
        """Whether there is one of that name."""
        return name == DEFAULT_CONTEXT or os.path.exists(self._meta_path(name))

    def get(self, name: str) -> Context:
        """A context. Raises CliError."""
        if name == DEFAULT_CONTEXT:
            endpoint = {"Host": self._settings.default_endpoint().host, "SkipTLSVerify": False}
            return Context(name, {"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}}, {})
        check_name(name)
        path = self._meta_path(name)
        if not os.path.exists(path):
            raise CliError(f'context "{name}": context not found: open {path}: no such file or directory')
        tls = {}
        for file_name in TLS_FILES:
            try:
                with open(os.path.join(self.tls_path(name), "docker", file_name), "rb") as file:
                    tls[file_name] = file.read()
            except FileNotFoundError:
                continue
        return Context(name, _read(path), tls)

    def save(self, context: Context) -> None:
        """Write a context, its certificates before what refers to them. Raises CliError."""
        directory = self.tls_path(context.name)
        path = self._meta_path(context.name)
        try:
            if context.tls:
                os.makedirs(os.path.join(directory, "docker"), mode=0o700, exist_ok=True)
            for name in TLS_FILES:
                target = os.path.join(directory, "docker", name)
                if name in context.tls:
                    write_atomically(target, context.tls[name], 0o600)
                elif os.path.exists(target):
                    os.unlink(target)
            if not context.tls:
                _discard(directory)
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            text = json.dumps(context.meta, separators=(",", ":"), ensure_ascii=False)
            write_atomically(path, text.encode(), 0o644)
        except OSError as error:
            raise CliError(f"cannot write context {context.name}: {error.strerror}: {error.filename}") from error

    def remove(self, name: str) -> None:
        """Forget a context."""
        for directory in (self.meta_path(name), self.tls_path(name)):
            _discard(directory)

    def meta_path(self, name: str) -> str:
        """The directory of a context's meta.json."""
        return context_directories(self._directory, name)[0]

    def tls_path(self, name: str) -> str:
        """The directory of a context's certificates."""
        return context_directories(self._directory, name)[1]

    def _meta_path(self, name: str) -> str:
        return os.path.join(self.meta_path(name), "meta.json")


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except (OSError, ValueError) as error:
        raise CliError(f"failed to read metadata: parsing {path}: {error}") from error
    if not isinstance(document, dict):
        raise CliError(f"failed to read metadata: parsing {path}: it is no JSON object")
    return document


def _discard(directory: str) -> None:
    from pathlib import Path

    from darse.linux.fs.contained import discard_tree

    discard_tree(Path(directory))
