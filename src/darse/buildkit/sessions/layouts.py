"""Images of OCI layouts at a client, as contexts: brought into the engine's store for as long as the build runs.

The client offers each layout as a content store (`darse.buildkit.sessions.content`). What of it is asked for is the
image of a digest, unless that is here: its documents, and of an index the images of the platforms that are built for.
Each blob is verified by whoever loads it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from darse.archive.headers import END, entry_headers, member
from darse.archive.tar import BLOCK, REGULAR
from darse.build.errors import BuildError
from darse.build.image_layouts import LayoutsOfBuild, digest_of_layout
from darse.buildkit.sessions.content import ClientContentStore
from darse.buildkit.sessions.pool import ClientSession, SessionPool
from darse.core.errors import EngineError
from darse.image_spec import platforms
from darse.image_spec.digests import is_digest
from darse.image_spec.manifests import Descriptor, Index, InvalidDocument, Manifest, decode, encode_index
from darse.image_spec.media_types import OCI_INDEX, OCI_MANIFEST

_DOCUMENT_LIMIT = 8 << 20


class SessionLayouts:
    """Those of one build."""

    def __init__(self, session: ClientSession, sessions: SessionPool, layouts: LayoutsOfBuild) -> None:
        self._session = session
        self._sessions = sessions
        self._layouts = layouts
        self._lock = asyncio.Lock()
        self._here: set[tuple[str, str]] = set()

    async def have(self, reference: str, platform: str, *, store: str = "", session: str = "") -> None:
        """Bring the image of `NAME[:TAG]@DIGEST`, with the scheme or without, for a platform. Raises BuildError.

        store: the layout, where its name is not the reference's. session: of a graph that names it.
        """
        digest = digest_of_layout(reference)
        if not is_digest(digest):
            raise BuildError(f"{reference}: the image of a layout needs its digest")
        name = store or reference.removeprefix("oci-layout://").partition("@")[0].partition(":")[0]
        async with self._lock:
            if (digest, platform) in self._here:
                return
            requested = platforms.normalized(platforms.parse(platform))
            if self._layouts.has(digest, requested):
                self._here.add((digest, platform))
                return
            content = ClientContentStore(self._sessions.find(session) or self._session, f"oci:{name}")
            try:
                await self._layouts.receive(_archive(content, digest, requested))
            except (EngineError, InvalidDocument) as error:
                raise BuildError(f"{reference}: {error}") from error
            self._here.add((digest, platform))


async def _archive(store: ClientContentStore, digest: str, platform: platforms.Platform) -> AsyncIterator[bytes]:
    content = await store.read(digest, _DOCUMENT_LIMIT)
    is_index = b'"manifests"' in content
    entry = Descriptor(OCI_INDEX if is_index else OCI_MANIFEST, digest, len(content))
    yield member(b"oci-layout", b'{"imageLayoutVersion":"1.0.0"}') + member(b"index.json", encode_index([entry]))
    yield member(_path(digest), content)
    chosen = _chosen(decode(content, Index).manifests, platform) if is_index else [entry]
    sent = {digest}
    for one in chosen:
        manifest = content if one is entry else await store.read(one.digest, _DOCUMENT_LIMIT)
        if one is not entry:
            yield member(_path(one.digest), manifest)
        listed = decode(manifest, Manifest)
        for blob in (listed.config, *listed.layers):
            if blob.digest not in sent:
                sent.add(blob.digest)
                async for piece in _blob(store, blob):
                    yield piece
    yield END


def _chosen(manifests: Sequence[Descriptor], platform: platforms.Platform) -> list[Descriptor]:
    """The images of an index that a platform can be: the nearest, or all where none says that it is one."""
    images = [one for one in manifests if not one.attests]
    rated = [
        (distance, number)
        for number, one in enumerate(images)
        if (found := platforms.of_descriptor(one.platform)) is not None
        and (distance := platforms.distance(platform, found)) is not None
    ]
    return [images[min(rated)[1]]] if rated else images


async def _blob(store: ClientContentStore, blob: Descriptor) -> AsyncIterator[bytes]:
    yield entry_headers(_path(blob.digest), REGULAR, mode=0o444, size=blob.size)
    left = blob.size
    async for piece in store.pieces(blob.digest, blob.size):
        left -= len(piece)
        yield piece
    if left:
        raise BuildError(f"{blob.digest} of a layout has {blob.size - left} bytes, and not {blob.size}")
    yield bytes(-blob.size % BLOCK)


def _path(digest: str) -> bytes:
    if not is_digest(digest):
        raise BuildError(f"invalid digest {digest[:80]!r} in a layout: must be sha256")
    return f"blobs/sha256/{digest.removeprefix('sha256:')}".encode()
