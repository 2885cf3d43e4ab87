"""docker's tar-split metadata: recipes of it, and what is damaged."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from darse.archive.convert_tar_split import TarSplitConverter
from darse.archive.errors import Damaged
from darse.archive.tar_split import TarSplitReader

_FILES = {"a": b"one", "directory/b": b"x" * 300_000, "empty": b"", "directory/\udcff": b"latin"}


@pytest.fixture
def layer(tmp_path: Path) -> tuple[Path, bytes, list[dict[str, Any]]]:
    """A directory with files, their archive, and what tar-split has of that."""
    root = tmp_path / "fs"
    (root / "directory").mkdir(parents=True)
    entries: list[dict[str, Any]] = []
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in _FILES.items():
            Path(root, name).write_bytes(content)
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    archive, position = stream.getvalue(), 0
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            entries.append(segment(archive[position : member.offset_data]))
            raw = os.fsencode(member.name)
            named = {"name": member.name} if raw.isascii() else {"name_raw": base64.b64encode(raw).decode()}
            entries.append({"type": 1, **named, "size": member.size, "payload": "AAAAAAAAAAA="})
            position = member.offset_data + member.size
    entries.append(segment(archive[position:]))
    return root, archive, entries


def segment(data: bytes) -> dict[str, Any]:
    return {"type": 2, "payload": base64.b64encode(data).decode()}


def converted(root: Path, metadata: bytes) -> tuple[bytes, TarSplitConverter]:
    source, recipe = root.parent / "metadata", root.parent / "recipe"
    source.write_bytes(metadata)
    with open(source, "rb") as reading, open(recipe, "wb") as writing:
        converter = TarSplitConverter(reading.fileno(), writing.fileno(), str(root))
        try:
            return converter.run(), converter
        finally:
            converter.close()


def packed(entries: list[dict[str, Any]]) -> bytes:
    return gzip.compress(b"".join(json.dumps(entry).encode() + b"\n" for entry in entries))


def test_the_archive_is_that_of_docker(layer: tuple[Path, bytes, list[dict[str, Any]]]) -> None:
    root, archive, entries = layer
    digest, converter = converted(root, packed(entries))
    assert digest == hashlib.sha256(archive).digest()
    assert (converter.length, converter.content) == (len(archive), sum(map(len, _FILES.values())))
    rebuilt = b""
    with open(root.parent / "recipe", "rb") as recipe:
        reader = TarSplitReader(recipe.fileno())
        for raw, path, size, _ in reader:
            rebuilt += raw
            if path:
                rebuilt += Path(os.fsencode(root).decode(), os.fsdecode(path)).read_bytes()[:size]
    assert rebuilt == archive
    assert (reader.head.digest, reader.head.length) == (digest, len(archive))


def test_a_file_that_was_changed_makes_another_digest(layer: tuple[Path, bytes, list[dict[str, Any]]]) -> None:
    root, archive, entries = layer
    (root / "a").write_bytes(b"two")
    assert converted(root, packed(entries))[0] != hashlib.sha256(archive).digest()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda root: (root / "a").unlink(), "'a' cannot be read"),
        (lambda root: (root / "a").write_bytes(b"tw"), "'a' is no regular file of 3 bytes"),
        (lambda root: ((root / "a").unlink(), (root / "a").symlink_to("/etc/passwd")), "'a' cannot be read"),
        (lambda root: ((root / "a").unlink(), os.mkfifo(root / "a")), "'a' is no regular file"),
    ],
    ids=["gone", "shorter", "link", "fifo"],
)
def test_files_that_are_not_the_layers(
    layer: tuple[Path, bytes, list[dict[str, Any]]], change: Any, reason: str
) -> None:
    root, _, entries = layer
    change(root)
    with pytest.raises(Damaged, match=reason):
        converted(root, packed(entries))


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        (b"", "not whole"),
        (b"{}", "is damaged"),
        (gzip.compress(b'{"type":2,"payload":"AAAA"}\n' * 99)[:-12], "not whole|damaged"),
        (gzip.compress(b"[1]\n"), "a line that is none"),
        (gzip.compress(b"[" * 100_000 + b"\n"), "a line that is none"),
        (gzip.compress(b'{"type":2,"payload":"="}\n'), "a line that is none"),
        (gzip.compress(b'{"type":9}\n'), "unknown type: 9"),
        (gzip.compress(b'{"type":1,"name":"a","size":"x"}\n'), "a line that is none"),
        (gzip.compress(b'{"type":1,"name":"/","size":1}\n'), "without a name"),
    ],
    ids=["empty", "plain", "cut", "list", "deep", "base64", "type", "size", "name"],
)
def test_metadata_that_is_damaged(
    layer: tuple[Path, bytes, list[dict[str, Any]]], metadata: bytes, reason: str
) -> None:
    with pytest.raises(Damaged, match=reason):
        converted(layer[0], metadata)
