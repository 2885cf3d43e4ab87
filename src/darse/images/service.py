"""Images: what there is, what it is called, and how it comes and goes. Each operation has a module of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from darse.core.errors import InvalidParameter, NotFound
from darse.core.events import EventLog
from darse.core.state import State
from darse.core.unfinished import Unfinished
from darse.images import builtin, references
from darse.images.archive.load import ImageLoader
from darse.images.archive.save import ImageSaver
from darse.images.content.store import ContentStore
from darse.images.events import publish_image_event
from darse.images.gc.collector import GarbageCollector, Lease
from darse.images.gc.crash_recovery import CrashRecovery
from darse.images.gc.delete import ImageDeletion
from darse.images.gc.delete_policy import ImageUser
from darse.images.gc.fsck import StoreCheck
from darse.images.layers.compressed import CompressedDigests
from darse.images.layers.disk_usage import DiskUsage
from darse.images.layers.remapped import RemappedLayers
from darse.images.layers.store import LayerStore
from darse.images.model import Descriptor, Image
from darse.images.platforms import Platform
from darse.images.references import Reference
from darse.images.snapshots.owners import SnapshotOwners
from darse.images.snapshots.service import SnapshotService
from darse.images.store import FoundImage, ImageStore
from darse.images.transfer.trace import PullRecord
from darse.images.views import ImageViews
from darse.images.writer import ImageWriter
from darse.recovery.startup import Recovery
from darse.runtime.rootfs.trash import Trash

LIST_FILTERS = ("dangling", "label", "label!", "before", "since", "reference", "until")
PRUNE_FILTERS = ("dangling", "label", "label!", "until")


class ImageService(ImageViews):
    """The images room's front door."""

    def __init__(self, data_root: Path, state: State, events: EventLog, *, keep_layer_blobs: bool = False) -> None:
        """`keep_layer_blobs`: archives of layers that came compressed are kept as they came."""
        self.keep_layer_blobs = keep_layer_blobs
        self.pulls = PullRecord()
        root = data_root / "images"
        self._events = events
        self.store = ImageStore(state)
        self.trash = Trash(data_root / "trash")
        self.content = ContentStore(root, self.trash)
        self.layers = LayerStore(root, state, self.content)
        self.layer_blobs = CompressedDigests(state)
        self.shifted = RemappedLayers(root, self.layers, self.content)
        owners = SnapshotOwners(state, self.layers, self.shifted)
        self.snapshots = SnapshotService(data_root, state, self.layers, owners, self.trash)
        unfinished = Unfinished(state)
        self.unused = GarbageCollector(
            self.store, self.content, self.layers, self.snapshots, self.layer_blobs, unfinished
        )
        self.disk_usage = DiskUsage(state, self.content, self.layers, self.shifted)
        self.recorder = ImageWriter(self.store, self.content, self.layers)
        kept_in = self.content if keep_layer_blobs else None
        self._loading = ImageLoader(
            self.store, self.layers, self.layer_blobs, self.recorder, self.unused, events, kept_in
        )
        self._saving = ImageSaver(self.store, self.content, self.layers, self.unused, events)
        self._removing = ImageDeletion(self.store, self.content, events, self.unused, self.disk_usage, self.layer_blobs)
        self.checking = StoreCheck(
            state, self.store, self.content, self.layers, self.snapshots, self.layer_blobs, self.unused
        )
        self.recover = CrashRecovery(self.store, self.layers, self.snapshots, self.unused).recover
        self.close = self.layers.flushing.close
        self._assembling = asyncio.Lock()
        self.snapshots.removed = self._removing.container_removed
        self.load = self._loading.load
        self.import_ = self._loading.import_
        self.save = self._saving.save
        self.remove = self._removing.remove
        self.prune = self._removing.prune

    def open(self, containers: Iterable[str], recovery: Recovery) -> None:
        """Make the directories, finish or undo what an interrupted engine left, and set aside what nobody knows.

        `containers` are the ids of those that exist.
        """
        self.content.open()
        self.layers.open()
        self.layers.sweep(recovery)
        self.shifted.open()
        self.snapshots.open(containers, recovery)
        self.unused.set_aside(recovery)
        for directory in self.unused.forget().directories:
            self.trash.take(directory)
        self.layers.report_lost(recovery)
        # A pull whose image was recorded, and that was killed before it dropped what it had fetched.
        self.content.partials.drop(lambda digest: self.layer_blobs.diff_id(digest) is None)

    # What there is

    @property
    def users(self) -> Callable[[str], list[ImageUser]]:
        """Tells the containers of an image id; the engine sets it."""
        return self._removing.users

    @users.setter
    def users(self, users: Callable[[str], list[ImageUser]]) -> None:
        self._removing.users = users

    def find(self, reference: str, platform: Platform | None = None) -> FoundImage:
        """Return what a name, id, digest or prefix means. Raises NotFound and InvalidParameter."""
        return self.store.find(reference, platform)

    def target_of(self, reference: str) -> Descriptor:
        """What a name, id or digest refers to: a manifest, or an index. Raises NotFound and InvalidParameter."""
        return self.store.find(reference).target.descriptor

    def called(self, reference: str, image_id: str) -> str:
        """How lists show the image of a container: as it was asked for, unless that means another image by now."""
        try:
            found = self.store.find(reference)
        except (NotFound, InvalidParameter):
            return image_id
        images = self.store.images_of(found.target) if found.reference is not None else [found.image]
        return reference if any(image.id == image_id for image in images) else image_id

    async def ensure(self, reference: str, platform: Platform | None = None) -> Image:
        """Return an image, assembling it first when it is a built-in one. Raises NotFound."""
        try:
            return self.store.find(reference, platform).image
        except NotFound:
            name = references.parse(reference)
            short = name.name.removeprefix(builtin.PREFIX)
            if name.name == short or short not in builtin.NAMES or name.tag != "latest" or name.digest:
                raise
            if self.store.named(name) is not None:
                raise  # there, but not for that platform
        async with self._assembling:
            if self.store.named(name) is None:
                await self._assemble(short, name)
        return self.store.find(reference, platform).image

    async def _assemble(self, short: str, name: Reference) -> None:
        archive, config = await asyncio.to_thread(builtin.assemble, short)
        async with self.unused.keeping() as hold:
            blob = await self._loading.one_layer_of(archive, hold)
            document = builtin.config_document(config, blob.digest)
            with self.store.changing():
                image, _ = self.recorder.record_made(document, [blob], names=[name])
                publish_image_event(self._events, "tag", image, name.familiar)

    # How it comes

    async def record(
        self,
        target: bytes,
        media_type: str,
        *,
        config: bytes,
        manifests: Mapping[str, bytes] | None = None,
        names: Sequence[Reference] = (),
    ) -> Image:
        """Record an image whose layers are all in the layer store, in one transaction with its names.

        `target` is the document that the names are to refer to, of `media_type`: the image's manifest, or an index;
        then `manifests` are the documents that came with it, by digest. `config` is the image's config. Call it inside
        `keeping_content()`. Raises InvalidParameter when they do not belong together, or a layer is missing.
        """
        return self.recorder.record(target, media_type, config=config, manifests=manifests, names=names)[0]

    def keeping_content(self) -> AbstractAsyncContextManager[Lease]:
        """Let nothing that is written inside of it be taken by a removal beside it.

        `async with images.keeping_content() as hold: hold(*chain_ids)` names the layers that are needed, those that
        are there already included, before they are looked for. When the block fails, what it left goes.
        """
        return self.unused.keeping()

    # What it is called

    def tag(self, source: str, repository: str, tag: str) -> None:
        """Give an image another name. Raises NotFound and InvalidParameter."""
        found = self.store.find(source)
        reference = references.parse_tag(f"{repository}:{tag}" if tag else repository)
        with self.store.changing():
            self.store.tag(reference, found.target)
            publish_image_event(self._events, "tag", found.image, reference.familiar)
