"""The image service: the stores, made once, and its operations, each in a module of its own.

    views      list, inspect, history, attestations
    loader     load, import
    saver      save
    deletion   remove, prune
    fsck       `system check`
    disk_usage what all of it takes on the disk
    snapshots  containers' writable layers
    snapshotter  trees that are no container's: results of builds
    stores       images, content, layers: for the operations of this room. Other rooms use the methods below

Pull and push are in `darse.images.transfer`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from darse.core import executors
from darse.core.errors import InvalidParameter, NotFound
from darse.core.events import EventLog
from darse.core.object_references import ObjectReferences
from darse.core.state import State
from darse.core.unfinished import Unfinished
from darse.image_spec.digests import digest_of
from darse.image_spec.manifests import Descriptor
from darse.image_spec.platforms import Platform
from darse.images import references
from darse.images.builtin import BuiltinImages
from darse.images.content.store import ContentStore
from darse.images.events import publish_image_event
from darse.images.gc.collector import GarbageCollector, Lease
from darse.images.gc.crash_recovery import CrashRecovery
from darse.images.gc.delete import ImageDeletion
from darse.images.gc.fsck import StoreCheck
from darse.images.layers.compressed import CompressedDigests
from darse.images.layers.compression import Compression, compress_layer
from darse.images.layers.disk_usage import LayerDiskUsage
from darse.images.layers.linked import stage_linked
from darse.images.layers.remapped import RemappedLayers
from darse.images.layers.sources import LayerSource
from darse.images.layers.store import LayerStore
from darse.images.model import Image, Layer, Target
from darse.images.pull_traces import PullTraces
from darse.images.references import Reference
from darse.images.snapshots.owners import SnapshotOwners
from darse.images.snapshots.service import SnapshotService
from darse.images.snapshots.snapshotter import Snapshotter
from darse.images.store import FoundImage, ImageStore
from darse.images.stores import ImageStores
from darse.images.views import ImageViews
from darse.images.writer import ImageDocuments, ImageWriter
from darse.recovery.startup import Recovery
from darse.runtime.rootfs.trash import Trash

if TYPE_CHECKING:
    from darse.images.archive.load import ImageLoader
    from darse.images.archive.save import ImageSaver

LIST_FILTERS = ("dangling", "label", "label!", "before", "since", "reference", "until")
PRUNE_FILTERS = ("dangling", "label", "label!", "until")


class ImageService:
    """The images of one engine."""

    def __init__(self, data_root: Path, state: State, events: EventLog, *, keep_layer_blobs: bool = False) -> None:
        """`keep_layer_blobs`: archives of layers that came compressed are kept as they came."""
        root = data_root / "images"
        self._events = events
        self.trash = Trash(data_root / "trash")
        images = ImageStore(state)
        content = ContentStore(root, self.trash)
        layers = LayerStore(root, state, content)
        remapped = RemappedLayers(root, layers, content)
        compressed = CompressedDigests(state)
        writer = ImageWriter(images, layers)
        owners = SnapshotOwners(state, layers, remapped)
        self.snapshots = SnapshotService(data_root, state, layers, owners, self.trash)
        self.snapshotter = Snapshotter(data_root, state, layers, self.trash)
        unfinished = Unfinished(state)
        gc = GarbageCollector(
            images, content, layers, remapped, self.snapshots, self.snapshotter, compressed, unfinished
        )
        self.stores = ImageStores(
            images=images,
            content=content,
            layers=layers,
            remapped=remapped,
            compressed=compressed,
            writer=writer,
            gc=gc,
            keep_layer_blobs=keep_layer_blobs,
        )
        users = ObjectReferences(state)
        self.pulls = PullTraces()
        self.disk_usage = LayerDiskUsage(state, content, layers, remapped)
        self._recovery = CrashRecovery(images, layers, self.snapshots, gc)
        self.views = ImageViews(images, content, layers, users)
        self.deletion = ImageDeletion(images, content, events, gc, self.disk_usage, compressed, users)
        self.fsck = StoreCheck(state, images, content, layers, self.snapshots, compressed, gc)
        self._builtin = BuiltinImages(images, content, writer, lambda: self.loader, gc, events)

    @cached_property
    def loader(self) -> ImageLoader:
        """Reads archives; made, and its modules are imported, for the first."""
        from darse.images.archive.load import ImageLoader  # noqa: PLC0415

        stores = self.stores
        return ImageLoader(
            stores.images,
            stores.content,
            stores.layers,
            stores.compressed,
            stores.writer,
            stores.gc,
            self._events,
            keep_blobs=stores.keep_layer_blobs,
        )

    @cached_property
    def saver(self) -> ImageSaver:
        """Writes archives; made, and its modules are imported, for the first."""
        from darse.images.archive.save import ImageSaver  # noqa: PLC0415

        stores = self.stores
        return ImageSaver(stores.images, stores.content, stores.layers, stores.gc, self._events)

    # Start and stop

    def open(self, containers: Iterable[str], recovery: Recovery) -> None:
        """Make the directories, finish or undo what an interrupted engine left, and set orphans aside.

        `containers` are the ids of those that exist.
        """
        stores = self.stores
        stores.content.open()
        stores.layers.open()
        stores.layers.sweep(recovery)
        stores.remapped.open()
        self.snapshots.open(containers, recovery)
        self.snapshotter.open()
        stores.gc.set_orphans_aside(recovery)
        for path in stores.gc.collect_at_start():
            self.trash.take(path)
        stores.layers.report_lost(recovery)
        # A killed pull may have recorded its image, and not have removed the ingests of its layers.
        stores.content.ingests.remove_ingests(lambda digest: stores.compressed.diff_id(digest) is None)

    async def recover(self) -> None:
        """Verify the layers that an unclean shutdown of the machine may have damaged; call it once after `open`."""
        await self._recovery.recover_layers()

    async def close(self) -> None:
        """Sync the layers that are not synced yet."""
        await self.snapshotter.close()
        await self.stores.layers.sync.close()

    # Looking

    @property
    def count(self) -> int:
        """The number of images."""
        return len(self.stores.images)

    def names_and_sizes(self) -> list[tuple[Image, str]]:
        """Every image with the first of its names; empty where it has none."""
        names = self.stores.images.all_names()
        return [(image, names.get(image.id, [""])[0]) for image in self.stores.images]

    def layer_sizes(self) -> dict[str, int]:
        """Unpacked bytes of every layer, by chain ID."""
        return self.stores.layers.sizes()

    def by_id(self, image_id: str) -> Image | None:
        """Return the image of a full id."""
        return self.stores.images.by_id(image_id)

    def get_image(self, reference: str, platform: Platform | None = None) -> Image:
        """Return an image by name, id or abbreviated id. Raises NotFound and InvalidParameter."""
        return self.stores.images.find(reference, platform).image

    def find_image(self, reference: str, platform: Platform | None = None) -> FoundImage:
        """Return an image, the target it was found in, and the name it was found by.

        `reference` is a name, an id, a manifest's or index's digest, or the beginning of an id. Raises NotFound, also
        where there is none for `platform`, and InvalidParameter for what can be no reference.
        """
        return self.stores.images.find(reference, platform)

    def all_images(self) -> Iterator[Image]:
        """Every image, in no order. The images must not change meanwhile."""
        return iter(self.stores.images)

    def image_ids(self) -> set[str]:
        """The ids of all images, as they are now."""
        return {image.id for image in self.stores.images}

    def names_with(self, image_id: str) -> list[str]:
        """The references of the targets that have an image, for whichever platform."""
        return self.stores.images.names_with(image_id)

    async def read_config(self, image: Image) -> bytes:
        """An image's configuration, to the byte. Raises SystemFault where the disk has lost it."""
        return (await self.stores.content.read_documents([image.id]))[image.id]

    def made_from(self, base: Image) -> set[str]:
        """The ids of the images that were made from an image, its own included."""
        images = self.stores.images
        return {image.id for image in images if images.is_made_from(image, base)}

    def displayed_name(self, reference: str, image_id: str) -> str:
        """The image of a container as lists show it: the reference, or the id when that refers to another image now."""
        images = self.stores.images
        try:
            found = images.find(reference)
        except (NotFound, InvalidParameter):
            return image_id
        candidates = images.images_of(found.target) if found.reference is not None else [found.image]
        return reference if any(image.id == image_id for image in candidates) else image_id

    # Blobs: documents, and the archives of layers that are kept

    def has_blob(self, digest: str) -> bool:
        """Whether a blob is here."""
        return self.stores.content.has(digest)

    def blob_path(self, digest: str) -> Path:
        """The file of a blob, which nobody may change."""
        return self.stores.content.path(digest)

    def blob_size(self, digest: str) -> int:
        """A blob's size in bytes. Blocks. Raises as `ContentStore.size`."""
        return self.stores.content.size(digest)

    def read_blob(self, digest: str) -> bytes:
        """A blob's bytes. Blocks. Raises as `ContentStore.read`."""
        return self.stores.content.read(digest)

    # Layers, by their chain IDs. Who makes, fetches or reads one holds a lease on it.

    def has_layer(self, chain_id: str) -> bool:
        """Whether a layer is here, complete."""
        return self.stores.layers.exists(chain_id)

    def layer_size(self, chain_id: str) -> int:
        """The bytes of a layer's files."""
        return self.stores.layers.size(chain_id)

    def layer_diff_id(self, chain_id: str) -> str:
        """The digest of a layer's uncompressed archive."""
        return self.stores.layers.diff_id(chain_id)

    def layer_archive_size(self, chain_id: str) -> int:
        """The bytes of a layer's uncompressed archive."""
        return self.stores.layers.archive_size(chain_id)

    def layer_archive(self, chain_id: str) -> AsyncIterator[bytes]:
        """Yield a layer's uncompressed archive, to the byte as it came. Raises as `LayerStore.archive`."""
        return self.stores.layers.archive(chain_id)

    async def compress_layer(self, chain_id: str, compression: Compression, target: Path) -> Descriptor:
        """Write a layer's archive to a new file; see `darse.images.layers.compression.compress_layer`."""
        return await compress_layer(self.stores.layers, chain_id, compression, target)

    async def keep_compressed_layer(self, chain_id: str, compression: Compression) -> Descriptor:
        """Have a layer's archive among the blobs, in a form; return its descriptor. Raises as `compress_layer`."""
        content = self.stores.content
        target = content.temporary()
        try:
            blob = await compress_layer(self.stores.layers, chain_id, compression, target)
            self.stores.gc.note_blobs([blob.digest])
            await executors.storage.run_to_end(content.share, target, blob.digest)
        finally:
            await executors.storage.run_to_end(target.unlink, missing_ok=True)
        return blob

    async def ensure_layer(self, chain_id: str, diff_id: str, source: LayerSource) -> None:
        """Unpack an archive as a layer unless that is here. Raises as `LayerStore.ensure`."""
        await self.stores.layers.ensure(chain_id, diff_id, source)

    async def link_layer(self, chain_id: str, diff_id: str, files: Path, tar_split: Path) -> None:
        """Make a layer of the files that another engine has of it, by links; see `stage_linked`.

        Raises InvalidParameter for files that are not what `diff_id` says, and SystemFault.
        """
        layers = self.stores.layers
        staged = await stage_linked(self.stores.content, files, tar_split, diff_id)
        try:
            if staged.diff_id != diff_id:
                raise InvalidParameter(
                    f"layer {diff_id} is damaged: the files in {files} are those of {staged.diff_id}"
                )
            await layers.publish(staged, chain_id)
        finally:
            await layers.discard_staged(staged)

    async def collect_garbage(self) -> None:
        """Remove the layers and blobs that nothing needs."""
        await self.stores.gc.collect()

    # Changing

    async def ensure_image(self, reference: str, platform: Platform | None = None) -> Image:
        """Return an image; a built-in one is assembled first. Raises NotFound."""
        return await self._builtin.ensure_image(reference, platform)

    def tag_image(self, source: str, repository: str, tag: str) -> None:
        """Give an image another name. Raises NotFound and InvalidParameter."""
        images = self.stores.images
        found = images.find(source)
        reference = references.parse_tag(f"{repository}:{tag}" if tag else repository)
        with images.changing():
            images.tag(reference, found.target)
            publish_image_event(self._events, "tag", found.image, reference.familiar)

    async def remove_snapshot(self, container_id: str) -> None:
        """Remove a container's writable layer, and layers of removed images that only the container needed."""
        for image_id in await self.snapshots.remove_snapshot(container_id):
            await self.deletion.container_removed(image_id)

    # Making images of containers

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[Lease]:
        """Protect the layers that the block holds, and all that it writes, from garbage collection.

        `lease.hold(*chain_ids)` names the layers, those included that are here already, before they are looked for.
        """
        async with self.stores.gc.lease() as lease:
            yield lease

    async def commit_layer(
        self,
        upper: Path,
        parent: str | None,
        *,
        skip: Iterable[str] = (),
        owners: str = "",
        newest: int | None = None,
    ) -> Layer:
        """Make a layer of an overlay's upper directory; see `LayerStore.commit`."""
        return await self.stores.layers.commit(upper, parent, skip=skip, owners=owners, newest=newest)

    @asynccontextmanager
    async def create_image(
        self, config: bytes, layers: list[Descriptor], *, names: Sequence[Reference] = (), parent: str = ""
    ) -> AsyncIterator[Image]:
        """Record an image of `layers`, in one transaction with the changes of the block, which must not await.

        `parent` is the id of the image that it was made from. Call it with a lease on the layers.
        """
        documents = ImageDocuments.of_layers(config, layers)
        prepared = await self.stores.writer.prepare(documents, parent=parent)
        async with self.stores.content.stored(documents.contents):
            with self.stores.images.changing():
                image, _ = self.stores.writer.record(prepared, names=names)
                for name in names:
                    publish_image_event(self._events, "tag", image, name.familiar)
                yield image

    async def create_target(
        self, documents: Sequence[ImageDocuments], more: Iterable[bytes] = (), *, names: Sequence[Reference] = ()
    ) -> tuple[list[Image], Target]:
        """Record the images of one target, all in one transaction; return them, and the target.

        `more` are documents that belong to it beside those of images. Call it with a lease on the layers. Raises
        InvalidParameter when a layer is missing.
        """
        contents = [*more, *(content for one in documents for content in one.contents)]
        if (present := self._present(documents, contents, names)) is not None:
            return present
        prepared = [await self.stores.writer.prepare(one) for one in documents]
        async with self.stores.content.stored(contents):
            with self.stores.images.changing():
                images = []
                for one in prepared:
                    image, target = self.stores.writer.record(one, names=names)
                    images.append(image)
                    for layer, blob in zip(image.layers, one.documents.layers, strict=True):
                        if self.stores.content.has(blob.digest):
                            self.stores.compressed.add(layer.diff_id, blob, "")
                self._publish_names(target, names)
        return images, target

    def _present(
        self, documents: Sequence[ImageDocuments], contents: Iterable[bytes], names: Sequence[Reference]
    ) -> tuple[list[Image], Target] | None:
        """The images and the target where all of it is here, names, too: nothing is to be written then."""
        images = self.stores.images
        target = images.target(documents[0].target.digest)
        found = [images.by_id(digest_of(one.config)) for one in documents]
        known = [one for one in found if one is not None]
        if target is None or len(known) < len(found) or not set(map(str, names)) <= set(images.names_of(target)):
            return None
        if {one.id for one in known} - {one.image_id for one in target.variants}:
            return None
        if not all(self.stores.content.has(digest_of(content)) for content in contents):
            return None
        self._publish_names(target, names)
        return known, target

    def _publish_names(self, target: Target, names: Iterable[Reference]) -> None:
        for name in names:
            publish_image_event(self._events, "tag", self.stores.images.default(target), name.familiar)
