"""Files that commands write: what stands there already is replaced by a whole one, or stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from darse.cli.errors import CliError
from darse.cli.output.files import write_whole


def test_a_file_is_replaced_and_a_link_to_it_stays(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("file")
    write_whole(str(tmp_path / "link"), [b"ne", b"w"], "failed to save")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert (tmp_path / "link").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["file", "link"]


def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    """By root, `-o /dev/null` would be the end of that device for everybody."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    (tmp_path / "link").symlink_to(fifo)
    (tmp_path / "null").symlink_to("/dev/null")
    for path, kind in (
        (fifo, "an irregular file"),
        (tmp_path / "link", "an irregular file"),
        (tmp_path / "null", "a device"),
    ):
        with pytest.raises(CliError, match=f"must be a directory or a regular file: got {kind}"):
            write_whole(str(path), [b"x"], "failed to save")
        assert os.path.lexists(path)
    assert fifo.is_fifo()


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CliError, match=r"failed to save: invalid output path: stat .*none: no such file or directory"):
        write_whole(f"{tmp_path}/none/file", [b"x"], "failed to save")
