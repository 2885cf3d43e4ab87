"""Writing to a repository: blobs in one stream, mounts from other repositories, manifests (OCI distribution, push)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from urllib.parse import quote, urlencode

from darse.distribution.errors import InvalidContent, RegistryError
from darse.distribution.manifests import Document
from darse.distribution.referrers import fallback_tag, subject_of, with_referrer
from darse.distribution.repository import Repository
from darse.distribution.session import RegistrySession


class Uploads:
    """The writing side of a repository."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._session: RegistrySession = repository.session
        self._scopes = (f"repository:{repository.path}:pull,push",)

    def mount(self, digest: str, source: str) -> bool:
        """Take a blob over from another repository of the registry; False when that is not possible."""
        query = urlencode({"mount": digest, "from": source})
        with self._session.request(
            "POST",
            f"{self._repository.root}/blobs/uploads/?{query}",
            scopes=(*self._scopes, f"repository:{source}:pull"),
            accepted=(201, 202),
        ) as response:
            if response.status == 201:
                return True
            location = response.headers.get("Location", "")
        if location:
            self._abandon(self._session.follow(response.url, location))
        return False

    def stream(self, pieces: Iterator[bytes], digest: Callable[[], str]) -> None:
        """Upload a blob whose size and digest are known at its end only. Raises RegistryError."""
        location = self._begin()
        try:
            headers = {"Content-Type": "application/octet-stream"}
            with self._session.request(
                "PATCH", location, scopes=self._scopes, headers=headers, body=pieces, accepted=(202, 204)
            ) as response:
                following = response.headers.get("Location", "")
            if following:
                location = self._session.follow(response.url, following)
            self._finish(location, digest())
        except BaseException:
            self._abandon(location)
            raise

    def put(self, content: bytes, digest: str) -> None:
        """Upload a document. Raises RegistryError."""
        self._session.again(lambda: self._finish(self._begin(), digest, content))

    def put_manifest(self, reference: str, document: Document) -> None:
        """Store a manifest or index under a tag or its digest, to be found by its subject too. Raises RegistryError."""
        registry_lists_it = self._session.again(lambda: self._put_manifest(reference, document))
        subject = subject_of(document)
        if subject is None or registry_lists_it:
            return
        index = with_referrer(self._repository, subject, document)
        if index is not None:
            self._session.again(lambda: self._put_manifest(fallback_tag(subject.digest), index))

    def _put_manifest(self, reference: str, document: Document) -> bool:
        """Store it; return whether the registry keeps account of what it refers to."""
        with self._session.request(
            "PUT",
            f"{self._repository.root}/manifests/{quote(reference, safe=':')}",
            scopes=self._scopes,
            headers={"Content-Type": document.media_type},
            body=document.content,
            accepted=(201, 202, 200),
        ) as response:
            return "OCI-Subject" in response.headers

    def _begin(self) -> str:
        with self._session.request(
            "POST", f"{self._repository.root}/blobs/uploads/", scopes=self._scopes, accepted=(202,)
        ) as response:
            location = response.headers.get("Location", "")
        if not location:
            raise InvalidContent("the registry takes an upload, and does not say where")
        return self._session.follow(response.url, location)

    def _finish(self, location: str, digest: str, content: bytes = b"") -> None:
        url = f"{location}{'&' if '?' in location else '?'}{urlencode({'digest': digest})}"
        with self._session.request(
            "PUT",
            url,
            scopes=self._scopes,
            headers={"Content-Type": "application/octet-stream"},
            body=content,
            accepted=(201, 204),
        ):
            pass

    def _abandon(self, location: str) -> None:
        """Tell the registry that no more will come; it would find out itself, later."""
        with (
            contextlib.suppress(RegistryError),
            self._session.request("DELETE", location, scopes=self._scopes, accepted=(200, 202, 204)),
        ):
            pass
