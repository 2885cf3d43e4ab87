"""How images come in archives: `load`, and `import` of a root file system."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from darse.engine.errors import InvalidParameter
from darse.engine.events import EventLog
from darse.engine.times import rfc3339
from darse.images import builtin, references
from darse.images.archives import Archive, Found, find_images
from darse.images.changes import apply
from darse.images.compression import GZIP, ZSTD, opened
from darse.images.content import ContentStore
from darse.images.layers import LayerStore
from darse.images.model import LAYER, Descriptor, History, Image, ImageConfig, RootFS, Target, chain_ids, parse_config
from darse.images.recording import Recorder
from darse.images.store import ImageStore
from darse.images.unused import Hold, Unused
from darse.wire.containers import ContainerConfig
from darse.wire.images import Progress

_PIECE = 1024 * 1024
# moby's words, which scripts may look for.
_RENAMED = "The image {} already exists, renaming the old one with ID {} to empty string\n"


class Loading:
    """Takes images out of archives."""

    def __init__(
        self,
        store: ImageStore,
        content: ContentStore,
        layers: LayerStore,
        recorder: Recorder,
        unused: Unused,
        events: EventLog,
    ) -> None:
        self._store = store
        self._content = content
        self._layers = layers
        self._recorder = recorder
        self._unused = unused
        self._events = events

    async def load(self, body: AsyncIterator[bytes], *, quiet: bool) -> AsyncIterator[Progress]:
        """Take the images out of an archive; yield the API's progress messages. Raises InvalidParameter."""
        del quiet  # layers are read from a local file: there is no progress worth a line
        with self._spooled() as spool:
            await _spool(body, spool)
            plain = await asyncio.to_thread(self._plain, spool)
            with open(plain, "rb") as file:
                archive = await asyncio.to_thread(Archive, file)
                for found in await asyncio.to_thread(find_images, archive, builtin.architecture()):
                    image, target = await self._load_one(archive, found)
                    for name in found.names:
                        reference = references.parse(name)
                        former = self._store.named(reference)
                        if former is not None and self._store.default(former).id != image.id:
                            former_id = self._store.default(former).id
                            yield {"stream": _RENAMED.format(reference.familiar, former_id)}
                        with self._store.changing():
                            self._store.tag(reference, target)
                            self._events.publish("image", "load", image.id, {"name": reference.familiar})
                        yield {"stream": f"Loaded image: {reference.familiar}\n"}
                    if not found.names:
                        self._events.publish("image", "load", image.id, {"name": image.id})
                        yield {"stream": f"Loaded image ID: {image.id}\n"}

    async def _load_one(self, archive: Archive, found: Found) -> tuple[Image, Target]:
        document = await asyncio.to_thread(archive.small, found.config)
        async with self._unused.keeping() as hold:
            blobs = []
            for member, digest, media_type in found.layers:
                blobs.append(await asyncio.to_thread(self._ingest_layer, archive, member, digest, media_type))
            await self.unpack(document, blobs, hold)
            if found.manifest is None:
                return self._recorder.record_made(document, blobs)
            return self._recorder.record(*found.manifest, config=document)

    async def unpack(self, document: bytes, blobs: list[Descriptor], hold: Hold) -> None:
        """Unpack the layers of a config from blobs in the content store."""
        diff_ids = parse_config(document).rootfs.diff_ids
        if len(diff_ids) != len(blobs):
            raise InvalidParameter(f"invalid image: {len(blobs)} layers, and the config lists {len(diff_ids)}")
        chain = chain_ids(diff_ids)
        hold(*chain)
        for blob, diff_id, chain_id in zip(blobs, diff_ids, chain, strict=True):
            await self._layers.ensure_blob(chain_id, diff_id, blob)

    def _ingest_layer(self, archive: Archive, member: str, digest: str, media_type: str) -> Descriptor:
        with archive.open(member) as file:
            if media_type == LAYER:
                magic = file.read(4)
                file.seek(0)
                media_type += "+gzip" if magic.startswith(GZIP) else "+zstd" if magic.startswith(ZSTD) else ""
            return self._content.ingest_stream(file, media_type, digest)

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
            async with self._unused.keeping() as hold:
                with open(plain, "rb") as file:
                    blob = await asyncio.to_thread(self._content.ingest_stream, file, LAYER)
                document = msgspec.json.encode(_imported(config, blob.digest, message or "Imported from -", platform))
                await self.unpack(document, [blob], hold)
                with self._store.changing():
                    image, _ = self._recorder.record_made(document, [blob], names=[reference] if reference else [])
                    name = reference.familiar if reference else image.id
                    if reference:
                        self._events.publish("image", "tag", image.id, {"name": name})
                    self._events.publish("image", "import", image.id, {"name": name})
        yield {"status": image.id}

    def _spooled(self) -> _Spool:
        return _Spool(self._content.temporary())

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
