"""A layer that is recorded where it is has the digest that its archive would have."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from darse.archive.errors import Damaged
from darse.archive.layer_diff import LayerPacker
from darse.archive.layer_record import record_layer
from darse.archive.tar_split import TarSplitReader


def _archive(root: Path, target: Path) -> bytes:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        LayerPacker(descriptor, root=os.fsencode(root)).run()
    finally:
        os.close(descriptor)
    return target.read_bytes()


def _rebuilt(root: Path, recipe: Path) -> bytes:
    """As `Reassembler`, without a root of its own."""
    found = bytearray()
    descriptor = os.open(recipe, os.O_RDONLY)
    try:
        for raw, path, size, segments in TarSplitReader(descriptor):
            found += raw
            content = (root / os.fsdecode(path)).read_bytes() if path else b""
            for offset, count in segments or [(0, size)]:
                found += content[offset : offset + count]
    finally:
        os.close(descriptor)
    return bytes(found)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "fs"
    (root / "d" / "e").mkdir(parents=True)
    (root / "small").write_bytes(b"small\n")
    (root / "empty").touch()
    (root / "d" / "large").write_bytes(os.urandom(3 << 20))
    os.link(root / "small", root / "d" / "linked")
    os.symlink("../small", root / "d" / "link")
    with open(root / "d" / "e" / "sparse", "wb") as file:
        file.write(b"begin")
        file.seek(8 << 20)
        file.write(b"end")
    os.mkfifo(root / "fifo")
    os.setxattr(root / "small", "user.mark", b"1")
    (root / ("n" * 200)).write_bytes(b"long name")
    return root


def test_the_digest_is_that_of_the_archive_and_the_metadata_gives_it_back(tree: Path, tmp_path: Path) -> None:
    archive = _archive(tree, tmp_path / "archive")
    recipe = tmp_path / "recipe"
    descriptor = os.open(recipe, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        answer = record_layer(descriptor, os.fsencode(tree))
    finally:
        os.close(descriptor)
    assert answer["digest"] == hashlib.sha256(archive).hexdigest()
    assert answer["length"] == len(archive)
    assert _rebuilt(tree, recipe) == archive


def test_a_file_that_shrinks_is_no_layer(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pread", lambda *_: b"")
    descriptor = os.open(tmp_path / "recipe", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        with pytest.raises(Damaged, match="became shorter"):
            record_layer(descriptor, os.fsencode(tree))
    finally:
        os.close(descriptor)
