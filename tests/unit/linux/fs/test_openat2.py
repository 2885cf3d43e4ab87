from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from darse.linux.fs.openat2 import make_directories, open_beneath, open_in_root, open_without_links, read_regular


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/file").write_text("inside")
    (tmp_path / "file").write_text("outside")
    (root / "absolute").symlink_to("/etc/file")
    (root / "climbing").symlink_to("../../../../etc/file")
    (root / "leaving").symlink_to("../file")
    (root / "directory").symlink_to("/etc")
    (root / "magic").symlink_to("/proc/self/root")
    return root


@pytest.fixture
def root_fd(root: Path) -> Iterator[int]:
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize("path", ["/etc/file", "etc/file", "absolute", "climbing", "directory/file", "../../etc/file"])
def test_every_way_ends_inside_the_root(root_fd: int, path: str) -> None:
    assert read_regular(root_fd, path, 100) == b"inside"


@pytest.mark.parametrize("path", ["leaving", "magic/etc/hostname", "etc", "none", "etc/file/below"])
def test_what_is_outside_or_no_file_is_absent(root_fd: int, path: str) -> None:
    assert read_regular(root_fd, path, 100) is None


def test_reading_stops_at_the_limit(root_fd: int) -> None:
    assert read_regular(root_fd, "etc/file", 3) == b"ins"


@pytest.mark.parametrize("path", ["absolute", "leaving", "../file", "/etc/file", "magic"])
def test_beneath_refuses_what_leaves(root_fd: int, path: str) -> None:
    with pytest.raises(OSError, match=r"cross-device|Too many levels"):
        open_beneath(root_fd, path, os.O_PATH)


def test_without_links_refuses_any(root_fd: int) -> None:
    os.close(open_without_links(root_fd, "etc/file", os.O_PATH))
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        open_without_links(root_fd, "directory/file", os.O_PATH)


def test_directories_are_made_inside(root: Path, root_fd: int, tmp_path: Path) -> None:
    os.close(make_directories(root_fd, "/directory/a/../b/./c", 0o711))
    assert (root / "etc/b/c").is_dir()
    assert not (tmp_path / "etc").exists()
    with pytest.raises(NotADirectoryError):
        make_directories(root_fd, "/etc/file/x")
    (root / "dangling").symlink_to("/not/there")
    with pytest.raises(FileExistsError):
        make_directories(root_fd, "/dangling/x")


def test_descriptors_are_not_inherited(root_fd: int) -> None:
    descriptor = open_in_root(root_fd, "/etc", os.O_PATH)
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)
