"""Consistency check of the image store: `darse system check`.

The check hashes every document, reassembles and hashes every layer, and follows every reference: from names to targets,
images, layers and directories, and from containers to their layers. It reports each finding at once.

With repair, it removes what nothing needs, derives again what follows from something else, and unpacks a damaged layer
again from another copy of its archive. Where there is no copy, and the image came from a registry, it removes the
layer, so that the next pull (or `run`) brings it back; the finding says what to pull. It reports everything else and
leaves it as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import msgspec

from darse.archive.pipe_source import PipeSource
from darse.core import executors
from darse.core.errors import EngineError, InvalidParameter, NotFound, SystemFault
from darse.core.state import REBUILD, State
from darse.image_spec.digests import chain_ids, digest_of
from darse.image_spec.manifests import Descriptor, encode_manifest
from darse.image_spec.media_types import OCI_CONFIG, OCI_MANIFEST
from darse.images import references
from darse.images.content.store import ContentStore
from darse.images.gc.collector import GarbageCollector, Lease
from darse.images.layers.compressed import CompressedDigests
from darse.images.layers.sources import FileSource
from darse.images.layers.store import LayerStore
from darse.images.model import Image, ImageConfig, parse_config
from darse.images.references import Reference
from darse.images.snapshots.service import SnapshotService
from darse.images.store import ImageStore
from darse.linux.fs.files import open_regular
from darse.wire.images import CheckMessage

# Layers that are rebuilt at once: each takes a processor.
_AT_ONCE = 2


class StoreCheck:
    """Checks one store."""

    def __init__(
        self,
        state: State,
        images: ImageStore,
        content: ContentStore,
        layers: LayerStore,
        snapshots: SnapshotService,
        compressed: CompressedDigests,
        gc: GarbageCollector,
    ) -> None:
        self._state = state
        self._images = images
        self._content = content
        self._layers = layers
        self._snapshots = snapshots
        self._compressed = compressed
        self._gc = gc

    async def check(self, containers: Iterable[str], *, repair: bool) -> AsyncIterator[CheckMessage]:
        """Check everything; yield the findings and the progress.

        `containers` are the ids that exist. The last message counts the findings.
        """
        findings = problems = 0
        # As it was at the beginning: repairs remove some.
        layers, (documents, size) = self._layers.sizes(), await executors.storage.run(self._measure_documents)
        looked_at = CheckMessage(
            doing="done",
            images=len(self._images),
            documents=documents,
            layers=len(layers),
            bytes=sum(layers.values()) + size,
        )
        async with self._gc.lease() as lease:
            async for message in self._check_all(list(containers), lease, repair=repair):
                yield message
                findings += message.finding != ""
                problems += message.finding != "" and not message.repaired and message.level == "problem"
        yield msgspec.structs.replace(looked_at, findings=findings, problems=problems)

    def _measure_documents(self) -> tuple[int, int]:
        """How many documents there are, and their bytes. Blocks."""
        documents = self._content.digests()
        return len(documents), sum(map(self._content.size, documents))

    async def _check_all(self, containers: list[str], lease: Lease, *, repair: bool) -> AsyncIterator[CheckMessage]:
        unsynced = self._layers.sync.unsynced()
        if unsynced:
            yield CheckMessage(doing="flush", total=len(unsynced))
            await self._layers.sync.sync_now()
            for chain_id in self._layers.sync.unsynced():
                yield _problem(f"layer {chain_id}", "it cannot be synced to the disk", "see the engine's log")
        async for message in self._check_database():
            yield message
        async for message in self._check_images(repair=repair):
            yield message
        async for message in self._check_documents(lease, repair=repair):
            yield message
        async for message in self._check_leftovers(lease):
            yield message
        async for message in self._check_layers(lease, repair=repair):
            yield message
        async for message in self._check_containers(containers):
            yield message

    # The database

    async def _check_database(self) -> AsyncIterator[CheckMessage]:
        yield CheckMessage(doing="database")
        integrity, foreign_keys = await self._state.rows_beside("PRAGMA integrity_check", "PRAGMA foreign_key_check")
        for (text,) in integrity:
            if text != "ok":
                yield _problem("database", str(text), REBUILD)
        for table, *_ in foreign_keys:
            yield _problem("database", f"a row of {table} refers to what is not there", REBUILD)

    async def _check_images(self, *, repair: bool) -> AsyncIterator[CheckMessage]:
        """Compare the rows of images with their documents, from which they are derived."""
        yield CheckMessage(doing="images", total=len(self._images))
        for image in self._images:
            try:
                config = await executors.storage.run(self._config, image)
            except EngineError:
                continue  # `_check_documents` reports it
            if self._images.by_id(image.id) is not image:
                continue  # it was removed meanwhile
            derived = msgspec.structs.replace(image, config=config)
            chain = tuple(chain_ids(config.rootfs.diff_ids))
            if derived == image and image.chain_ids == chain:
                continue
            repaired = repair and image.chain_ids == chain
            if repaired:
                self._images.replace(derived)
            yield _problem(f"image {image.id}", "its row is not what its config says", _again(image), repaired=repaired)

    def _config(self, image: Image) -> ImageConfig:
        return parse_config(self._content.read(image.id))

    # Documents

    async def _check_documents(self, lease: Lease, *, repair: bool) -> AsyncIterator[CheckMessage]:
        made = {image.manifest.digest: image for image in self._images}
        present = set(await executors.storage.run(self._content.digests))
        needed = await self._gc.needed_documents()
        required = self._required()
        yield CheckMessage(doing="documents", total=len(present))
        for digest in sorted(present | required):
            sound = digest in present and await executors.storage.run(_is_whole, self._content.path(digest), digest)
            if digest in present and digest not in needed:
                # An operation may have written it, and record its image next; or it has recorded it since.
                if not self._gc.is_only_lease(lease) or digest in await self._gc.needed_documents():
                    continue
                if repair:
                    await executors.storage.run(self._content.remove_blobs, [digest])
                yield _note(f"document {digest}", "nothing needs it", repaired=repair)
            elif not sound and digest in required:
                repaired = repair and await self._derive(digest, made.get(digest))
                text = "is damaged" if digest in present else "is missing"
                advice, pull = self._origin(digest)
                yield _problem(f"document {digest}", text, advice, repaired=repaired, pull="" if repaired else pull)
            elif not sound:
                # A manifest of another platform, or an attestation: the next pull brings it again.
                if repair:
                    await executors.storage.run(self._content.remove_blobs, [digest])
                yield _problem(f"document {digest}", "is damaged", "pull its image again", repaired=repair)

    def _required(self) -> set[str]:
        """The documents that must be here: those that images were made from."""
        digests: set[str] = set()
        for image in self._images:
            digests.update((image.id, image.manifest.digest))
        for target in self._images.targets():
            digests.add(target.digest)
            digests.update(variant.manifest.digest for variant in target.variants if variant.image_id)
        return digests

    async def _derive(self, digest: str, image: Image | None) -> bool:
        """Write a manifest that was made here again; return whether it is the same."""
        if image is None:
            return False
        config = Descriptor(OCI_CONFIG, image.id, image.config_size)
        document = encode_manifest(config, [layer.blob for layer in image.layers], OCI_MANIFEST)
        if digest_of(document) != digest:
            return False
        await executors.storage.run(self._content.remove_blobs, [digest])
        await executors.storage.run(self._content.put, document, OCI_MANIFEST)
        return True

    def _origin(self, digest: str) -> tuple[str, str]:
        """What to do about a lost document, and what to pull to get it back."""
        for target in self._images.targets():
            digests = {target.digest, *(one.manifest.digest for one in target.variants)}
            if digest in digests | {one.image_id for one in target.variants}:
                return self._advice(self._images.default(target))
        return "pull or load its image again", ""

    # What nothing refers to

    async def _check_leftovers(self, lease: Lease) -> AsyncIterator[CheckMessage]:
        for path in await self._layers.lasting_orphans():
            yield _note(f"directory {path}", "it is no layer", "the next start moves it aside")
        needed = self._gc.needed_layers()
        for chain_id in self._layers.sizes():
            if chain_id not in needed and self._gc.is_only_lease(lease):
                yield _note(f"layer {chain_id}", "nothing needs it", "it goes with the next removal")
        for digest, size in (await executors.storage.run(self._content.ingests.sizes)).items():
            yield CheckMessage(doing=f"partial download {digest}, {size} bytes: the next pull goes on with it")

    # Layers

    async def _check_layers(self, lease: Lease, *, repair: bool) -> AsyncIterator[CheckMessage]:
        chain_ids_ = sorted(set(self._layers.sizes()).union(*(image.chain_ids for image in self._images)))
        slots = asyncio.Semaphore(_AT_ONCE)

        async def verify(chain_id: str) -> tuple[str, str]:
            async with slots:
                return chain_id, await self._damage(chain_id)

        tasks = [asyncio.create_task(verify(chain_id)) for chain_id in chain_ids_]
        try:
            for number, task in enumerate(asyncio.as_completed(tasks)):
                yield CheckMessage(doing="layers", done=number, total=len(tasks))
                chain_id, damage = await task
                if damage:
                    yield await self._damaged(chain_id, damage, lease, repair=repair)
        finally:
            for one in tasks:
                one.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _damage(self, chain_id: str) -> str:
        """Return what is wrong with a layer, or ""."""
        if not self._layers.exists(chain_id):
            return "is missing"
        if not self._layers.path(chain_id).is_dir():
            return "its directory is missing"
        if chain_id not in self._layers.rebuildable():
            return ""  # of an older engine, which kept the archive as a document
        try:
            await self._layers.verify(chain_id)
        except NotFound:
            return ""  # removed meanwhile
        except SystemFault as error:
            return str(error).partition("is damaged: ")[2] or str(error)
        return ""

    async def _damaged(self, chain_id: str, damage: str, lease: Lease, *, repair: bool) -> CheckMessage:
        users = [image for image in self._images if chain_id in image.chain_ids]
        advice, pull = self._advice(users[0]) if users else ("remove the containers that stand on it", "")
        repaired = False
        if repair and not users and chain_id not in self._gc.needed_layers():
            await self._remove_layer(chain_id)
            repaired = True
        elif repair and users:
            lease.hold(chain_id)
            repaired = await self._unpack_again(chain_id, users[0])
            if not repaired and pull:
                await self._remove_layer(chain_id)
        return _problem(f"layer {chain_id}", damage, advice, repaired=repaired, pull="" if repaired else pull)

    async def _unpack_again(self, chain_id: str, image: Image) -> bool:
        """Unpack a layer from another copy of its archive; return whether there was one."""
        layer = next(one for one in image.layers if one.chain_id == chain_id)
        others = [other for other in self._layers.of_diff_id(layer.diff_id) if other != chain_id]
        for other in others:
            if not await self._damage(other):
                await self._remove_layer(chain_id)
                source = PipeSource(self._layers.archive_size(other))
                made = self._layers.ensure(chain_id, layer.diff_id, source)
                await source.fed_by(self._layers.archive(other), made)
                return True
        if not self._content.has(layer.blob.digest):
            return False
        try:
            staged = await self._layers.stage(FileSource(self._content.path(layer.blob.digest)), layer.diff_id)
        except InvalidParameter:
            return False
        if staged.diff_id == layer.diff_id:
            await self._remove_layer(chain_id)
            await self._layers.publish(staged, chain_id)
            return True
        await self._layers.discard_staged(staged)
        return False

    async def _remove_layer(self, chain_id: str) -> None:
        await self._gc.remove_layers([chain_id])

    def _advice(self, image: Image) -> tuple[str, str]:
        """How to get an image back: what to do, and what to pull where that is known."""
        pull = self._pull_of(image)
        return (f"pull {pull} again" if pull else _again(image)), pull

    def _pull_of(self, image: Image) -> str:
        """A reference by which a registry is known to have an image; "" when none is."""
        repositories = {
            known.repository
            for layer in image.layers
            for known in self._compressed.known(layer.diff_id)
            if known.repository
        }
        for target in self._images.targets_of(image.id, any_platform=True):
            for name in self._images.names_of(target):
                reference = references.parse(name)
                if reference.name in repositories:
                    return Reference(reference.domain, reference.path, digest=target.digest).familiar
        return ""

    # Containers

    def _chains_of(self, container_id: str) -> list[str]:
        """The chain IDs of a container's layers, and of the images that it mounts."""
        mounted = self._snapshots.mounted
        chains = [mounted.chain_of(container_id, image_id) for image_id in mounted.images_of(container_id)]
        return [chain_id for chain in [self._snapshots.chain_of(container_id), *chains] for chain_id in chain]

    async def _check_containers(self, containers: list[str]) -> AsyncIterator[CheckMessage]:
        yield CheckMessage(doing="containers", total=len(containers))
        for container_id in containers:
            try:
                overlay = self._snapshots.overlay(container_id)
            except NotFound:
                yield _problem(f"container {container_id}", "it has no writable layer", "remove it")
                continue
            for path in await executors.storage.run(_missing, (overlay.upper, overlay.work)):
                yield _problem(f"container {container_id}", f"{path} is missing", "remove it")
            for chain_id in self._chains_of(container_id):
                if not self._layers.exists(chain_id):
                    yield _problem(
                        f"container {container_id}", f"layer {chain_id} is missing", "see the layer, or remove it"
                    )
        for container_id in await self._snapshots.orphans(containers):
            yield _note(f"writable layer {container_id}", "it is no container's", "the next start moves it aside")


def _missing(directories: Iterable[str]) -> list[str]:
    return [path for path in directories if not Path(path).is_dir()]


def _is_whole(path: Path, digest: str) -> bool:
    import hashlib  # noqa: PLC0415

    try:
        with open(path, "rb", opener=open_regular) as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" == digest
    except OSError:
        return False


def _again(image: Image) -> str:
    return f"remove the image (rmi -f {image.id[7:19]}), and load or build it again"


def _problem(subject: str, found: str, advice: str, *, repaired: bool = False, pull: str = "") -> CheckMessage:
    return CheckMessage(
        level="problem", subject=subject, finding=found, advice="" if repaired else advice, repaired=repaired, pull=pull
    )


def _note(subject: str, found: str, advice: str = "", *, repaired: bool = False) -> CheckMessage:
    return CheckMessage(level="note", subject=subject, finding=found, advice=advice, repaired=repaired)
