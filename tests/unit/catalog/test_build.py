"""What the catalogue's builder is made of: layers of changes, and Dockerfiles."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from tests.catalog import layers
from tests.catalog.dockerfile import read


def test_a_layer_is_what_has_changed(tmp_path: Path) -> None:
    tree, blobs = tmp_path / "tree", tmp_path / "blobs"
    (tree / "kept").mkdir(parents=True)
    blobs.mkdir()
    for name in ("kept/same", "kept/gone", "kept/changed"):
        (tree / name).write_text(name)
    before = layers.look(tree)
    (tree / "kept/gone").unlink()
    (tree / "kept/changed").write_text("kept/CHANGED")
    (tree / "new").write_text("new")
    (tree / "kept/link").hardlink_to(tree / "new")
    paths = layers.changed(before, layers.look(tree))
    assert paths == ["kept", "kept/.wh.gone", "kept/changed", "kept/link", "new"]
    layer = layers.pack(tree, paths, blobs, since=0)
    with tarfile.open(blobs / layer.digest.removeprefix("sha256:")) as archive:
        found = {member.name: member for member in archive}
    assert found["new"].linkname == "kept/link"
    assert {member.mtime for member in found.values()} == {layers.EPOCH}
    again = layers.pack(tree, paths, blobs, since=0)
    assert again == layer
    copy = tmp_path / "copy"
    (copy / "kept").mkdir(parents=True)
    (copy / "kept/gone").write_text("from below")
    layers.unpack([layer], blobs, copy)
    assert not (copy / "kept/gone").exists()
    assert (copy / "kept/changed").read_text() == "kept/CHANGED"


@pytest.mark.parametrize("text", ["FROM scratch\nARG x\n", "FROM scratch\nENV a b\n"])
def test_what_a_dockerfile_cannot_have_here_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(text)
    with pytest.raises(ValueError, match=r"catalogue's Dockerfiles have no ARG|ENV wants KEY=VALUE"):
        [instruction.pairs() for stage in read(tmp_path / "Dockerfile") for instruction in stage.instructions]
