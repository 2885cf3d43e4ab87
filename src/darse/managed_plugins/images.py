"""What a plugin is made of: a config and layers, from a registry or from an archive, and to a registry."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from darse.archive import process
from darse.archive.pipe_source import PipeSource
from darse.core.errors import InvalidParameter, SystemFault
from darse.image_spec.digests import chain_ids
from darse.image_spec.manifests import Descriptor, Manifest
from darse.images import ImageService, references
from darse.images.model import Layer
from darse.images.progress import LayerProgress, LayerStage, PullStarted, Report
from darse.linux.fs.files import read_regular
from darse.managed_plugins.model import CONFIG_TYPE, PluginRecord, check_config, check_granted, privileges, read_config
from darse.wire.plugins import PluginPrivilege

if TYPE_CHECKING:
    from darse.distribution import Credentials
    from darse.images.references import Reference
    from darse.images.transfer.artifacts import ArtifactTransfers
    from darse.images.transfer.service import RegistryService

_CONFIG_LIMIT = 4 << 20


class PluginImage(NamedTuple):
    """A plugin's config, byte for byte, and its layers, which are in the store."""

    config: bytes
    layers: list[Layer]


class PluginImages:
    """Fetches, unpacks and pushes them."""

    def __init__(self, images: ImageService, registries: RegistryService) -> None:
        self._images = images
        self._registries = registries

    @property
    def _artifacts(self) -> ArtifactTransfers:
        # Only now: an engine without plugins does not load what transfers need.
        return self._registries.artifacts

    async def privileges(self, reference: Reference, credentials: Credentials | None) -> list[PluginPrivilege]:
        """What the plugin of a registry asks for. Raises EngineError."""
        _, config = await self._documents(reference, credentials)
        return privileges(read_config(config))

    async def _documents(self, reference: Reference, credentials: Credentials | None) -> tuple[Manifest, bytes]:
        found = await self._artifacts.manifest(reference, credentials)
        if not isinstance(found, Manifest) or found.config.media_type != CONFIG_TYPE:
            raise InvalidParameter(f"{reference.familiar} is no plugin")
        return found, await self._artifacts.blob(reference, credentials, found.config, _CONFIG_LIMIT)

    @contextlib.asynccontextmanager
    async def fetched(
        self, reference: Reference, granted: list[PluginPrivilege], credentials: Credentials | None, report: Report
    ) -> AsyncIterator[PluginImage]:
        """Have the plugin of a registry in the store, during the block. Raises EngineError."""
        manifest, content = await self._documents(reference, credentials)
        config = read_config(content)
        check_granted(config, granted)
        # What is refused until here is an answer of its own.
        report(PullStarted(reference))
        diff_ids = config.rootfs.diff_ids
        if len(diff_ids) != len(manifest.layers):
            raise InvalidParameter(f"{reference.familiar}: its manifest and its config differ in their layers")
        layers = [
            Layer(blob, diff_id, chain)
            for blob, diff_id, chain in zip(manifest.layers, diff_ids, chain_ids(diff_ids), strict=True)
        ]
        async with self._images.lease() as lease:
            lease.hold(*(one.chain_id for one in layers))
            for layer in layers:
                if not self._images.has_layer(layer.chain_id):
                    report(LayerProgress(layer.blob.digest, LayerStage.DOWNLOADING))
                    await self._artifacts.fetch_layer(reference, credentials, layer)
                report(LayerProgress(layer.blob.digest, LayerStage.PULLED))
            yield PluginImage(content, layers)

    @contextlib.asynccontextmanager
    async def unpacked(self, archive: AsyncIterator[bytes], staged: Path) -> AsyncIterator[PluginImage]:
        """Have the plugin of an archive with `config.json` and `rootfs/` in the store, during the block.

        `staged` is an empty directory. Raises EngineError.
        """
        await _unpack(archive, staged)
        try:
            content = read_regular(staged / "config.json")
        except OSError as error:
            raise InvalidParameter("the archive of a plugin has a file config.json, and this one has none") from error
        if not (staged / "rootfs").is_dir() or (staged / "rootfs").is_symlink():
            raise InvalidParameter("the archive of a plugin has a directory rootfs, and this one has none")
        check_config(read_config(content))
        async with self._images.lease() as lease:
            layer = await self._images.commit_layer(staged / "rootfs", None)
            lease.hold(layer.chain_id)
            document = {key: value for key, value in msgspec.json.decode(content).items() if key != "rootfs"}
            document["rootfs"] = {"type": "layers", "diff_ids": [layer.diff_id]}
            yield PluginImage(msgspec.json.encode(document), [layer])

    async def push(self, plugin: PluginRecord, credentials: Credentials | None) -> Descriptor:
        """Push a plugin under its name. Raises EngineError."""

        def with_config(blobs: Sequence[Descriptor]) -> tuple[bytes, str, list[Descriptor]]:
            return plugin.config, CONFIG_TYPE, list(blobs)

        async with self._images.lease() as lease:
            lease.hold(*(one.chain_id for one in plugin.layers))
            name = references.parse(plugin.name)
            return await self._artifacts.push(name, credentials, plugin.layers, with_config)


async def _unpack(archive: AsyncIterator[bytes], directory: Path) -> None:
    source = PipeSource(-1)

    async def read() -> dict[str, str]:
        reading = source.open()
        try:
            return await process.import_volume(directory, reading)
        finally:
            os.close(reading)

    try:
        answer = await source.fed_by(archive, read())
    except process.WorkerFailed as error:
        raise SystemFault(str(error)) from error
    if "error" in answer:
        raise InvalidParameter(f"the archive of the plugin: {answer['error']}")
    if "fault" in answer:
        raise SystemFault(f"cannot unpack the archive of the plugin: {answer['fault']}")
