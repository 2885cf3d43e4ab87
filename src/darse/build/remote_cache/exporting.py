"""Results of a build for other builds: in a registry, in its image, or in a directory of the client.

Sources are not exported: whoever builds has them. Neither are secrets, nor cache mounts: they are in no result.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from darse.archive.headers import END, entry_headers, member
from darse.archive.tar import BLOCK, REGULAR
from darse.build.exporter.layers import LayerExport
from darse.build.exporter.options import ExportOptions
from darse.build.remote_cache.cache_options import CacheOptions
from darse.build.remote_cache.formats import CONFIG_TYPE, CacheDocument, CacheLayer, write_config, write_inline
from darse.build.solver import Solution
from darse.core import executors
from darse.core.errors import NotFound
from darse.image_spec.manifests import Descriptor, encode_index, encode_manifest
from darse.image_spec.media_types import OCI_MANIFEST
from darse.images.gc.collector import Lease
from darse.images.layers.compression import Compression
from darse.images.model import Layer
from darse.images.transfer.service import RegistryService

if TYPE_CHECKING:
    from darse.build.executor import EngineExecutor
    from darse.distribution import Credentials

_PIECE = 1 << 20
# Caches that no client has fetched; the oldest goes.
_MOST_WAITING = 4


class ExportedCache(msgspec.Struct, frozen=True):
    """The results of one build, as layers of the store."""

    results: Mapping[str, Sequence[Layer]]
    """By key."""
    links: Mapping[str, str]

    def within(self, stack: Sequence[Layer]) -> ExportedCache:
        """Those results that are the lowest layers of a tree, one or more."""
        chains = {layer.chain_id for layer in stack}
        results = {key: layers for key, layers in self.results.items() if layers[-1].chain_id in chains}
        return ExportedCache(results, {key: target for key, target in self.links.items() if target in results})

    @property
    def layers(self) -> list[Layer]:
        """Every layer once, each after those below it."""
        return list({layer.chain_id: layer for layers in self.results.values() for layer in layers}.values())

    def document(self, blobs: Mapping[str, Descriptor]) -> CacheDocument:
        """What other builds read. blobs: the archives by chain ID."""
        results = {
            key: tuple(CacheLayer(blobs[layer.chain_id], layer.diff_id) for layer in layers)
            for key, layers in self.results.items()
        }
        return CacheDocument(results, self.links)

    def inline(self, diff_ids: Sequence[str]) -> str:
        """The member of the configuration of an image with these layers."""
        return write_inline(self.document({layer.chain_id: layer.blob for layer in self.layers}), diff_ids)


async def results_of(executor: EngineExecutor, lease: Lease, solutions: Sequence[Solution]) -> ExportedCache:
    """The results of graphs that were solved, as far as they are here. Raises as `LayerExport.export`."""
    export = LayerExport(executor, lease, ExportOptions())
    results: dict[str, Sequence[Layer]] = {}
    links: dict[str, str] = {}
    for solution in solutions:
        links.update(solution.links)
        for key, snapshot in solution.results.items():
            # It may have been pruned since.
            with contextlib.suppress(NotFound):
                stack = executor.snapshotter.layers_of(snapshot.id)
                if stack and key not in results:
                    results[key] = await export.export(stack, ())
    return ExportedCache(results, {key: target for key, target in links.items() if target in results})


class CacheExports:
    """Sends results away, and keeps those for clients until they are fetched."""

    def __init__(self, executor: EngineExecutor, registries: RegistryService, root: Path) -> None:
        """root: where layouts wait for clients; a directory that is emptied when an engine starts."""
        self._executor = executor
        self._registries = registries
        self._root = root
        self._waiting: dict[str, Path] = {}

    async def to_registry(
        self, cache: ExportedCache, place: CacheOptions, credentials: Mapping[str, Credentials]
    ) -> None:
        """Push a cache. Call it with a lease on its layers. Raises EngineError."""
        reference = place.reference
        assert reference is not None
        layers = cache.layers

        def config_of(blobs: Sequence[Descriptor]) -> tuple[bytes, str, list[Descriptor]]:
            named = {layer.chain_id: blob for layer, blob in zip(layers, blobs, strict=True)}
            content, listed = write_config(cache.document(named))
            return content, CONFIG_TYPE, listed

        await self._registries.artifacts.push(reference, credentials.get(reference.domain), layers, config_of)

    async def to_client(self, cache: ExportedCache) -> str:
        """Write the image layout of a cache; return the token by which the client fetches it, once.

        Call it with a lease on the layers. Raises EngineError.
        """
        while len(self._waiting) >= _MOST_WAITING:
            await self._discard(self._waiting.pop(next(iter(self._waiting))))
        token = secrets.token_hex(16)
        directory = self._root / f"cache-{token}"
        await executors.storage.run_to_end(directory.mkdir, 0o700, parents=True)
        try:
            await self._write(cache, directory)
        except BaseException:
            await self._discard(directory)
            raise
        self._waiting[token] = directory
        return token

    async def _discard(self, directory: Path) -> None:
        await self._executor.images.trash.discard(directory)

    async def _write(self, cache: ExportedCache, directory: Path) -> None:
        blobs: dict[str, Descriptor] = {}
        by_diff_id: dict[str, Descriptor] = {}
        for layer in cache.layers:
            blob = by_diff_id.get(layer.diff_id)
            if blob is None:
                path = directory / secrets.token_hex(8)
                blob = await self._executor.images.compress_layer(layer.chain_id, Compression("gzip"), path)
                await executors.storage.run_to_end(path.rename, directory / blob.digest.removeprefix("sha256:"))
                by_diff_id[layer.diff_id] = blob
            blobs[layer.chain_id] = blob
        content, listed = write_config(cache.document(blobs))
        manifest = encode_manifest(Descriptor.of(content, CONFIG_TYPE), listed)
        for document in (content, manifest):
            digest = Descriptor.of(document, "").digest
            await executors.storage.run_to_end((directory / digest.removeprefix("sha256:")).write_bytes, document)
        index = encode_index([Descriptor.of(manifest, OCI_MANIFEST)])
        await executors.storage.run_to_end((directory / "index.json").write_bytes, index)

    def take(self, token: str) -> AsyncIterator[bytes]:
        """The archive of a layout. Raises NotFound, also when it was taken before."""
        return self._archive(self._taken(token))

    def _taken(self, token: str) -> Path:
        directory = self._waiting.pop(token, None)
        if directory is None:
            raise NotFound("no cache waits to be fetched with this token")
        return directory

    async def _archive(self, directory: Path) -> AsyncIterator[bytes]:
        try:
            async for piece in _archived(directory):
                yield piece
        finally:
            await self._discard(directory)

    @contextlib.asynccontextmanager
    async def files(self, token: str) -> AsyncIterator[Path]:
        """The directory of a layout, for the block: `index.json`, and blobs by the hexadecimal part of their digests.

        Raises NotFound, also when it was taken before.
        """
        directory = self._taken(token)
        try:
            yield directory
        finally:
            await self._discard(directory)


async def _archived(directory: Path) -> AsyncIterator[bytes]:
    yield member(b"oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    for path in sorted(await executors.storage.run(lambda: list(directory.iterdir()))):
        name = path.name if path.name == "index.json" else f"blobs/sha256/{path.name}"
        with open(path, "rb") as file:
            size = await executors.storage.run(lambda: path.stat().st_size)  # noqa: B023 - called at once
            yield entry_headers(name.encode(), REGULAR, mode=0o644, size=size)
            while piece := await executors.storage.run(file.read, _PIECE):
                yield piece
            yield bytes(-size % BLOCK)
    yield END
