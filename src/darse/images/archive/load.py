"""Load images from archives, and import root file systems."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence

import msgspec

from darse.archive.pipe_source import PipeSource
from darse.archive.process import OnConnection
from darse.core import executors
from darse.core.errors import InvalidParameter
from darse.core.events import EventLog
from darse.core.times import rfc3339
from darse.image_spec.digests import chain_ids, digest_of
from darse.image_spec.manifests import Descriptor
from darse.image_spec.media_types import OCI_LAYER
from darse.image_spec.platforms import Platform, host
from darse.images import references
from darse.images.archive import legacy
from darse.images.archive.layout import ArchiveImage, ArchiveLayer, ArchiveTarget, find_targets, parents_of
from darse.images.archive.reader import ArchiveReader
from darse.images.content.store import ContentStore
from darse.images.events import publish_image_event
from darse.images.gc.collector import GarbageCollector, Lease
from darse.images.instructions import apply
from darse.images.layers.compressed import CompressedDigests
from darse.images.layers.store import LayerStore
from darse.images.model import History, Image, ImageConfig, RootFS, parse_config
from darse.images.progress import DisplacedName, LoadedImage, Report, ignore
from darse.images.references import Reference
from darse.images.store import ImageStore
from darse.images.writer import ImageDocuments, ImageWriter, PreparedImage
from darse.wire.containers import ContainerConfig


class ImageLoader:
    """Loads and imports images."""

    def __init__(
        self,
        images: ImageStore,
        content: ContentStore,
        layers: LayerStore,
        compressed: CompressedDigests,
        writer: ImageWriter,
        gc: GarbageCollector,
        events: EventLog,
        *,
        keep_blobs: bool = False,
    ) -> None:
        """`keep_blobs`: archives of layers that came compressed are kept as they came."""
        self._images = images
        self._content = content
        self._layers = layers
        self._compressed = compressed
        self._writer = writer
        self._gc = gc
        self._events = events
        self._keep_blobs = keep_blobs

    async def load_images(
        self, body: AsyncIterator[bytes] | OnConnection, *, platforms: Sequence[Platform] = (), report: Report = ignore
    ) -> list[LoadedImage]:
        """Load the images of an archive, or only those for `platforms`.

        The archive comes in pieces, or a thread reads it off its connection. When one of its images cannot be loaded,
        those before it stay. Raises InvalidParameter and SystemFault.
        """
        temporary = self._content.temporary if self._keep_blobs else None
        archive = ArchiveReader(self._layers, self._present, temporary)
        loaded = []
        async with self._gc.lease() as lease, archive:
            await archive.read(body, report)
            for target in await executors.storage.run(find_targets, archive.contents, platforms):
                loaded.append(await self._load_target(target, archive, lease))
                report(loaded[-1])
            self._restore_parents(parents_of(archive.contents))
        return loaded

    async def _load_target(self, target: ArchiveTarget, archive: ArchiveReader, lease: Lease) -> LoadedImage:
        names = _names(target)
        prepared = [await self._prepare(image, archive, lease) for image in target.images]
        documents = [
            ImageDocuments.of_target(target.document, target.media_type, config=config, manifests=target.manifests)
            if target.document
            else ImageDocuments.of_layers(config, blobs)
            for config, blobs in prepared
        ]
        images = [await self._writer.prepare(one) for one in documents]
        async with self._content.stored(content for one in documents for content in one.contents):
            return self._record(images, names, keeps_blobs=bool(target.document))

    def _present(self, digest: str) -> str | None:
        """See `ArchiveReader`."""
        diff_id = digest if self._layers.with_diff_id(digest) is not None else self._compressed.diff_id(digest)
        return diff_id if diff_id is not None and self._layers.with_diff_id(diff_id) is not None else None

    async def _prepare(
        self, image: ArchiveImage, archive: ArchiveReader, lease: Lease
    ) -> tuple[bytes, list[Descriptor]]:
        """Publish an image's layers; return its config, and the layers' descriptors."""
        document = image.config
        diff_ids = (await executors.storage.run(parse_config, document)).rootfs.diff_ids
        if not diff_ids and image.layers and b'"rootfs"' not in document:
            # From before docker 1.10: the config does not list them.
            diff_ids = [await self._diff_id(layer, archive) for layer in image.layers]
            document = legacy.with_diff_ids(document, diff_ids)
        if len(diff_ids) != len(image.layers):
            raise InvalidParameter(f"invalid image: {len(image.layers)} layers, and the config lists {len(diff_ids)}")
        chain = chain_ids(diff_ids)
        lease.hold(*chain)
        blobs = []
        for layer, diff_id, chain_id in zip(image.layers, diff_ids, chain, strict=True):
            await self._publish(layer, diff_id, chain_id, archive)
            if layer.blob is not None:
                await self._keep_blob(layer.member, layer.blob, archive)
            blobs.append(layer.blob or Descriptor(OCI_LAYER, diff_id, self._layers.archive_size(chain_id)))
        return document, blobs

    async def _keep_blob(self, member: str, blob: Descriptor, archive: ArchiveReader) -> None:
        """Make the copy of a member a blob, when there is one and it is what the manifest names."""
        copy = archive.copies.get(member)
        if copy is not None and archive.digests[member] == blob.digest:
            self._gc.note_blobs([blob.digest])
            await executors.storage.run(self._content.share, copy, blob.digest)

    async def _diff_id(self, layer: ArchiveLayer, archive: ArchiveReader) -> str:
        return archive.published_diff_id(layer.member) or (await archive.staged_layer(layer.member)).diff_id

    async def _publish(self, layer: ArchiveLayer, diff_id: str, chain_id: str, archive: ArchiveReader) -> None:
        """Publish the layer of a member as `chain_id`."""
        if self._layers.exists(chain_id):
            return
        known = archive.published_diff_id(layer.member)
        if known is None:
            staged = await archive.staged_layer(layer.member)
            _check(layer, diff_id, staged.diff_id, archive)
            await self._layers.publish(staged, chain_id)
            archive.mark_published(layer.member, diff_id)
        elif known != diff_id:
            raise InvalidParameter(f"layer {layer.member} unpacks to {known}, and the image says {diff_id}")
        else:
            await self._copy(diff_id, chain_id)

    async def _copy(self, diff_id: str, chain_id: str) -> None:
        """Unpack a layer again from the archive of one that is here on another base."""
        other = self._layers.with_diff_id(diff_id)
        if other is None:
            raise InvalidParameter(f"layer {diff_id} was removed meanwhile")
        source = PipeSource(self._layers.archive_size(other))
        await source.fed_by(self._layers.archive(other), self._layers.ensure(chain_id, diff_id, source))

    def _displaced(self, names: list[Reference], images: set[str]) -> list[DisplacedName]:
        """The names that other images have so far."""
        found = []
        for name in names:
            former = self._images.named(name)
            if former is not None and (image := self._images.default(former)).id not in images:
                found.append(DisplacedName(name, image.id))
        return found

    def _record(self, images: list[PreparedImage], names: list[Reference], *, keeps_blobs: bool) -> LoadedImage:
        """Record the images of a target in one transaction.

        `keeps_blobs`: the layers' blobs are those of a manifest that came, not of one that is made here.
        """
        with self._images.changing():
            displaced = self._displaced(names, {one.image.id for one in images})
            for one in images:
                image, target = self._writer.record(one, names=names)
                if keeps_blobs:
                    for layer, blob in zip(image.layers, one.documents.layers, strict=True):
                        self._compressed.add(layer.diff_id, blob, "")
            default = self._images.default(target)
            publish_image_event(self._events, "load", default)
        return LoadedImage(default, tuple(names), tuple(displaced))

    def _restore_parents(self, parents: dict[str, str]) -> None:
        """Record which image was made from which, where their layers and history agree."""
        with self._images.changing():
            for child_id, parent_id in parents.items():
                child, parent = self._images.by_id(child_id), self._images.by_id(parent_id)
                if child is not None and parent is not None and not child.parent and _is_parent(parent, child):
                    self._images.replace(msgspec.structs.replace(child, parent=parent.id))

    # A root file system

    async def import_image(
        self,
        body: AsyncIterator[bytes],
        *,
        name: Reference | None = None,
        changes: Sequence[str] = (),
        message: str = "",
        platform: Platform | None = None,
    ) -> Image:
        """Make an image of one layer from the archive of a root file system.

        `changes` are Dockerfile instructions. Raises InvalidParameter and SystemFault.
        """
        platform = platform or host()
        if platform.os != host().os:
            raise InvalidParameter(f"operating system is not supported: {platform.os} images cannot be run here")
        config = apply(ContainerConfig(), list(changes))
        async with self._gc.lease() as lease:
            blob = await self._one_layer(body, lease)
            document = _imported(config, blob.digest, message or "Imported from -", platform)
            documents = ImageDocuments.of_layers(msgspec.json.encode(document), [blob])
            prepared = await self._writer.prepare(documents)
            async with self._content.stored(documents.contents):
                with self._images.changing():
                    image, _ = self._writer.record(prepared, names=[name] if name else [])
                    if name:
                        publish_image_event(self._events, "tag", image, name.familiar)
                    publish_image_event(self._events, "import", image)
        return image

    async def _one_layer(self, body: AsyncIterator[bytes], lease: Lease) -> Descriptor:
        """Unpack an archive as a layer without a parent; return the descriptor of the uncompressed archive."""
        source = PipeSource(-1)
        staged = await source.fed_by(body, self._layers.stage(source, "of the archive"))
        lease.hold(staged.diff_id)
        await self._layers.publish(staged, staged.diff_id)
        return Descriptor(OCI_LAYER, staged.diff_id, self._layers.archive_size(staged.diff_id))

    async def unpack_base_layer(self, content: bytes, lease: Lease) -> Descriptor:
        """Unpack an archive that is in memory as a layer without a parent; return the archive's descriptor."""

        async def pieces() -> AsyncIterator[bytes]:
            yield content

        return await self._one_layer(pieces(), lease)


def _names(found: ArchiveTarget) -> list[Reference]:
    """The names for a target. Raises InvalidParameter.

    Of a tag and a digest the tag counts; a digest alone must be the target's own.
    """
    names = []
    for text in found.names:
        name = references.parse_name(text)
        if name.digest and not name.tag:
            if not found.document or digest_of(found.document) != name.digest:
                raise InvalidParameter(f'invalid tag "{text}": its digest is not that of the image in the archive')
            names.append(name)
        else:
            names.append(references.parse_tag(str(name._replace(digest=""))))
    return list(dict.fromkeys(names))


def _is_parent(parent: Image, child: Image) -> bool:
    """Whether an image's layers and history begin with another's."""
    steps, layers = len(parent.config.history), len(parent.layers)
    return (
        steps < len(child.config.history)
        and child.config.history[:steps] == parent.config.history
        and child.chain_ids[:layers] == parent.chain_ids
    )


def _check(layer: ArchiveLayer, diff_id: str, actual: str, archive: ArchiveReader) -> None:
    """Compare a layer with its entries in the config and the manifest. Raises InvalidParameter."""
    if actual != diff_id:
        raise InvalidParameter(f"layer {layer.member} unpacks to {actual}, and the image says {diff_id}")
    if layer.blob is not None:
        came = archive.digests.get(layer.member, actual), archive.sizes[layer.member]
        if came != (layer.blob.digest, layer.blob.size):
            raise InvalidParameter(
                f"layer {layer.member} is {came[0]} of {came[1]} bytes, and claims to be {layer.blob.digest} of "
                f"{layer.blob.size}"
            )


def _imported(config: ContainerConfig, diff_id: str, message: str, platform: Platform) -> ImageConfig:
    """The config of an image of one layer."""
    now = rfc3339(time.time_ns())
    return ImageConfig(
        created=now,
        architecture=platform.architecture,
        variant=platform.variant,
        os=platform.os,
        config=config,
        rootfs=RootFS("layers", [diff_id]),
        history=[History(created=now, comment=message)],
        comment=message,
    )
