"""Which layers the images need that containers mount."""

from __future__ import annotations

from pathlib import Path

import pytest

from darse.core.errors import SystemFault
from darse.core.state import State
from darse.engine.engine import SCHEMAS
from darse.images.content.store import ContentStore
from darse.images.layers.remapped import RemappedLayers
from darse.images.layers.store import LayerStore
from darse.images.snapshots.mounted_images import MountedImages
from darse.images.snapshots.owners import SnapshotOwners


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (b'{"document_version": 2, "chain": []}', "was written by a newer darse.*: upgrade darse"),
        (b"x", "is damaged.*check --rebuild"),
    ],
)
def test_an_image_whose_record_cannot_be_read_is_not_mounted_empty(tmp_path: Path, kept: bytes, said: str) -> None:
    state = State(tmp_path / "state.sqlite", SCHEMAS)
    content = ContentStore(tmp_path / "images")
    content.open()
    layers = LayerStore(tmp_path / "images", state, content)
    remapped = RemappedLayers(tmp_path / "images", layers, content)
    mounted = MountedImages(state, SnapshotOwners(state, layers, remapped))
    mounted.hold("box", {"image": ("sha256:a", "sha256:b")})
    assert mounted.chain_of("box", "image") == ["sha256:a", "sha256:b"]
    assert mounted.chain_of("box", "other") == []
    with state.transaction() as connection:
        connection.execute("UPDATE mounted_images SET chain = ?", (kept,))
    with pytest.raises(SystemFault, match=said):
        mounted.chain_of("box", "image")
    assert mounted.images_of("box") == ["image"]
    state.close()
