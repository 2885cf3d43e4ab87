"""Results that other builds have left elsewhere, for one build: found by their keys, and fetched when they are needed.

A cache is a claim: that this key's result has these layers. Nothing can verify it but to run the step again, so a build
uses only the caches that its client names. What is verified is all the rest: each archive against its digest, what it
unpacks to against its diff ID, positions and chains in the document. A cache that fails any of it is used no more by
this build, which says so and runs its steps.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from darse.archive.pipe_source import PipeSource
from darse.build.errors import BuildError
from darse.build.progress import BuildReport, internal_vertex
from darse.build.remote_cache.cache_options import CacheOptions
from darse.build.remote_cache.formats import (
    CONFIG_TYPE,
    DOCUMENT_LIMIT,
    CacheDocument,
    InvalidCache,
    read_config,
    read_inline,
)
from darse.build.solver.operation_executor import Snapshot
from darse.core.errors import EngineError
from darse.core.locks import KeyedLocks
from darse.image_spec import platforms
from darse.image_spec.digests import chain_ids, is_digest
from darse.image_spec.manifests import Descriptor, Index, InvalidDocument, Manifest, decode
from darse.images.gc.collector import Lease
from darse.images.model import Layer
from darse.images.references import Reference
from darse.images.transfer.service import RegistryService
from darse.linux.fs.openat2 import open_in_root, read_regular

if TYPE_CHECKING:
    from darse.build.executor import EngineExecutor
    from darse.distribution import Credentials


class _Source(Protocol):
    """Where the layers of one document are."""

    document: CacheDocument

    async def fetch(self, layer: Layer) -> None:
        """Bring a layer into the store. Raises EngineError and BuildError."""
        ...


class ClientBlobs(Protocol):
    """A directory of a client, from which blobs are read by their digests when they are needed."""

    async def read(self, digest: str, limit: int) -> bytes:
        """A document. Raises BuildError, also where it is longer than the limit."""
        ...

    def pieces(self, digest: str) -> AsyncIterator[bytes]:
        """Yield a blob. Raises BuildError."""
        ...


class CacheImports:
    """The caches of one build (`darse.build.solver.solver.ResultImports`)."""

    def __init__(
        self, executor: EngineExecutor, registries: RegistryService, lease: Lease, report: BuildReport
    ) -> None:
        """What is fetched is held by the lease until a snapshot has it."""
        self._executor = executor
        self._registries = registries
        self._lease = lease
        self._report = report
        self._sources: dict[str, _Source] = {}
        self._locks = KeyedLocks()
        self.space = ""

    async def add(
        self,
        place: CacheOptions,
        credentials: Mapping[str, Credentials],
        directory: Path | None = None,
        blobs: ClientBlobs | None = None,
    ) -> None:
        """Read the document of a cache; what there is none of, or an invalid one, is reported and passed over.

        directory: the image layout that a client has sent. blobs: that of a client that sends what is asked for.
        """
        name = f"importing cache manifest from {place}"
        self.space += f"{place} {place.context}\n"
        # It is no failure of the build: the vertex has it.
        with contextlib.suppress(BuildError, EngineError, InvalidDocument, OSError):
            async with internal_vertex(self._report, name):
                for number, source in enumerate(await self._read(place, credentials, directory, blobs)):
                    self._sources[f"{name} {number}"] = source

    async def _read(
        self,
        place: CacheOptions,
        credentials: Mapping[str, Credentials],
        directory: Path | None,
        blobs: ClientBlobs | None,
    ) -> Sequence[_Source]:
        if place.reference is not None:
            reference = place.reference
            registry = _Registry(self._registries, reference, credentials.get(reference.domain))
            return [_RegistrySource(registry, one) for one in await registry.documents()]
        if blobs is not None:
            return [_ClientSource(self._executor, blobs, await _document_in(blobs, place.digest))]
        if directory is None:
            raise BuildError(f"the client has sent no cache for {place}")
        layout = _Layout(directory)
        return [_LayoutSource(self._executor, layout, one) for one in layout.documents()]

    def link(self, key: str) -> str | None:
        """See ResultImports."""
        for source in self._sources.values():
            if (found := source.document.links.get(key)) is not None:
                return found
        return None

    async def result(self, key: str) -> Snapshot | None:
        """See ResultImports."""
        for name, source in list(self._sources.items()):
            stack = source.document.results.get(key)
            if stack is None:
                continue
            layers = [
                Layer(one.blob, one.diff_id, chain_id)
                for one, chain_id in zip(stack, chain_ids([one.diff_id for one in stack]), strict=True)
            ]
            with contextlib.suppress(BuildError, EngineError, OSError):
                async with self._dropping(name, layers):
                    for layer in layers:
                        await self._fetch(source, layer)
                    return Snapshot(self._executor.snapshotter.view([layer.chain_id for layer in layers]).id)
        return None

    async def _fetch(self, source: _Source, layer: Layer) -> None:
        self._lease.hold(layer.chain_id)
        async with self._locks.hold(layer.chain_id):
            if not self._executor.images.has_layer(layer.chain_id):
                await source.fetch(layer)

    @contextlib.asynccontextmanager
    async def _dropping(self, name: str, layers: Sequence[Layer]) -> AsyncIterator[None]:
        """Use a cache no more after the block has failed, and say why."""
        missing = [layer for layer in layers if not self._executor.images.has_layer(layer.chain_id)]
        if not missing:
            yield
            return
        try:
            async with internal_vertex(self._report, f"[internal] load cached layers {missing[-1].diff_id[7:19]}"):
                yield
        except (BuildError, EngineError, OSError):
            self._sources.pop(name, None)
            raise


class _Registry:
    """One reference of a registry."""

    def __init__(self, registries: RegistryService, reference: Reference, credentials: Credentials | None) -> None:
        self._artifacts = registries.artifacts
        self._reference = reference
        self._credentials = credentials

    async def documents(self) -> list[CacheDocument]:
        """The documents that there are: that of a cache, or those in images. Raises EngineError and InvalidCache."""
        found = await self._artifacts.manifest(self._reference, self._credentials)
        if isinstance(found, Manifest):
            return await self._of_manifest(found)
        config = next((one for one in found.manifests if one.media_type == CONFIG_TYPE), None)
        if config is not None:
            return [read_config(await self._blob(config), found.manifests)]
        documents: list[CacheDocument] = []
        for one in found.manifests:
            if platforms.of_descriptor(one.platform) is not None and not one.attests:
                documents += await self._of_listed(one)
        return documents

    async def _of_listed(self, descriptor: Descriptor) -> list[CacheDocument]:
        read = await self._artifacts.described(self._reference, self._credentials, descriptor)
        return await self._of_manifest(read) if isinstance(read, Manifest) else []

    async def _of_manifest(self, manifest: Manifest) -> list[CacheDocument]:
        content = await self._blob(manifest.config)
        if manifest.config.media_type == CONFIG_TYPE:
            return [read_config(content, manifest.layers)]
        inline = read_inline(_json(content), manifest.layers)
        if inline is None:
            raise InvalidCache("there is no cache: neither a cache's manifest, nor an image with one inside")
        return [inline]

    async def _blob(self, descriptor: Descriptor) -> bytes:
        return await self._artifacts.blob(self._reference, self._credentials, descriptor, DOCUMENT_LIMIT)

    async def fetch(self, layer: Layer) -> None:
        """Bring a layer into the store."""
        await self._artifacts.fetch_layer(self._reference, self._credentials, layer)


class _RegistrySource:
    def __init__(self, registry: _Registry, document: CacheDocument) -> None:
        self.document = document
        self._registry = registry

    async def fetch(self, layer: Layer) -> None:
        """See _Source."""
        await self._registry.fetch(layer)


class _Layout:
    """An image layout that a client has sent: nothing in it is opened but within it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def documents(self) -> list[CacheDocument]:
        """The cache that its index.json names. Blocks. Raises InvalidCache, InvalidDocument and OSError."""
        index = decode(self._content("index.json"), Index)
        found = []
        for one in index.manifests:
            config, listed = _config_of(self._content(_blob_name(one.digest)))
            if config is not None:
                found.append(read_config(self._content(_blob_name(config.digest)), listed))
        if not found:
            raise InvalidCache("there is no cache in the directory")
        return found

    def _content(self, name: str) -> bytes:
        root = self._opened()
        try:
            content = read_regular(root, name, DOCUMENT_LIMIT)
        finally:
            os.close(root)
        if content is None:
            raise InvalidCache(f"the cache has no {name}")
        return content

    def _opened(self) -> int:
        return os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def archive(self, digest: str) -> int:
        """A descriptor of a blob. Raises OSError."""
        root = self._opened()
        try:
            return open_in_root(root, _blob_name(digest), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        finally:
            os.close(root)


class _LayoutSource:
    def __init__(self, executor: EngineExecutor, layout: _Layout, document: CacheDocument) -> None:
        self.document = document
        self._images = executor.images
        self._layout = layout

    async def fetch(self, layer: Layer) -> None:
        """See _Source. What the archive unpacks to is verified."""
        source = _BlobOfLayout(self._layout, layer.blob.digest)
        await self._images.ensure_layer(layer.chain_id, layer.diff_id, source)


class _BlobOfLayout:
    """An archive, as a source of the layer store."""

    size = -1

    def __init__(self, layout: _Layout, digest: str) -> None:
        self._layout = layout
        self._digest = digest

    def open(self) -> int:
        """See LayerSource."""
        return self._layout.archive(self._digest)


class _ClientSource:
    def __init__(self, executor: EngineExecutor, blobs: ClientBlobs, document: CacheDocument) -> None:
        self.document = document
        self._images = executor.images
        self._blobs = blobs

    async def fetch(self, layer: Layer) -> None:
        """See _Source. What the archive unpacks to is verified."""
        source = PipeSource(-1)
        ensured = self._images.ensure_layer(layer.chain_id, layer.diff_id, source)
        await source.fed_by(self._blobs.pieces(layer.blob.digest), ensured)


async def _document_in(blobs: ClientBlobs, digest: str) -> CacheDocument:
    """The cache of a manifest's digest. Raises BuildError, InvalidCache and InvalidDocument."""
    config, listed = _config_of(await _verified(blobs, digest))
    if config is None:
        raise InvalidCache(f"{digest} is no cache")
    return read_config(await _verified(blobs, config.digest), listed)


async def _verified(blobs: ClientBlobs, digest: str) -> bytes:
    _blob_name(digest)
    content = await blobs.read(digest, DOCUMENT_LIMIT)
    if Descriptor.of(content, "").digest != digest:
        raise InvalidCache(f"{digest} is not what the client has sent")
    return content


def _config_of(content: bytes) -> tuple[Descriptor | None, Sequence[Descriptor]]:
    """The document that the manifest of a cache names, None where it is of something else, and the layers."""
    config: Descriptor | None
    # As Index it has no layers, and as Manifest no manifests: whichever it is.
    if b'"manifests"' in content:
        listed: Sequence[Descriptor] = decode(content, Index).manifests
        config = next((entry for entry in listed if entry.media_type == CONFIG_TYPE), None)
    else:
        manifest = decode(content, Manifest)
        listed, config = manifest.layers, manifest.config
    return (config, listed) if config is not None and config.media_type == CONFIG_TYPE else (None, ())


def _blob_name(digest: str) -> str:
    if not is_digest(digest):
        raise InvalidCache(f"invalid digest {digest[:80]!r}: must be sha256")
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _json(content: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidCache(f"invalid image configuration: {error}") from None
