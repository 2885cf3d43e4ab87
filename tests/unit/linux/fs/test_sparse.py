from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from darse.linux.fs import sparse
from darse.linux.fs.sparse import copy_data, share_data


@pytest.mark.parametrize("copy", [copy_data, share_data])
@pytest.mark.parametrize("pieces", [8 << 20, 64 << 10])
def test_a_copy_has_the_content_and_the_holes(
    copy: Callable[[int, int, os.stat_result], None], pieces: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse, "_FLUSHED_PIECE", pieces)
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        file.write(os.urandom(200_000))
        file.seek(50 << 20)
        file.write(os.urandom(100_000))
        file.truncate(100 << 20)
    reading = os.open(source, os.O_RDONLY)
    writing = os.open(target, os.O_WRONLY | os.O_CREAT)
    copy(reading, writing, os.fstat(reading))
    os.close(reading)
    os.close(writing)
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_blocks * 512 < 1 << 20


@pytest.mark.parametrize("copy", [copy_data, share_data])
@pytest.mark.parametrize("size", [0, 1, 4096, 100_001])
def test_a_file_without_holes_is_not_asked_for_them(
    copy: Callable[[int, int, os.stat_result], None], size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(size)
    (tmp_path / "source").write_bytes(content)
    reading = os.open(tmp_path / "source", os.O_RDONLY)
    os.fsync(reading)  # it has its blocks
    writing = os.open(tmp_path / "target", os.O_WRONLY | os.O_CREAT)
    if os.fstat(reading).st_blocks * 512 >= size:
        monkeypatch.setattr(sparse, "data_segments", lambda *_: pytest.fail("it was asked for holes"))
    copy(reading, writing, os.fstat(reading))
    os.close(reading)
    os.close(writing)
    assert (tmp_path / "target").read_bytes() == content


def test_the_disk_writes_while_the_rest_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(sparse, "_FLUSHED_PIECE", 64 << 10)
    monkeypatch.setattr(os, "posix_fadvise", lambda _, start, length, __: told.append((start, length)))
    (tmp_path / "source").write_bytes(os.urandom(150_000))
    reading = os.open(tmp_path / "source", os.O_RDONLY)
    writing = os.open(tmp_path / "target", os.O_WRONLY | os.O_CREAT)
    share_data(reading, writing, os.fstat(reading))
    os.close(reading)
    os.close(writing)
    assert told == [(0, 64 << 10), (64 << 10, 64 << 10)]
