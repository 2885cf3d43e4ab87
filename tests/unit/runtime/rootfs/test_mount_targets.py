"""Mounts over /proc, by whatever name, are found before the runtime makes them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from darse.core.errors import InvalidParameter
from darse.runtime.oci.mounts import BindMount, TmpfsMount
from darse.runtime.rootfs import mount_targets
from darse.runtime.rootfs.mount_targets import check_destinations, resolved_target


def check(root: Path, destination: str, source: str = "/etc/hostname") -> None:
    mounts = [BindMount(source, destination, writable=True, propagation="rprivate")]
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        check_destinations(descriptor, str(root), mounts)
    finally:
        os.close(descriptor)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("proc/self", "data", "etc"):
        (tmp_path / name).mkdir(parents=True)
    for name, target in (("up", "/"), ("process", "proc/self"), ("out", "../../../../proc"), ("gone", "/proc/nothing")):
        (tmp_path / name).symlink_to(target)
    (tmp_path / "round").symlink_to("round")
    return tmp_path


@pytest.mark.parametrize(
    "destination", ["/data", "/data/new/deep", "/etc/proc", "/process-not", "/new", "/round/x", "/procfs"]
)
def test_other_places(root: Path, destination: str) -> None:
    check(root, destination)


@pytest.mark.parametrize(
    "destination", ["/proc/self", "/proc/sys/kernel", "/process", "/up/proc/1", "/out/acpi", "/process/new"]
)
def test_inside(root: Path, destination: str) -> None:
    with pytest.raises(InvalidParameter, match="cannot be mounted because it is inside /proc"):
        check(root, destination)


@pytest.mark.parametrize("destination", ["/proc", "/up/proc", "/out"])
def test_over(root: Path, destination: str) -> None:
    with pytest.raises(InvalidParameter, match="cannot be mounted because it is not of type proc"):
        check(root, destination)
    check(root, destination, "/proc")


def test_memory_over(root: Path) -> None:
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        with pytest.raises(InvalidParameter, match="not of type proc"):
            check_destinations(descriptor, str(root), [TmpfsMount("/proc", ())])
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("destination", ["/proc/uptime", "/proc/meminfo", "/up/proc/stat"])
def test_what_lxcfs_shows(root: Path, destination: str) -> None:
    check(root, destination)


@pytest.mark.parametrize("target", ["/etc", "etc", "../../etc", "/nothing"])
def test_a_link_in_the_place_of_dev(root: Path, target: str) -> None:
    check(root, "/data")
    (root / "dev").mkdir()
    check(root, "/data")
    (root / "dev").rmdir()
    (root / "dev").symlink_to(target)
    with pytest.raises(InvalidParameter, match='"/dev" must be a directory'):
        check(root, "/data")


@pytest.mark.parametrize(
    ("destination", "end"),
    [
        ("/", "/"),
        ("/data", "/data"),
        ("/data/new", "/data/new"),
        ("/data/new/deep/er", "/data/new/deep/er"),
        ("/new/deep/er/still", "/new/deep/er/still"),
        ("/up/data/new/deep", "/data/new/deep"),
        ("/process/a/b/c/d", "/proc/self/a/b/c/d"),
        ("/gone", "/gone"),
        ("/gone/a/b", "/gone/a/b"),
        ("/round/a/b/c", "/round/a/b/c"),
        ("/up/up/up/up/data/a", "/data/a"),
    ],
)
def test_where_a_target_ends(root: Path, destination: str, end: str) -> None:
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        assert resolved_target(descriptor, str(root), destination) == end
    finally:
        os.close(descriptor)


def test_memory_far_below_what_is_there_takes_a_few_looks_for_each(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One look for each level of each mount: a start with 800 of them took longer than its client waits."""
    looks: list[str] = []
    open_in_root = mount_targets.open_in_root

    def counted(root_fd: int, path: str, flags: int) -> int:
        looks.append(path)
        return open_in_root(root_fd, path, flags)

    monkeypatch.setattr(mount_targets, "open_in_root", counted)
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        check_destinations(descriptor, str(root), [TmpfsMount("/x" * (level + 1), ()) for level in range(800)])
    finally:
        os.close(descriptor)
    assert len(looks) < 800 * 12
