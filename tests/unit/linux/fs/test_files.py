from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from darse.linux.fs.files import NotRegular, measure, open_regular, read_regular, write_atomically


def test_files_count_once_and_links_not_at_all(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "one").write_bytes(b"x" * 100)
    (tree / "sub/two").write_bytes(b"x" * 11)
    os.link(tree / "one", tree / "sub/again")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/big").write_bytes(b"x" * 5000)
    (tree / "out").symlink_to(tmp_path / "outside")
    assert measure(tree).size == 100 + 11 + (tree / "out").lstat().st_size


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def make_link(path: Path) -> None:
    path.symlink_to(path.parent)


@pytest.mark.parametrize("make", [os.mkfifo, make_socket, make_link, Path.mkdir])
def test_only_regular_files_are_opened(tmp_path: Path, make: Callable[[Path], object]) -> None:
    path = tmp_path / "file"
    make(path)
    for flags in (os.O_RDONLY, os.O_WRONLY | os.O_CREAT):
        with pytest.raises((NotRegular, IsADirectoryError)):
            open_regular(path, flags)
    with pytest.raises(NotRegular, match=f"not a regular file: {path}"):
        read_regular(path)


def test_what_has_the_name_of_a_file_of_the_engine_gives_way(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for new in (path, tmp_path / ".file.new"):
        os.mkfifo(new)
    write_atomically(path, b"content")
    assert read_regular(path) == b"content"
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_that_cannot_be_written_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(path, b"content")
    assert os.listdir(tmp_path) == ["file"]
