"""What a plugin is made of, from a registry in memory."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from darse.core.errors import InvalidParameter
from darse.image_spec.manifests import Descriptor, Manifest
from darse.image_spec.media_types import OCI_LAYER, OCI_MANIFEST
from darse.images import references
from darse.images.progress import LayerProgress, LayerStage, PullStarted, TransferEvent
from darse.managed_plugins.images import PluginImages
from darse.managed_plugins.model import CONFIG_TYPE
from darse.testing.clock import in_fake_time
from darse.testing.room import container_room

REFERENCE = references.parse("registry.test/me/gate:1")
LAYERS = [Descriptor(OCI_LAYER, f"sha256:{digit * 64}", 1) for digit in "ab"]
DIFF_IDS = [f"sha256:{digit * 64}" for digit in "cd"]


def _images(images: Any, *, manifest: Manifest, config: dict[str, Any]) -> tuple[PluginImages, mock.AsyncMock]:
    artifacts = mock.AsyncMock()
    artifacts.manifest.return_value = manifest
    artifacts.blob.return_value = json.dumps(config).encode()
    registries: Any = SimpleNamespace(artifacts=artifacts)
    return PluginImages(images, registries), artifacts


@in_fake_time
async def test_layers_that_are_missing_are_fetched_and_each_is_reported(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        images = room.dependencies.images
        manifest = Manifest(config=Descriptor(CONFIG_TYPE, DIFF_IDS[0], 1), layers=LAYERS)
        plugins, artifacts = _images(images, manifest=manifest, config={"rootfs": {"diff_ids": DIFF_IDS}})
        reported: list[TransferEvent] = []
        present = mock.patch.object(images.stores.layers, "exists", lambda chain: chain == DIFF_IDS[0])
        with present:
            async with plugins.fetched(REFERENCE, [], None, reported.append) as image:
                assert [layer.diff_id for layer in image.layers] == DIFF_IDS
        assert [call.args[2].diff_id for call in artifacts.fetch_layer.await_args_list] == DIFF_IDS[1:]
        assert reported == [
            PullStarted(REFERENCE),
            LayerProgress(LAYERS[0].digest, LayerStage.PULLED),
            LayerProgress(LAYERS[1].digest, LayerStage.DOWNLOADING),
            LayerProgress(LAYERS[1].digest, LayerStage.PULLED),
        ]


@pytest.mark.parametrize(
    ("media_type", "config", "reason"),
    [
        (OCI_MANIFEST, {}, "is no plugin"),
        (CONFIG_TYPE, {"ipcHost": True}, "incorrect privileges"),
        (CONFIG_TYPE, {"rootfs": {"diff_ids": DIFF_IDS[:1]}}, "differ in their layers"),
    ],
)
@in_fake_time
async def test_what_is_refused_fetches_nothing(
    tmp_path: Path, media_type: str, config: dict[str, Any], reason: str
) -> None:
    async with container_room(tmp_path) as room:
        manifest = Manifest(config=Descriptor(media_type, DIFF_IDS[0], 1), layers=LAYERS)
        plugins, artifacts = _images(room.dependencies.images, manifest=manifest, config=config)
        with pytest.raises(InvalidParameter, match=reason):
            await plugins.fetched(REFERENCE, [], None, lambda _: None).__aenter__()
        artifacts.fetch_layer.assert_not_awaited()
