"""The reserve of a root: when it is there, and when it is given up."""

import os

import pytest

from darse.recovery import reserve
from darse.recovery.reserve import Reserve

MIB = 1 << 20


@pytest.fixture
def disk(monkeypatch):
    """What the file system says that it has."""
    found = {"f_bavail": 1024, "f_frsize": MIB, "f_files": 1 << 20, "f_favail": 1 << 20}
    monkeypatch.setattr(reserve.os, "statvfs", lambda _: type("Found", (), found)())
    return found


@pytest.fixture
def files(tmp_path):
    return lambda: sorted(os.listdir(tmp_path / "reserve")) if (tmp_path / "reserve").exists() else []


def test_is_made_where_there_is_space(tmp_path, disk, files):
    Reserve(tmp_path, MIB).tend()
    assert os.stat(tmp_path / "reserve" / "blocks").st_blocks * 512 >= MIB
    assert len(files()) == 65


def test_is_not_made_of_the_last_space(tmp_path, disk, files):
    disk["f_bavail"] = 2
    Reserve(tmp_path, MIB).tend()
    assert files() == []


def test_is_given_up_without_inodes_and_made_again(tmp_path, disk, files):
    one = Reserve(tmp_path, MIB)
    one.tend()
    disk["f_favail"] = 0
    one.tend()
    assert files() == []
    disk["f_favail"] = 1 << 20
    one.tend()
    assert len(files()) == 65


def test_is_given_up_when_nothing_can_be_written(tmp_path, disk, files, monkeypatch):
    one = Reserve(tmp_path, MIB)
    one.tend()
    disk["f_bavail"] = 0

    def full(*_):
        raise OSError(28, "full")

    one.tend()
    assert len(files()) == 65  # only what is kept for root is left, and that can be taken
    monkeypatch.setattr(reserve.os, "posix_fallocate", full)
    one.tend()
    assert files() == []


def test_a_file_system_without_a_number_of_inodes_has_enough(tmp_path, disk, files):
    disk["f_files"] = disk["f_favail"] = 0
    Reserve(tmp_path, MIB).tend()
    assert len(files()) == 65
