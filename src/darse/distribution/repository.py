"""A repository of a registry: its manifests, blobs, tags and referrers (OCI distribution specification, pull)."""

from __future__ import annotations

import re
from urllib.parse import quote

import msgspec

from darse.distribution.errors import InvalidContent, NotInRegistry, RegistryError
from darse.distribution.manifests import ACCEPTED, MANIFEST_LIMIT, Document
from darse.distribution.session import RegistrySession
from darse.distribution.timeouts import Cancellation
from darse.distribution.transport import RegistryResponse
from darse.image_spec.digests import digest_of, is_digest
from darse.image_spec.manifests import Descriptor

_PAGE = 1000
_PAGES = 200
_LIST_LIMIT = 4 * 1024 * 1024
_NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?', re.IGNORECASE)
_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)\Z", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")


class Repository:
    """A repository, by its path: `library/busybox`."""

    def __init__(self, session: RegistrySession, path: str) -> None:
        self.session = session
        self.path = path
        self.root = f"/v2/{path}"
        self.pulling = (f"repository:{path}:pull",)

    def apart(self, cancellation: Cancellation) -> Repository:
        """The same for another thread; see `Session.apart`."""
        return Repository(self.session.apart(cancellation), self.path)

    def manifest(self, reference: str, *, limit: int = MANIFEST_LIMIT) -> Document:
        """Fetch the manifest or index of a tag or digest. What comes for a digest has it. Raises RegistryError."""
        return self.session.again(lambda: self._manifest(reference, limit))

    def _manifest(self, reference: str, limit: int) -> Document:
        with self._get_manifest("GET", reference) as response:
            content = response.read(limit)
        document = Document.of(content, _media_type(response))
        if is_digest(reference) and document.digest != reference:
            raise InvalidContent(f"manifest verification failed for digest {reference}: the registry sent another")
        claimed = response.headers.get("Docker-Content-Digest", "")
        if is_digest(claimed) and claimed != document.digest:
            raise InvalidContent(f"the registry calls what it sent {claimed}, and it is {document.digest}")
        return document

    def described(self, descriptor: Descriptor) -> Document:
        """Fetch the manifest that a descriptor names, and hold it to its size. Raises RegistryError."""
        if descriptor.size > MANIFEST_LIMIT:
            raise InvalidContent(f"manifest {descriptor.digest} is said to have {descriptor.size} bytes: too many")
        document = self.manifest(descriptor.digest, limit=descriptor.size)
        if len(document.content) != descriptor.size:
            raise InvalidContent(
                f"manifest {descriptor.digest} has {len(document.content)} bytes, and was said to have "
                f"{descriptor.size}"
            )
        return document

    def head(self, reference: str) -> Descriptor | None:
        """What a tag or digest names, without fetching it; None when there is nothing. Raises RegistryError."""
        try:
            with self.session.again(lambda: self._get_manifest("HEAD", reference)) as response:
                digest = response.headers.get("Docker-Content-Digest", "")
                length = response.headers.get("Content-Length", "")
        except NotInRegistry:
            return None
        if not is_digest(digest) or not length.isdigit():
            return self.manifest(reference).descriptor
        return Descriptor(media_type=_media_type(response), digest=digest, size=int(length[:18]))

    def _get_manifest(self, method: str, reference: str) -> RegistryResponse:
        return self.session.request(
            method,
            f"{self.root}/manifests/{quote(reference, safe=':')}",
            scopes=self.pulling,
            headers={"Accept": ", ".join(ACCEPTED)},
        )

    def small_blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """Fetch a blob that is a document, verified. Raises RegistryError."""
        if descriptor.size > limit:
            raise InvalidContent(f"{descriptor.digest} is said to have {descriptor.size} bytes, and may have {limit}")

        def fetch() -> bytes:
            with self.blob(descriptor.digest) as response:
                return response.read(descriptor.size)

        content = self.session.again(fetch)
        if len(content) != descriptor.size:
            raise InvalidContent(
                f"{descriptor.digest} has {len(content)} bytes, and was said to have {descriptor.size}"
            )
        if digest_of(content) != descriptor.digest:
            raise InvalidContent(f"{descriptor.digest} is not what the registry sent: verification failed")
        return content

    def blob(self, digest: str, offset: int = 0) -> RegistryResponse:
        """Begin to fetch a blob from `offset` on; see `begins_at` for where the answer begins. Raises RegistryError."""
        return self._open(f"{self.root}/blobs/{digest}", offset)

    def elsewhere(self, url: str, offset: int = 0) -> RegistryResponse:
        """Begin to fetch a foreign layer from one of its URLs; nobody's credentials go there. Raises RegistryError."""
        return self._open(self.session.follow(self.session.endpoint.base, url), offset)

    def _open(self, target: str, offset: int) -> RegistryResponse:
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        try:
            return self.session.request("GET", target, scopes=self.pulling, headers=headers, accepted=(200, 206))
        except NotInRegistry as error:
            # It is this blob that is missing, and not the image, where the registry does not say so.
            error.code = error.code or "BLOB_UNKNOWN"
            raise

    def has_blob(self, digest: str) -> Descriptor | None:
        """What the repository says of a blob, or None when it has none. Raises RegistryError."""
        try:
            with self.session.again(
                lambda: self.session.request("HEAD", f"{self.root}/blobs/{digest}", scopes=self.pulling)
            ) as response:
                length = response.headers.get("Content-Length", "")
        except NotInRegistry:
            return None
        return Descriptor(
            media_type=_media_type(response), digest=digest, size=int(length[:18]) if length.isdigit() else -1
        )

    def tags(self) -> list[str]:
        """All tags, in the registry's order. Raises RegistryError."""
        found = self.session.again(
            lambda: paged(self.session, f"{self.root}/tags/list?n={_PAGE}", "tags", self.pulling)
        )
        return [tag for tag in found if _TAG.match(tag)]


def begins_at(response: RegistryResponse, asked: int) -> int:
    """Where in the blob an answer to a request from `asked` on begins. Raises InvalidContent."""
    if response.status == 200:
        return 0
    found = _RANGE.match(response.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != asked:
        raise InvalidContent(f"the registry was asked for bytes from {asked} on, and sent others")
    return asked


def paged(session: RegistrySession, target: str, member: str, scopes: tuple[str, ...]) -> list[str]:
    """Fetch a list of names page by page. Raises RegistryError."""
    found: list[str] = []
    for _ in range(_PAGES):
        with session.request("GET", target, scopes=scopes) as response:
            content = response.read(_LIST_LIMIT)
        try:
            page = msgspec.json.decode(content)
            names = page.get(member) or [] if isinstance(page, dict) else None
        except (msgspec.MsgspecError, RecursionError, ValueError):
            names = None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InvalidContent(f"the registry's list of {member} is malformed")
        found += names
        following = _NEXT.search(response.headers.get("Link", ""))
        if following is None or not names:
            return found
        target = session.follow(response.url, following[1])
    raise InvalidContent(f"the registry's list of {member} does not end")


def _media_type(response: RegistryResponse) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


__all__ = ["RegistryError", "Repository", "begins_at", "paged"]
