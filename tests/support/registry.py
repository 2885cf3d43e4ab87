"""Debian's `docker-registry`, the real server, on a port of its own: with users, TLS, as a mirror or read-only.

with Registry() as registry:                              # http on 127.0.0.1, which engines trust without TLS
    engine.docker("push", f"{registry.address}/team/app:1")
    assert registry.tags("team/app") == ["1"]
    assert registry.requests()[-1].startswith("PUT /v2/team/app/manifests/")

Its storage is a directory, so one that was stopped can be started again, and many can read the same one.
"""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.support.engine import REPOSITORY
from tests.support.waiting import wait_until

# The installed one, or the one that the set-up has fetched.
PROGRAM = shutil.which("docker-registry", path=f"{os.environ['PATH']}:{REPOSITORY}/.venv/libexec")
needs_registry = pytest.mark.skipif(PROGRAM is None, reason="docker-registry is not installed (Debian package)")
_STOP_SECONDS = 10
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_LISTENING = re.compile(r"listening on [\d.]+:(\d+)")
_REQUEST = re.compile(r'^\S+ - \S+ \[[^]]*\] "(.*?) HTTP/[\d.]+" (\d+)', re.MULTILINE)
_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


@dataclass(frozen=True)
class Certificates:
    """A private authority, and a server's certificate of it: paths of PEM files."""

    authority: Path
    server: Path
    server_key: Path

    @classmethod
    def make(cls, directory: Path, *hosts: str) -> Certificates:
        """Make them in a directory, for localhost, 127.0.0.1 and other hosts. Raises CalledProcessError."""
        _openssl(
            *("req", "-x509", *_KEY, "-keyout", "ca-key.pem", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2"),
            cwd=directory,
        )
        names = ["DNS:localhost", "IP:127.0.0.1", *(f"{'IP' if _is_address(one) else 'DNS'}:{one}" for one in hosts)]
        (directory / "names").write_text(f"subjectAltName={','.join(names)}\n")
        made = cls(directory / "ca.pem", directory / "server.pem", directory / "server-key.pem")
        made._sign("server", "-extfile", "names")
        return made

    def client(self, name: str) -> tuple[Path, Path]:
        """A client's certificate of the same authority, and its key. Raises CalledProcessError."""
        self._sign(name)
        return self.authority.with_name(f"{name}.pem"), self.authority.with_name(f"{name}-key.pem")

    def _sign(self, name: str, *options: str) -> None:
        directory = self.authority.parent
        request = ("req", *_KEY, "-keyout", f"{name}-key.pem", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        _openssl(*request, cwd=directory)
        _openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", "-CA", "ca.pem", "-CAkey", "ca-key.pem"),
            *("-CAcreateserial", "-days", "2", *options),
            cwd=directory,
        )


class Registry:
    """One registry. `users` maps names to passwords, and asks everybody for one of them (basic authentication)."""

    def __init__(
        self,
        storage: Path | None = None,
        *,
        users: dict[str, str] | None = None,
        certificates: Certificates | None = None,
        read_only: bool = False,
        mirror_of: str | None = None,
        namespace: Iterable[str] = (),
        host: str = "127.0.0.1",
        asks_clients: bool = False,
        foreign_layers: bool = False,
    ) -> None:
        """Choose how it is to be; nothing runs yet.

        storage: where its content is kept; a directory of its own, gone with it, unless told.
        read_only: it refuses to be pushed to; several may serve the same storage then.
        mirror_of: the URL of a registry whose content it fetches when it is asked for it.
        namespace: a command that it is started with, to run it in a network namespace, say.
        host: the address that it listens on; of others than loopback, engines ask for TLS.
        asks_clients: only clients with a certificate of the authority of `certificates` are answered.
        foreign_layers: manifests may have layers that are elsewhere.
        """
        self._root = Path(tempfile.mkdtemp(prefix="registry-", dir=os.environ.get("DARSE_TEST_ROOT", "/tmp")))
        self.storage = storage or self._root / "storage"
        self.certificates = certificates
        self.log_path = self._root / "log"
        self._users = users or {}
        self._namespace = tuple(namespace)
        self._process: subprocess.Popen[bytes] | None = None
        self._host, self._port = host, 0
        self._settings: dict[str, Any] = {
            "version": 0.1,
            "log": {"accesslog": {"disabled": False}, "level": "info"},
            "storage": {
                "filesystem": {"rootdirectory": str(self.storage)},
                "delete": {"enabled": True},
                "maintenance": {
                    "uploadpurging": {"enabled": False},
                    "readonly": {"enabled": read_only},
                },
            },
            "http": {"relativeurls": True},
        }
        if certificates is not None:
            self._settings["http"]["tls"] = {
                "certificate": str(certificates.server),
                "key": str(certificates.server_key),
            }
            if asks_clients:
                self._settings["http"]["tls"]["clientcas"] = [str(certificates.authority)]
        if foreign_layers:
            self._settings["validation"] = {"manifests": {"urls": {"allow": [".*"]}}}
        if mirror_of is not None:
            self._settings["proxy"] = {"remoteurl": mirror_of}

    @property
    def address(self) -> str:
        """HOST:PORT, as in the name of an image."""
        return f"{self._host}:{self._port}"

    @property
    def url(self) -> str:
        """The same with its scheme, as mirrors are told to engines."""
        return f"{'https' if self.certificates else 'http'}://{self.address}"

    def start(self) -> None:
        """Start it, on the same port as before if it ran already; it listens when this returns.

        Raises AssertionError when it does not.
        """
        assert PROGRAM is not None, "docker-registry is not installed (Debian package)"
        self._settings["http"]["addr"] = f"{self._host}:{self._port}"
        if self._users:
            self._settings["auth"] = {"htpasswd": {"realm": "tests", "path": str(self._password_file())}}
        settings = self._root / "config.yml"
        settings.write_text(json.dumps(self._settings))  # JSON is YAML
        began = self.log_path.stat().st_size if self.log_path.exists() else 0
        with open(self.log_path, "ab") as log:
            self._process = subprocess.Popen(
                [*self._namespace, PROGRAM, "serve", str(settings)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        ended = self._process.poll
        wait_until(lambda: _LISTENING.search(self.log(began)) or ended() is not None, what="docker-registry")
        listening = _LISTENING.search(self.log(began))
        if listening is None:
            self.stop()
            raise AssertionError(f"docker-registry does not listen: {self.log(began)}")
        self._port = int(listening[1])

    def stop(self) -> None:
        """End it; its content stays."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def close(self) -> None:
        """End it and remove what is its own."""
        self.stop()
        shutil.rmtree(self._root, ignore_errors=True)

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def log(self, offset: int = 0) -> str:
        """What it has logged, from a position in the log on."""
        return self.log_path.read_bytes()[offset:].decode(errors="replace")

    def requests(self) -> list[str]:
        """What it was asked and how it answered, in order: `GET /v2/ 200`."""
        return [f"{request} {status}" for request, status in _REQUEST.findall(self.log())]

    def get(self, path: str, *, user: str | None = None, method: str = "GET") -> Any:
        """What it answers to a request below /v2/, parsed. Raises HTTPError."""
        request = urllib.request.Request(f"{self.url}/v2/{path}", method=method)
        request.add_header("Accept", ", ".join(_MANIFESTS))
        user = user or next(iter(self._users), None)
        if user is not None:
            secret = base64.b64encode(f"{user}:{self._users[user]}".encode()).decode()
            request.add_header("Authorization", f"Basic {secret}")
        trust = ssl.create_default_context(cafile=str(self.certificates.authority)) if self.certificates else None
        handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)]
        with urllib.request.build_opener(*handlers).open(request) as answer:
            return json.loads(answer.read() or b"null")

    def tags(self, repository: str) -> list[str]:
        """The tags of a repository, sorted; none when it is not there."""
        with contextlib.suppress(urllib.error.HTTPError):
            return sorted(self.get(f"{repository}/tags/list")["tags"] or [])
        return []

    def repositories(self) -> list[str]:
        """The repositories, sorted."""
        return sorted(self.get("_catalog?n=1000")["repositories"])

    def _password_file(self) -> Path:
        path = self._root / "htpasswd"
        path.write_text("")
        for name, password in self._users.items():
            # 5: the least work that bcrypt allows.
            command = ["htpasswd", "-i", "-B", "-C", "5", str(path), name]
            subprocess.run(command, input=password.encode(), check=True, capture_output=True)
        return path


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _openssl(*arguments: str, cwd: Path) -> None:
    subprocess.run(["openssl", *arguments], cwd=cwd, check=True, capture_output=True)
