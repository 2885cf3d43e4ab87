"""Owners are mapped on the way into a layer, and back on the way out, where the kernel has no id-mapped mounts."""

from __future__ import annotations

import os
from pathlib import Path

from tests.faults.hostile_archives import END, directory, file, header, symlink

from darse.archive import process

RANGES = "0:100000:65536,70000:300000:10"


async def unpacked(tmp_path: Path, archive: bytes) -> dict[str, str]:
    (tmp_path / "archive").write_bytes(archive)
    (tmp_path / "fs").mkdir(exist_ok=True)
    source = os.open(tmp_path / "archive", os.O_RDONLY | os.O_CLOEXEC)
    recipe = os.open(tmp_path / "recipe", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC)
    try:
        return await process.unpack(tmp_path / "fs", source, recipe, owners=RANGES)
    finally:
        os.close(source)
        os.close(recipe)


async def test_owners_are_mapped(tmp_path: Path) -> None:
    archive = (
        directory(b"d", uid=b"0000007\0")
        + file(b"d/f", mode=b"0004755\0")
        + file(b"unlisted/g", uid=b"0210560\0")
        + symlink(b"l", b"f")
        + header(b"p", b"6", gid=b"0000005\0")
        + END
    )
    answer = await unpacked(tmp_path, archive)
    assert "digest" in answer, answer
    found = {
        str(path.relative_to(tmp_path / "fs")): (path.lstat().st_uid, path.lstat().st_gid)
        for path in (tmp_path / "fs").rglob("*")
    }
    assert found == {
        "d": (100007, 100000),
        "d/f": (100000, 100000),
        "unlisted": (100000, 100000),
        "unlisted/g": (300000, 100000),
        "l": (100000, 100000),
        "p": (100000, 100005),
    }
    assert (tmp_path / "fs/d/f").stat().st_mode & 0o7777 == 0o4755


async def test_an_owner_outside_of_the_ranges_is_refused(tmp_path: Path) -> None:
    answer = await unpacked(tmp_path, file(uid=b"0210557\0") + END)
    assert answer == {"error": "Container ID 69999 cannot be mapped to a host ID"}
