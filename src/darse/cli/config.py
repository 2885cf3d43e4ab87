"""Which engine to talk to, and the user's settings: flags, environment, contexts, `~/.docker/config.json`.

`-H`, then `DARSE_HOST`, then the context chosen by `-c` or `DOCKER_CONTEXT`, then `DOCKER_HOST`, then the current
context of config.json, then the default socket.
"""

from __future__ import annotations

import os
from typing import Any

from darse.cli.errors import CliError

DEFAULT_HOST = "unix:///run/darse/darse.sock"


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
        """config.json; empty when there is none. Raises CliError when it is no JSON."""
        if self._file is None:
            self._file = read_json(os.path.join(self.directory, "config.json"))
        return self._file

    def replace_file(self, document: dict[str, Any]) -> None:
        """Take note of what has just been written to config.json."""
        self._file = document

    def endpoint(self) -> Endpoint:
        """Where the engine is. Raises CliError for a context that does not exist."""
        environment = os.environ
        host = self.host or environment.get("DARSE_HOST", "")
        if not host and (self.context or environment.get("DOCKER_CONTEXT")):
            return self._of_context(self.context or environment["DOCKER_CONTEXT"])
        host = host or environment.get("DOCKER_HOST", "")
        if not host:
            current = self.file.get("currentContext", "") if os.path.exists(self.directory) else ""
            if current and current != "default":
                return self._of_context(current)
            return Endpoint(DEFAULT_HOST, is_default=True)
        verify = self.tls_verify if self.tls_verify is not None else bool(environment.get("DOCKER_TLS_VERIFY"))
        tls = verify or bool(self.tls) or bool(environment.get("DOCKER_TLS"))
        certificates = environment.get("DOCKER_CERT_PATH") or self.directory
        return Endpoint(
            host,
            tls=tls,
            verify=verify,
            ca=self.tls_ca or os.path.join(certificates, "ca.pem"),
            certificate=self.tls_certificate or os.path.join(certificates, "cert.pem"),
            key=self.tls_key or os.path.join(certificates, "key.pem"),
        )

    def _of_context(self, name: str) -> Endpoint:
        if name == "default":
            return Endpoint(os.environ.get("DOCKER_HOST", DEFAULT_HOST), is_default="DOCKER_HOST" not in os.environ)
        import hashlib

        digest = hashlib.sha256(name.encode()).hexdigest()
        meta = read_json(os.path.join(self.directory, "contexts", "meta", digest, "meta.json"))
        if not meta:
            raise CliError(
                f'Failed to initialize: unable to resolve docker endpoint: context "{name}": context not found'
            )
        endpoint = (meta.get("Endpoints") or {}).get("docker") or {}
        certificates = os.path.join(self.directory, "contexts", "tls", digest, "docker")
        host = endpoint.get("Host", DEFAULT_HOST)
        return Endpoint(
            host,
            tls=os.path.isdir(certificates),
            verify=not endpoint.get("SkipTLSVerify", False),
            ca=os.path.join(certificates, "ca.pem"),
            certificate=os.path.join(certificates, "cert.pem"),
            key=os.path.join(certificates, "key.pem"),
        )


class Endpoint:
    """An engine's address and, for tcp, its transport security."""

    def __init__(
        self,
        host: str,
        *,
        is_default: bool = False,
        tls: bool = False,
        verify: bool = False,
        ca: str = "",
        certificate: str = "",
        key: str = "",
    ) -> None:
        self.host = host
        self.is_default = is_default
        self.tls = tls
        self.verify = verify
        self.ca = ca
        self.certificate = certificate
        self.key = key


def read_json(path: str) -> dict[str, Any]:
    """A JSON object of a file; empty when there is none. Raises CliError when it is no JSON."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError:
        return {}
    import json

    try:
        document = json.loads(text)
    except ValueError as error:
        raise CliError(f"cannot read {path}: {error}") from error
    return document if isinstance(document, dict) else {}
