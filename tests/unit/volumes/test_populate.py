from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from darse.archive.tree_copy import TreeCopy
from darse.core.errors import InvalidParameter
from darse.volumes import populate as module
from darse.volumes.populate import is_empty, populate, recover

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: owners and devices")


class Place:
    """An image's root and a volume."""

    def __init__(self, base: Path) -> None:
        self.root = base / "root"
        self.source = self.root / "data"
        self.source.mkdir(parents=True)
        self.volume = base / "volume"
        self.data = self.volume / "_data"
        self.data.mkdir(parents=True)
        self.fd = os.open(self.root, os.O_PATH | os.O_DIRECTORY)

    def fill(self, destination: str = "/data", subpath: str = "") -> bool:
        return populate(self.fd, destination, self.data, subpath)

    def beside(self) -> list[str]:
        return sorted(path.name for path in self.volume.iterdir())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    os.close(place.fd)


def test_everything_is_copied_and_the_directory_stays_the_same_one(place: Place) -> None:
    """A running container may have mounted it."""
    (place.source / "file").write_text("content")
    (place.source / "file").chmod(0o4751)
    os.utime(place.source / "file", ns=(10**18, 10**18 + 5))
    (place.source / "deep/er").mkdir(parents=True)
    (place.source / "deep/er/one").write_text("1")
    os.link(place.source / "deep/er/one", place.source / "two")
    (place.source / "link").symlink_to("/etc/passwd")
    os.mkfifo(place.source / "fifo", 0o640)
    place.source.chmod(0o2770)
    before = place.data.stat().st_ino
    assert place.fill()
    assert place.data.stat().st_ino == before
    assert (place.data / "file").read_text() == "content"
    assert stat.S_IMODE((place.data / "file").stat().st_mode) == 0o4751
    assert (place.data / "file").stat().st_mtime_ns == 10**18 + 5
    assert (place.data / "two").stat().st_ino == (place.data / "deep/er/one").stat().st_ino
    assert os.readlink(place.data / "link") == "/etc/passwd"
    assert stat.S_ISFIFO((place.data / "fifo").lstat().st_mode)
    assert stat.S_IMODE(place.data.stat().st_mode) == 0o2770
    assert place.beside() == ["_data"]


@needs_root
def test_owners_devices_and_attributes_are_kept(place: Place) -> None:
    (place.source / "file").write_text("x")
    os.setxattr(place.source / "file", "user.note", b"kept")
    # security.capability of version 2: cap_net_raw+ep
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    os.chown(place.source / "file", 1000, 1001)
    os.setxattr(place.source / "file", "security.capability", capability)
    os.mknod(place.source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (place.source / "link").symlink_to("x")
    os.chown(place.source / "link", 5, 6, follow_symlinks=False)
    os.chown(place.source, 7, 8)
    place.fill()
    status = (place.data / "file").stat()
    assert (status.st_uid, status.st_gid) == (1000, 1001)
    assert os.getxattr(place.data / "file", "user.note") == b"kept"
    assert os.getxattr(place.data / "file", "security.capability") == capability
    assert (place.data / "null").stat().st_rdev == os.makedev(1, 3)
    assert (place.data / "link").lstat().st_uid == 5
    assert (place.data.stat().st_uid, place.data.stat().st_gid) == (7, 8)


@needs_root
def test_an_empty_directory_still_gives_its_owner_and_mode(place: Place) -> None:
    place.source.chmod(0o1777)
    os.chown(place.source, 33, 33)
    place.fill()
    assert (place.data.stat().st_uid, stat.S_IMODE(place.data.stat().st_mode)) == (33, 0o1777)


def test_a_volume_that_has_something_is_left_alone(place: Place) -> None:
    (place.source / "new").write_text("x")
    (place.data / "old").write_text("y")
    assert not place.fill()
    assert os.listdir(place.data) == ["old"]


def test_a_destination_that_is_absent_or_a_file(place: Place) -> None:
    assert not place.fill("/none")
    (place.root / "file").write_text("x")
    assert not place.fill("/file/below")
    with pytest.raises(InvalidParameter, match=r"^cannot mount volume over existing file, file exists /file$"):
        place.fill("/file")


def test_links_of_the_image_lead_nowhere_outside(place: Place, tmp_path: Path) -> None:
    """CVE-2018-15664's kind: the destination, and entries below it, are links to the host."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    (place.root / "out").symlink_to(secret)
    (place.root / "up").symlink_to("../secret")
    assert not place.fill("/out")
    assert not place.fill("/up")
    (place.source / "dir").symlink_to(secret)
    place.fill()
    assert (place.data / "dir").is_symlink()
    (place.root / "inside").symlink_to("/data")


def test_holes_stay_holes(place: Place) -> None:
    """A layer can bring a file of a terabyte in a few bytes."""
    with open(place.source / "sparse", "wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 30)
        file.write(b"middle")
    place.fill()
    copied = (place.data / "sparse").stat()
    assert copied.st_size == 1 << 40
    assert copied.st_blocks * 512 < 1 << 20
    with open(place.data / "sparse", "rb") as file:
        file.seek(1 << 30)
        assert file.read(6) == b"middle"


def test_any_depth_is_copied(place: Place) -> None:
    current = place.source
    for _ in range(210):
        current /= "d"
        current.mkdir()
    (current / "leaf").write_text("x")
    os.link(current / "leaf", place.source / "again")
    place.fill()
    copied = place.data / current.relative_to(place.source) / "leaf"
    assert copied.read_text() == "x"
    assert copied.samefile(place.data / "again")


def crash_in(monkeypatch: pytest.MonkeyPatch, name: str, after: int = 0) -> None:
    """Let the module's function `name` fail as if the engine had died there, at its call number `after`."""
    owner = TreeCopy if hasattr(TreeCopy, name) else module
    original: Callable[..., None] = getattr(owner, name)
    calls = iter(range(1000))

    def dying(*arguments: object) -> None:
        if next(calls) >= after:
            raise KeyboardInterrupt
        original(*arguments)

    monkeypatch.setattr(owner, name, dying)


@pytest.mark.parametrize(("step", "after"), [("_copy_file", 0), ("_copy_file", 2), ("sync_file_system", 0)])
def test_a_crash_while_copying_leaves_an_empty_volume(
    place: Place, monkeypatch: pytest.MonkeyPatch, step: str, after: int
) -> None:
    for name in "abcd":
        (place.source / name).write_text(name)
    with monkeypatch.context() as patch:
        crash_in(patch, step, after)
        with pytest.raises(KeyboardInterrupt):
            place.fill()
    assert not os.listdir(place.data)
    recover(place.data)
    assert place.beside() == ["_data"]
    assert place.fill()
    assert sorted(os.listdir(place.data)) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_crash_while_moving_is_completed(place: Place, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    place.source.chmod(0o751)
    for name in "abcd":
        (place.source / name).write_text(name)
    with monkeypatch.context() as patch:
        crash_in(patch, "_rename_noreplace", after)
        with pytest.raises(KeyboardInterrupt):
            place.fill()
    assert len(os.listdir(place.data)) == after
    recover(place.data)
    assert sorted(os.listdir(place.data)) == ["a", "b", "c", "d"]
    assert stat.S_IMODE(place.data.stat().st_mode) == 0o751
    assert place.beside() == ["_data"]


@needs_root
def test_an_empty_directory_in_a_volume_is_filled(place: Place) -> None:
    (place.data / "sub/deep").mkdir(parents=True)
    (place.data / "beside").write_text("kept")
    (place.data / "link").symlink_to("sub/deep")
    (place.source / "file").write_text("x")
    os.chown(place.source, 7, 8)
    assert place.fill(subpath="link")
    assert (place.data / "sub/deep/file").read_text() == "x"
    assert ((place.data / "sub/deep").stat().st_uid, place.data.stat().st_uid) == (7, 0)
    assert place.beside() == ["_data"]
    assert not place.fill(subpath="sub")  # it has `deep`
    assert sorted(os.listdir(place.data)) == ["beside", "link", "sub"]


def test_a_subpath_that_is_no_directory_of_the_volume_is_left_to_the_start(place: Place, tmp_path: Path) -> None:
    (place.source / "file").write_text("x")
    (tmp_path / "host").mkdir()
    (place.data / "out").symlink_to(tmp_path / "host")
    (place.data / "up").symlink_to("../../host")
    (place.data / "circle").symlink_to("circle")
    (place.data / "plain").write_text("x")
    for subpath in ("out", "up", "circle", "plain", "none", "plain/below"):
        assert not is_empty(place.data, subpath)
        assert not place.fill(subpath=subpath)
    assert not os.listdir(tmp_path / "host")
    assert place.beside() == ["_data"]


@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("gone", [False, True])
def test_a_crash_while_a_subpath_is_filled_is_completed_there(
    place: Place, monkeypatch: pytest.MonkeyPatch, after: int, gone: bool
) -> None:
    (place.data / "sub").mkdir()
    for name in "abc":
        (place.source / name).write_text(name)
    with monkeypatch.context() as patch:
        crash_in(patch, "_rename_noreplace", after)
        with pytest.raises(KeyboardInterrupt):
            place.fill(subpath="sub")
    if gone:
        (place.data / "sub").rename(place.data / "moved")
    recover(place.data)
    assert len(os.listdir(place.data / ("moved" if gone else "sub"))) == (after if gone else 3)
    assert os.listdir(place.data) == ["moved" if gone else "sub"]
    assert place.beside() == ["_data"]


def test_what_a_container_put_there_meanwhile_is_not_replaced(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (place.source / "config").write_text("image's")
    original = module._move_in

    def with_rival(volume: Path, target: int) -> None:
        (place.data / "config").write_text("container's")
        original(volume, target)

    monkeypatch.setattr(module, "_move_in", with_rival)
    place.fill()
    assert (place.data / "config").read_text() == "container's"
    assert place.beside() == ["_data"]


def test_two_creations_at_once_copy_once(place: Place) -> None:
    for number in range(50):
        (place.source / str(number)).write_text("x")
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(place.fill())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False, False, False, True]
    assert len(os.listdir(place.data)) == 50


def test_attributes_that_the_volume_s_file_system_lacks_are_no_failure(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.source / "file").write_text("x")
    os.setxattr(place.source / "file", "user.note", b"x")

    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", unsupported)
    assert place.fill()
