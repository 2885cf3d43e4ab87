"""How images come in archives: `load`, and `import` of a root file system."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import msgspec

from darse.archive.process import OnConnection
from darse.core.errors import InvalidParameter
from darse.core.events import EventLog
from darse.core.times import rfc3339
from darse.images import platforms, references
from darse.images.archive import legacy
from darse.images.archive.layout import ArchiveImage, ArchiveLayer, ArchiveTarget, find_targets, parents_of
from darse.images.archive.reader import ArchiveReader
from darse.images.archive.reader import ReadProgress as Coming
from darse.images.content.store import ContentStore
from darse.images.events import publish_image_event
from darse.images.gc.collector import GarbageCollector, Lease
from darse.images.instructions import apply
from darse.images.layers.compressed import CompressedDigests
from darse.images.layers.pipe_source import PipeSource
from darse.images.layers.store import LayerStore
from darse.images.model import (
    LAYER,
    Descriptor,
    History,
    Image,
    ImageConfig,
    RootFS,
    Target,
    chain_ids,
    digest_of,
    parse_config,
)
from darse.images.platforms import Platform
from darse.images.references import Reference
from darse.images.store import ImageStore
from darse.images.writer import ImageWriter
from darse.wire.containers import ContainerConfig
from darse.wire.images import Progress

# moby's words, which scripts may look for.
_RENAMED = "The image {} already exists, renaming the old one with ID {} to empty string\n"
_UNITS = ("B", "kB", "MB", "GB", "TB")


class ImageLoader:
    """Takes images out of archives."""

    def __init__(
        self,
        store: ImageStore,
        layers: LayerStore,
        blobs: CompressedDigests,
        recorder: ImageWriter,
        unused: GarbageCollector,
        events: EventLog,
        kept_in: ContentStore | None = None,
    ) -> None:
        """`kept_in`: where layers that came compressed are kept as they came."""
        self._kept_in = kept_in
        self._store = store
        self._layers = layers
        self._blobs = blobs
        self._recorder = recorder
        self._unused = unused
        self._events = events

    async def load(
        self, body: AsyncIterator[bytes] | OnConnection, *, quiet: bool, wanted: Sequence[Platform] = ()
    ) -> AsyncIterator[Progress]:
        """Take the images out of an archive, or those of the platforms `wanted`; yield the API's progress messages.

        The archive comes in pieces, or is read off its connection.
        Images before one that cannot be loaded stay. Raises InvalidParameter and SystemFault.
        """
        incoming = ArchiveReader(self._layers, self._present, self._kept_in.temporary if self._kept_in else None)
        async with self._unused.keeping() as hold, incoming:
            async for coming in incoming.read(body):
                if not quiet:
                    yield _loading(coming)
            for found in find_targets(incoming.contents, wanted):
                names = _names(found)
                prepared = [await self._prepare(image, incoming, hold) for image in found.images]
                renamed = self._renamed(names, {digest_of(config) for config, _ in prepared})
                image = self._record(found, prepared, names)
                for message in renamed:
                    yield {"stream": message}
                for name in names:
                    yield {"stream": f"Loaded image: {name.familiar}\n"}
                if not names:
                    yield {"stream": f"Loaded image ID: {image.id}\n"}
            self._restore_parents(parents_of(incoming.contents))

    def _present(self, digest: str) -> str | None:
        """See `ArchiveReader`."""
        diff_id = digest if self._layers.with_diff_id(digest) is not None else self._blobs.diff_id(digest)
        return diff_id if diff_id is not None and self._layers.with_diff_id(diff_id) is not None else None

    async def _prepare(
        self, image: ArchiveImage, incoming: ArchiveReader, hold: Lease
    ) -> tuple[bytes, list[Descriptor]]:
        """Put an image's layers into the layer store; return its config, and their descriptors."""
        document = image.config
        diff_ids = parse_config(document).rootfs.diff_ids
        if not diff_ids and image.layers and b'"rootfs"' not in document:
            # From before docker 1.10: only the layers tell.
            diff_ids = [await self._diff_id(layer, incoming) for layer in image.layers]
            document = legacy.with_diff_ids(document, diff_ids)
        if len(diff_ids) != len(image.layers):
            raise InvalidParameter(f"invalid image: {len(image.layers)} layers, and the config lists {len(diff_ids)}")
        chain = chain_ids(diff_ids)
        hold(*chain)
        blobs = []
        for layer, diff_id, chain_id in zip(image.layers, diff_ids, chain, strict=True):
            await self._publish(layer, diff_id, chain_id, incoming)
            if layer.blob is not None and self._kept_in is not None:
                await self._keep(layer.member, layer.blob, incoming, self._kept_in)
            blobs.append(layer.blob or Descriptor(LAYER, diff_id, self._layers.archive_size(chain_id)))
        return document, blobs

    async def _keep(self, member: str, blob: Descriptor, incoming: ArchiveReader, content: ContentStore) -> None:
        """Let what came in a member be a blob, when it is the one that the manifest names."""
        copy = incoming.copies.get(member)
        if copy is not None and incoming.digests[member] == blob.digest:
            await asyncio.to_thread(content.share, copy, blob.digest)

    async def _diff_id(self, layer: ArchiveLayer, incoming: ArchiveReader) -> str:
        return incoming.known_diff_id(layer.member) or (await incoming.staged(layer.member)).diff_id

    async def _publish(self, layer: ArchiveLayer, diff_id: str, chain_id: str, incoming: ArchiveReader) -> None:
        """Make what came in a member the layer `chain_id`."""
        if self._layers.exists(chain_id):
            return
        known = incoming.known_diff_id(layer.member)
        if known is None:
            staged = await incoming.staged(layer.member)
            _check(layer, diff_id, staged.diff_id, incoming)
            await self._layers.publish(staged, chain_id)
            incoming.taken(layer.member, diff_id)
        elif known != diff_id:
            raise InvalidParameter(f"layer {layer.member} unpacks to {known}, and the image says {diff_id}")
        else:
            await self._copy(diff_id, chain_id)

    async def _copy(self, diff_id: str, chain_id: str) -> None:
        """Make a layer once more of an archive that is there as a layer on another base."""
        other = self._layers.with_diff_id(diff_id)
        if other is None:
            raise InvalidParameter(f"layer {diff_id} was removed meanwhile")
        source = PipeSource(self._layers.archive_size(other))
        await source.fed_by(self._layers.archive(other), self._layers.ensure(chain_id, diff_id, source))

    def _renamed(self, names: list[Reference], images: set[str]) -> list[str]:
        """Say which names are taken from other images."""
        messages = []
        for name in names:
            former = self._store.named(name)
            if former is not None and self._store.default(former).id not in images:
                messages.append(_RENAMED.format(name.familiar, self._store.default(former).id))
        return messages

    def _record(
        self, found: ArchiveTarget, prepared: list[tuple[bytes, list[Descriptor]]], names: list[Reference]
    ) -> Image:
        """Record a target's images; return the one that its names mean."""
        with self._store.changing():
            target: Target | None = None
            for config, blobs in prepared:
                if found.document:
                    _, target = self._recorder.record(
                        found.document, found.media_type, config=config, manifests=found.manifests, names=names
                    )
                    image = self._store.by_id(digest_of(config))
                    for layer, blob in zip(image.layers if image else (), blobs, strict=True):
                        self._blobs.remember(layer.diff_id, blob, "")
                else:
                    _, target = self._recorder.record_made(config, blobs, names=names)
            assert target is not None
            image = self._store.default(target)
            publish_image_event(self._events, "load", image)
        return image

    def _restore_parents(self, parents: dict[str, str]) -> None:
        """Note which images were made from which; what the archive says must be true of their layers and history."""
        with self._store.changing():
            for child_id, parent_id in parents.items():
                child, parent = self._store.by_id(child_id), self._store.by_id(parent_id)
                if child is not None and parent is not None and not child.parent and _is_parent(parent, child):
                    self._store.replace(msgspec.structs.replace(child, parent=parent.id))

    # A root file system

    async def import_(
        self,
        body: AsyncIterator[bytes],
        name: str,
        changes: list[str],
        message: str,
        platform: str,
    ) -> AsyncIterator[Progress]:
        """Make an image of one layer from the archive of a root file system; yield progress.

        Raises InvalidParameter and SystemFault.
        """
        reference = references.parse_tag(name) if name else None
        suited = platforms.parse(platform) if platform else platforms.host()
        if suited.os != platforms.host().os:
            raise InvalidParameter(f"operating system is not supported: {suited.os} images cannot be run here")
        config = apply(ContainerConfig(), changes)
        async with self._unused.keeping() as hold:
            blob = await self._one_layer(body, hold)
            document = _imported(config, blob.digest, message or "Imported from -", suited)
            with self._store.changing():
                image, _ = self._recorder.record_made(
                    msgspec.json.encode(document), [blob], names=[reference] if reference else []
                )
                if reference:
                    publish_image_event(self._events, "tag", image, reference.familiar)
                publish_image_event(self._events, "import", image)
        yield {"status": image.id}

    async def _one_layer(self, body: AsyncIterator[bytes], hold: Lease) -> Descriptor:
        """Unpack an archive as the lowest layer of something, and return what it is as a plain archive."""
        source = PipeSource(-1)
        staged = await source.fed_by(body, self._layers.stage(source, "of the archive"))
        hold(staged.diff_id)
        await self._layers.publish(staged, staged.diff_id)
        return Descriptor(LAYER, staged.diff_id, self._layers.archive_size(staged.diff_id))

    async def one_layer_of(self, content: bytes, hold: Lease) -> Descriptor:
        """Unpack an archive that is in memory; see `_one_layer`."""

        async def pieces() -> AsyncIterator[bytes]:
            yield content

        return await self._one_layer(pieces(), hold)


def _names(found: ArchiveTarget) -> list[Reference]:
    """The names that a target is to have. Raises InvalidParameter.

    Of a tag and a digest the tag counts; a digest alone must be the target's own, or the name would lie.
    """
    names = []
    for text in found.names:
        name = references.parse_name(text)
        if name.digest and not name.tag:
            if not found.document or digest_of(found.document) != name.digest:
                raise InvalidParameter(f'invalid tag "{text}": its digest is not that of the image in the archive')
            names.append(name)
        else:
            names.append(references.parse_tag(str(msgspec.structs.replace(name, digest=""))))
    return list(dict.fromkeys(names))


def _is_parent(parent: Image, child: Image) -> bool:
    """Whether an image's layers and history begin with another's."""
    steps, layers = len(parent.config.history), len(parent.layers)
    return (
        steps < len(child.config.history)
        and child.config.history[:steps] == parent.config.history
        and child.chain_ids[:layers] == parent.chain_ids
    )


def _check(layer: ArchiveLayer, diff_id: str, actual: str, incoming: ArchiveReader) -> None:
    """Hold a layer against what the config and the manifest say of it."""
    if actual != diff_id:
        raise InvalidParameter(f"layer {layer.member} unpacks to {actual}, and the image says {diff_id}")
    if layer.blob is not None:
        came = incoming.digests.get(layer.member, actual), incoming.sizes[layer.member]
        if came != (layer.blob.digest, layer.blob.size):
            raise InvalidParameter(
                f"layer {layer.member} is {came[0]} of {came[1]} bytes, and claims to be {layer.blob.digest} of "
                f"{layer.blob.size}"
            )


def _loading(coming: Coming) -> Progress:
    """The message of which docker's client draws a bar."""
    return {
        "status": "Loading layer",
        "progressDetail": {"current": coming.current, "total": coming.total},
        "progress": _bar(coming.current, coming.total),
        "id": coming.id,
    }


def _bar(current: int, total: int) -> str:
    filled = 50 * current // total
    bar = "=" * filled + ">" + " " * (49 - filled) if filled < 50 else "=" * 50 + ">"
    return f"[{bar}]  {_human(current)}/{_human(total)}"


def _human(size: float) -> str:
    """A size as docker's progress has it: four digits, powers of a thousand."""
    for unit in _UNITS:
        if size < 1000 or unit == _UNITS[-1]:
            return f"{size:.4g}{unit}"
        size /= 1000
    raise AssertionError


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
