"""A registry in memory, below the client's HTTP: sessions, repositories, uploads and their errors are the real ones.

    registry = FakeRegistry()
    registry.on("PUT", "/manifests/", lambda: Answer(503))      # or raises what a connection raises
    client = registry.client()

What it is asked for is in `requests`, such as `HEAD /v2/team/app/blobs/sha256:…`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from darse.distribution.auth import Credentials
from darse.distribution.hosts import RegistryEndpoint
from darse.distribution.repository import Repository
from darse.distribution.session import RegistrySession
from darse.distribution.timeouts import Cancellation, Limits
from darse.image_spec.digests import digest_of, is_digest
from darse.image_spec.references import Reference

_BASE = "http://registry.test"


class Answer:
    """An answer, see `RegistryResponse`."""

    def __init__(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.status = status
        self.reason = ""
        self.url = ""
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self._content = content

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, limit: int) -> bytes:
        """See `RegistryResponse.read`."""
        return self._content[:limit]

    def close(self) -> None:
        """Nothing is held."""


class FakeRegistry:
    """Manifests and blobs by repository."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits(pause=0)
        self.blobs: dict[str, dict[str, bytes]] = {}
        #: By tag and by digest: the media type and the document.
        self.manifests: dict[str, dict[str, tuple[str, bytes]]] = {}
        self.requests: list[str] = []
        #: What was sent of uploads that have not ended.
        self.uploads: dict[str, bytes] = {}
        self._hooks: list[tuple[str, str, Callable[[], Answer | None]]] = []
        self._numbers = iter(range(1, 1 << 30))

    def on(self, method: str, part: str, hook: Callable[[], Answer | None]) -> None:
        """Have requests of a method, with `part` in their URL, answered so; None: as they would be."""
        self._hooks.append((method, part, hook))

    def client(self, credentials: Credentials | None = None) -> FakeRegistryClient:
        """A client whose every reference is one of this registry; it stands for `Registries`, too."""
        return FakeRegistryClient(self)

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer a request."""
        parts = urlsplit(url)
        self.requests.append(f"{method} {parts.path}{'?' if parts.query else ''}{parts.query}")
        for hooked, part, hook in self._hooks:
            if hooked == method and part in url and (answer := hook()) is not None:
                return answer
        if parts.path == "/v2/":
            return Answer(200)
        for kind, answers in (("/blobs/uploads/", self._upload), ("/blobs/", self._blob), ("/manifests/", self._store)):
            repository, found, rest = parts.path.removeprefix("/v2/").partition(kind)
            if found:
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                return answers(method, repository, rest, query, headers, body)
        return Answer(404)

    def _blob(self, method: str, repository: str, digest: str, *_: Any) -> Answer:
        content = self.blobs.get(repository, {}).get(digest)
        return Answer(404) if content is None else Answer(200, content, Content_Length=str(len(content)))

    def _upload(
        self, method: str, repository: str, upload: str, query: dict[str, str], _: object, body: bytes
    ) -> Answer:
        if method == "POST":
            source = self.blobs.get(query.get("from", ""), {}).get(query.get("mount", ""))
            if source is not None:
                self.blobs.setdefault(repository, {})[query["mount"]] = source
                return Answer(201)
            upload = str(next(self._numbers))
            self.uploads[upload] = b""
            return Answer(202, Location=f"/v2/{repository}/blobs/uploads/{upload}")
        if upload not in self.uploads:
            return Answer(404)
        if method == "PATCH":
            self.uploads[upload] += body
            return Answer(202)
        content = self.uploads.pop(upload) + body
        if method == "PUT":
            if digest_of(content) != query["digest"]:
                return Answer(400, b'{"errors": [{"code": "DIGEST_INVALID", "message": "another digest"}]}')
            self.blobs.setdefault(repository, {})[query["digest"]] = content
        return Answer(201 if method == "PUT" else 204)

    def _store(
        self, method: str, repository: str, reference: str, _: object, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        stored = self.manifests.setdefault(repository, {})
        if method == "PUT":
            digest = digest_of(body)
            if is_digest(reference) and reference != digest:
                return Answer(400, b'{"errors": [{"code": "DIGEST_INVALID", "message": "another digest"}]}')
            stored[digest] = stored[reference] = (headers["Content-Type"], body)
            return Answer(201)
        if reference not in stored:
            return Answer(404)
        media_type, content = stored[reference]
        length, digest = str(len(content)), digest_of(content)
        return Answer(200, content, Content_Type=media_type, Content_Length=length, Docker_Content_Digest=digest)


class FakeTransport:
    """See `Transport`."""

    def __init__(self, registry: FakeRegistry, cancellation: Cancellation) -> None:
        self.limits = registry.limits
        self.cancellation = cancellation
        self._registry = registry

    def apart(self, cancellation: Cancellation) -> FakeTransport:
        """See `Transport.apart`."""
        return FakeTransport(self._registry, cancellation)

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | Iterator[bytes] | None = None
    ) -> Answer:
        """See `Transport.send`."""
        self.cancellation.check()
        answer = self._registry.send(method, url, headers, body if isinstance(body, bytes) else b"".join(body or ()))
        answer.url = url
        return answer

    def close(self) -> None:
        """Nothing is held."""


class FakeRegistryClient:
    """See `RegistryClient`."""

    def __init__(self, registry: FakeRegistry) -> None:
        self.cancellation = Cancellation()
        self._registry = registry

    def repositories(self, reference: Reference, *, writing: bool = False) -> list[Repository]:
        """See `RegistryClient.repositories`."""
        return [self.repository(reference.path)]

    def repository(self, path: str) -> Repository:
        """A repository of the registry."""
        transport: Any = FakeTransport(self._registry, self.cancellation)
        return Repository(RegistrySession(RegistryEndpoint(_BASE), transport, Credentials(), lenient=True), path)
