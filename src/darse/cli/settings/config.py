"""Which engine to talk to, and the user's settings: flags, environment, contexts, `~/.docker/config.json`.

`-H` or the context of `-c`, then `DARSE_HOST`, then `DOCKER_HOST`, then the context of `DOCKER_CONTEXT` or the current
one of config.json, then the default socket: docker's order, with a variable of our own before its.
"""

from __future__ import annotations

import os
import sys

from darse.cli.errors import CliError
from darse.client import DEFAULT_HOST, EngineEndpoint
from darse.client.stdlib import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    T = TypeVar("T", str, dict[str, Any], list[Any])


DEFAULT_CONTEXT = "default"


class Settings:
    """The global flags, and what they and the environment come down to."""

    def __init__(self) -> None:
        self.host = ""
        self.context = ""
        self.directory = os.environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")
        self.debug = False
        self.tls: bool | None = None
        self.tls_verify: bool | None = None
        self.tls_ca = self.tls_certificate = self.tls_key = ""
        self._file: dict[str, Any] | None = None

    @property
    def file(self) -> dict[str, Any]:
        """config.json; empty when there is none. One that cannot be read is a warning, as docker's client has it."""
        if self._file is None:
            try:
                self._file = read_json(os.path.join(self.directory, "config.json"))
            except CliError as error:
                sys.stderr.write(f"WARNING: Error loading config file: {error}\n")
                self._file = {}
        return self._file

    def member(self, name: str, kind: type[T]) -> T:
        """A member of config.json; empty when it is not there, or of another type."""
        value = self.file.get(name)
        return value if isinstance(value, kind) else kind()

    def replace_file(self, document: dict[str, Any]) -> None:
        """Take note of what has just been written to config.json."""
        self._file = document

    def context_name(self) -> str:
        """The context in use. Raises CliError when flags contradict each other."""
        if self.context and self.host:
            raise CliError("conflicting options: cannot specify both --host and --context")
        if self.context:
            return self.context
        if self.host or self.host_variable():
            return DEFAULT_CONTEXT
        chosen = os.environ.get("DOCKER_CONTEXT", "")
        if not chosen and os.path.exists(self.directory):
            chosen = self.file.get("currentContext", "")
        return chosen or DEFAULT_CONTEXT

    @staticmethod
    def host_variable() -> str:
        """The variable of the environment that names an engine; empty when none does."""
        return next((name for name in ("DARSE_HOST", "DOCKER_HOST") if os.environ.get(name)), "")

    def endpoint(self) -> EngineEndpoint:
        """Where the engine is. Raises CliError for a context that does not exist."""
        name = self.context_name()
        return self.default_endpoint() if name == DEFAULT_CONTEXT else self._of_context(name)

    def default_endpoint(self) -> EngineEndpoint:
        """Where the engine is by flags and environment alone: the context `default`."""
        environment = os.environ
        host = self.host or environment.get(self.host_variable(), "")
        if host in ("", "unix://", DEFAULT_HOST):
            return EngineEndpoint(DEFAULT_HOST, is_default=True, start=_start)
        verify = self.tls_verify if self.tls_verify is not None else bool(environment.get("DOCKER_TLS_VERIFY"))
        tls = verify or bool(self.tls) or bool(environment.get("DOCKER_TLS"))
        certificates = environment.get("DOCKER_CERT_PATH") or self.directory
        return EngineEndpoint(
            host,
            tls=tls,
            verify=verify,
            ca=self.tls_ca or os.path.join(certificates, "ca.pem"),
            certificate=self.tls_certificate or os.path.join(certificates, "cert.pem"),
            key=self.tls_key or os.path.join(certificates, "key.pem"),
        )

    def _of_context(self, name: str) -> EngineEndpoint:
        directory, certificates = context_directories(self.directory, name)
        path = os.path.join(directory, "meta.json")
        meta = read_json(path)
        if not meta:
            raise CliError(
                f'Failed to initialize: unable to resolve docker endpoint: context "{name}": context not found: '
                f"open {path}: no such file or directory"
            )
        endpoint = (meta.get("Endpoints") or {}).get("docker") or {}
        certificates = os.path.join(certificates, "docker")
        host = endpoint.get("Host", DEFAULT_HOST)
        return EngineEndpoint(
            host,
            is_default=host == DEFAULT_HOST,
            start=_start if host == DEFAULT_HOST else None,
            tls=os.path.isdir(certificates) or bool(endpoint.get("SkipTLSVerify")),
            verify=not endpoint.get("SkipTLSVerify", False),
            ca=os.path.join(certificates, "ca.pem"),
            certificate=os.path.join(certificates, "cert.pem"),
            key=os.path.join(certificates, "key.pem"),
        )


def context_directories(directory: str, name: str) -> tuple[str, str]:
    """Where a context's meta.json is, and where its certificates are."""
    import hashlib

    digest = hashlib.sha256(name.encode()).hexdigest()
    root = os.path.join(directory, "contexts")
    return os.path.join(root, "meta", digest), os.path.join(root, "tls", digest)


def _start(path: str) -> None:
    """Start an engine on the default socket."""
    from darse.cli.engine.start_engine import start_engine

    start_engine(path)


def read_json(path: str) -> dict[str, Any]:
    """A JSON object of a file; empty when there is none. Raises CliError when it is something else."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise CliError(f"{path}: byte {error.start} is no UTF-8: mend it, or move it away") from error
    except OSError:
        return {}
    if not text.strip():
        return {}  # as docker reads an empty file
    try:
        document = loads(text)
    except ValueError as error:
        where = f"line {getattr(error, 'lineno', 1)}, column {getattr(error, 'colno', 1)}"
        raise CliError(f"{path}: no JSON at {where}: mend it, or move it away") from error
    if not isinstance(document, dict):
        raise CliError(f"{path}: a JSON object is required: mend it, or move it away")
    return document
