"""Images: what there is, what it is called, and how it comes and goes."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from darse.engine.errors import Conflict, InvalidParameter, NotFound
from darse.engine.events import EventLog
from darse.engine.filters import Filters
from darse.engine.state import State
from darse.engine.times import rfc3339
from darse.images import builtin, references, removal
from darse.images.archives import Archive, Found, Manifest, find_images, write
from darse.images.changes import apply
from darse.images.compression import GZIP, ZSTD, opened
from darse.images.content import ContentStore
from darse.images.layers import LayerStore
from darse.images.model import (
    CONFIG,
    LAYER,
    MANIFEST,
    Descriptor,
    History,
    Image,
    ImageConfig,
    Layer,
    RootFS,
    chain_ids,
    parse_config,
)
from darse.images.references import Reference
from darse.images.snapshots import SnapshotService
from darse.images.store import ImageStore
from darse.images.views import ImageViews, unix
from darse.wire.containers import ContainerConfig
from darse.wire.images import DeleteItem, ImagesPruned, Progress

_PIECE = 1024 * 1024
LIST_FILTERS = ("dangling", "label", "label!", "before", "since", "reference", "until")
# moby's words, which scripts may look for.
_RENAMED = "The image {} already exists, renaming the old one with ID {} to empty string\n"
PRUNE_FILTERS = ("dangling", "label", "label!", "until")


class ImageService(ImageViews):
    """The images room's front door."""

    def __init__(self, data_root: Path, state: State, events: EventLog) -> None:
        super().__init__()
        root = data_root / "images"
        self._events = events
        self._state = state
        self.store = ImageStore(state)
        self.content = ContentStore(root)
        self.layers = LayerStore(root, state, self.content)
        self.snapshots = SnapshotService(data_root, state, self.layers)
        self._assembling = asyncio.Lock()
        self._changing = asyncio.Lock()
        self.snapshots.removed = self._container_removed
        self._content_users = 0
        self._content_left = False

    def open(self, containers: Iterable[str]) -> None:
        """Make the directories and undo what an interrupted engine left; `containers` are the ids that exist."""
        self.content.open()
        self.layers.open()
        self.snapshots.open(containers)
        _, directories = self._drop_unused()
        for directory in directories:
            shutil.rmtree(directory)

    # What there is

    def familiar_name(self, reference: str) -> str:
        """How lists show the image that a container was asked for."""
        image, name = self.store.find(reference)
        return reference if name is not None else image.id

    async def ensure(self, reference: str) -> Image:
        """Return an image, assembling it first when it is a built-in one. Raises NotFound."""
        try:
            return self.get(reference)
        except NotFound:
            name = references.parse(reference)
            short = name.name.removeprefix(builtin.PREFIX)
            if name.name == short or short not in builtin.NAMES or name.tag != "latest" or name.digest:
                raise
        async with self._assembling:
            try:
                return self.get(reference)
            except NotFound:
                return await self._assemble(short, name)

    async def _assemble(self, short: str, name: Reference) -> Image:
        archive, config = await asyncio.to_thread(builtin.assemble, short)
        with self._keeping_content():
            blob = self.content.put(archive, LAYER)
            document = builtin.config_document(config, blob.digest)
            image = await self._commit(document, [blob], None)
        self._tag(name, image)
        return image

    # How it comes

    async def load(self, body: AsyncIterator[bytes], *, quiet: bool) -> AsyncIterator[Progress]:
        """Take the images out of an archive; yield the API's progress messages. Raises InvalidParameter."""
        del quiet  # layers are read from a local file: there is no progress worth a line
        with self._spooled() as spool:
            await _spool(body, spool)
            plain = await asyncio.to_thread(self._plain, spool)
            with open(plain, "rb") as file:
                archive = await asyncio.to_thread(Archive, file)
                for found in await asyncio.to_thread(find_images, archive, builtin.architecture()):
                    image = await self._load_one(archive, found)
                    for name in found.names:
                        reference = references.parse(name)
                        former = self.store.named(reference)
                        if former not in (None, image.id):
                            yield {"stream": _RENAMED.format(reference.familiar, former)}
                        self._tag(reference, image, action="load")
                        yield {"stream": f"Loaded image: {reference.familiar}\n"}
                    if not found.names:
                        self._events.publish("image", "load", image.id, {"name": image.id})
                        yield {"stream": f"Loaded image ID: {image.id}\n"}

    async def _load_one(self, archive: Archive, found: Found) -> Image:
        document = await asyncio.to_thread(archive.small, found.config)
        with self._keeping_content():
            blobs = []
            for member, digest, media_type in found.layers:
                blobs.append(await asyncio.to_thread(self._ingest_layer, archive, member, digest, media_type))
            return await self._commit(document, blobs, found.manifest)

    @contextmanager
    def _keeping_content(self) -> Iterator[None]:
        """Let no removal of another image take blobs that are written or read in the block and not in the database.

        What the block leaves behind when it fails goes with it.
        """
        self._content_users += 1
        try:
            yield
        except BaseException:
            self._content_left = True
            raise
        finally:
            self._content_users -= 1
            if not self._content_users and self._content_left:
                self._drop_content()

    def _drop_content(self) -> None:
        """Remove the blobs that no image needs, now or when nobody is at work on any."""
        self._content_left = self._content_users > 0
        if self._content_left:
            return
        blobs: set[str] = set()
        for image in self.store:
            blobs.update((image.id, image.manifest.digest))
            blobs.update(layer.blob.digest for layer in image.layers)
        self.content.keep_only(blobs.__contains__)

    def _ingest_layer(self, archive: Archive, member: str, digest: str, media_type: str) -> Descriptor:
        with archive.open(member) as file:
            if media_type == LAYER:
                magic = file.read(4)
                file.seek(0)
                media_type += "+gzip" if magic.startswith(GZIP) else "+zstd" if magic.startswith(ZSTD) else ""
            return self.content.ingest_stream(file, media_type, digest)

    async def import_(
        self, body: AsyncIterator[bytes], name: str, changes: list[str], message: str, platform: str
    ) -> AsyncIterator[Progress]:
        """Make an image of one layer from the archive of a root file system; yield progress.

        Raises InvalidParameter.
        """
        reference = references.parse(name) if name else None
        config = apply(ContainerConfig(), changes)
        with self._spooled() as spool:
            await _spool(body, spool)
            plain = await asyncio.to_thread(self._plain, spool)
            with open(plain, "rb") as file, self._keeping_content():
                blob = await asyncio.to_thread(self.content.ingest_stream, file, LAYER)
                document = _imported(config, blob.digest, message or "Imported from -", platform)
                image = await self._commit(msgspec.json.encode(document), [blob], None)
        if reference is not None:
            self._tag(reference, image)
        self._events.publish("image", "import", image.id, {"name": reference.familiar if reference else image.id})
        yield {"status": image.id}

    async def _commit(self, document: bytes, blobs: list[Descriptor], manifest: tuple[bytes, str] | None) -> Image:
        """Unpack the layers of a config and record the image."""
        config = parse_config(document)
        diff_ids = config.rootfs.diff_ids
        if len(diff_ids) != len(blobs):
            raise InvalidParameter(f"invalid image: {len(blobs)} layers, and the config lists {len(diff_ids)}")
        described = self.content.put(document, CONFIG)
        async with self._changing:
            chain = chain_ids(diff_ids)
            try:
                for blob, diff_id, chain_id in zip(blobs, diff_ids, chain, strict=True):
                    await self.layers.ensure(chain_id, diff_id, blob)
            except BaseException:
                await self._delete([])  # the layers before the one that failed
                raise
            raw, media_type = manifest or (
                msgspec.json.encode(Manifest(2, described, blobs, media_type=MANIFEST)),
                MANIFEST,
            )
            image = Image(
                id=described.digest,
                manifest=self.content.put(raw, media_type),
                config_size=described.size,
                config=config,
                layers=tuple(map(Layer, blobs, diff_ids, chain)),
                size=sum(self.layers.size(chain_id) for chain_id in chain),
                stored_ns=time.time_ns(),
            )
            self.store.add(image)
        return image

    def _spooled(self) -> _Spool:
        return _Spool(self.content.temporary())

    def _plain(self, spool: Path) -> Path:
        """Decompress a spooled archive where it is compressed."""
        with open(spool, "rb") as file:
            stream = opened(file)
            if stream is file:
                return spool
            plain = spool.with_suffix(".tar")
            try:
                with open(plain, "xb") as target:
                    shutil.copyfileobj(stream, target, _PIECE)
            except (OSError, EOFError, ValueError) as error:
                raise InvalidParameter(f"invalid archive: {error}") from error
            except Exception as error:
                if type(error).__module__.partition(".")[0] in ("zstandard", "isal", "lzma", "_lzma", "zlib"):
                    raise InvalidParameter(f"invalid archive: {error}") from error
                raise
            return plain

    def save(self, texts: list[str]) -> AsyncIterator[bytes]:
        """Return an archive of images and names, as a stream. Raises NotFound before it begins."""
        chosen: dict[str, tuple[Image, list[str]]] = {}
        for text in texts:
            image, reference = self.store.find(text)
            _, names = chosen.setdefault(image.id, (image, []))
            if reference is not None and reference.familiar not in names:
                names.append(reference.familiar)
        for image, _ in chosen.values():
            self._events.publish("image", "save", image.id, {"name": image.id})
        return self._saved(list(chosen.values()))

    async def _saved(self, chosen: list[tuple[Image, list[str]]]) -> AsyncIterator[bytes]:
        pieces = write(chosen, self.content)
        with self._keeping_content():
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                yield piece

    # What it is called

    def tag(self, source: str, repository: str, tag: str) -> None:
        """Give an image another name. Raises NotFound and InvalidParameter."""
        image = self.get(source)
        reference = references.parse_name(f"{repository}:{tag}" if tag else repository)
        if reference.digest:
            raise InvalidParameter("refusing to create a tag with a digest reference")
        self._tag(references.parse(str(reference)), image)

    def _tag(self, reference: Reference, image: Image, *, action: str = "tag") -> None:
        with self._state.transaction():
            self.store.tag(reference, image.id)
            self._events.publish("image", action, image.id, {"name": reference.familiar})

    # How it goes

    async def remove(self, text: str, *, force: bool, prune: bool) -> list[DeleteItem]:
        """Remove a name and, with its last one, the image.

        Raises NotFound, and Conflict in docker's words while containers or other names need it.
        """
        del prune  # there are no untagged parents to keep
        async with self._changing:
            image, reference = self.store.find(text)
            names = self.store.names(image.id)
            users = self.users(image.id)
            named = removal.names_meant(reference, names) if reference is not None else []
            if named and len(named) < len(names):
                return self._untag(image, named)
            refusal = removal.refusal(image.id, text, names, users, by_name=bool(named), force=force)
            if refusal:
                raise Conflict(refusal)
            items = self._untag(image, names)
            # Forced, and by name: the name goes, and a container that runs keeps the image. A stopped one keeps only
            # the layers, which is what it needs to be started again.
            if not any(user.running for user in users):
                items += await self._delete([image])
            return items

    def _untag(self, image: Image, names: list[str]) -> list[DeleteItem]:
        items = []
        for name in names:
            familiar = references.parse(name).familiar
            with self._state.transaction():
                self.store.untag(name)
                self._events.publish("image", "untag", image.id, {"name": familiar})
            items.append(DeleteItem(Untagged=familiar))
        return items

    async def _delete(self, images: list[Image]) -> list[DeleteItem]:
        with self._state.transaction():
            for image in images:
                self.store.delete(image.id)
                self._events.publish("image", "delete", image.id, {"name": image.id})
        gone, directories = self._drop_unused()
        for directory in directories:
            await asyncio.to_thread(shutil.rmtree, directory)
        return [DeleteItem(Deleted=image.id) for image in images] + [DeleteItem(Deleted=chain) for chain in gone]

    async def _container_removed(self, image_id: str) -> None:
        """Let the layers go that only a container of a removed image still stood on."""
        if self.store.by_id(image_id) is None:
            async with self._changing:
                await self._delete([])

    def _drop_unused(self) -> tuple[list[str], list[Path]]:
        """Forget layers and blobs that no image and no container needs.

        Returns the layers' chain IDs, and directories that remain to be deleted.
        """
        chains = self.snapshots.chains_in_use()
        for image in self.store:
            chains.update(image.chain_ids)
        gone = [chain for chain in self.layers.sizes() if chain not in chains]
        self._drop_content()
        return gone, self.layers.remove(gone)

    async def prune(self, filters: Filters) -> ImagesPruned:
        """Remove images that nothing names (or, with `dangling=false`, that no container uses)."""
        only_dangling = filters.flag("dangling") is not False
        until = filters.until_ns()
        before = self.layers_size()
        items: list[DeleteItem] = []
        chosen: list[Image] = []
        async with self._changing:
            for image in self.store:
                names = self.store.names(image.id)
                if (only_dangling and names) or self.users(image.id):
                    continue
                labels = image.container_config().Labels
                if not filters.labels(labels) or not filters.without_labels(labels):
                    continue
                if until is not None and unix(image.config.created) * 1_000_000_000 >= until:
                    continue
                items += self._untag(image, names)
                chosen.append(image)
            items += await self._delete(chosen)
        reclaimed = before - self.layers_size()
        self._events.publish("image", "prune", "", {"reclaimed": reclaimed})
        return ImagesPruned(items or None, reclaimed)


class _Spool:
    """A temporary file that is gone at the end of the block, and what it was decompressed to."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Path:
        return self._path

    def __exit__(self, *_: object) -> None:
        for path in (self._path, self._path.with_suffix(".tar")):
            path.unlink(missing_ok=True)


def _imported(config: ContainerConfig, diff_id: str, message: str, platform: str) -> ImageConfig:
    """The config of an image of one layer."""
    now = rfc3339(time.time_ns())
    os_name, _, rest = platform.partition("/")
    architecture, _, variant = rest.partition("/")
    return ImageConfig(
        created=now,
        architecture=architecture or builtin.architecture(),
        variant=variant,
        os=os_name or "linux",
        config=config,
        rootfs=RootFS("layers", [diff_id]),
        history=[History(created=now, comment=message)],
        comment=message,
    )


async def _spool(body: AsyncIterator[bytes], path: Path) -> None:
    with open(path, "xb") as file:
        async for piece in body:
            await asyncio.to_thread(file.write, piece)
