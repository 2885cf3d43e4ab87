"""Actions of file operations, on trees in a directory of the test."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from darse.build.context import PathNotFound
from darse.build.errors import BuildError
from darse.build.files import apply_change
from darse.build.files.changes import owner_ids
from darse.build.files.rooted_paths import Ids
from darse.build.graph import (
    CopyAction,
    FileOwner,
    MkdirAction,
    MkfileAction,
    RemoveAction,
    SymlinkAction,
    UserName,
)
from darse.build.graph.operations import FileChange
from darse.linux.fs.contained import ENTER, ENTRY, Walk, remove_tree

_LINK = "-> "


class Trees:
    """A source and a target."""

    def __init__(self, directory: Path) -> None:
        self.source, self.target = directory / "source", directory / "target"
        self.source.mkdir()
        self.target.mkdir()

    def apply(self, change: FileChange) -> None:
        """Apply an action to the target."""
        flags = os.O_RDONLY | os.O_DIRECTORY
        source, target = os.open(self.source, flags), os.open(self.target, flags)
        try:
            apply_change(change, target, source, lambda _: target)
        finally:
            os.close(source)
            os.close(target)


@pytest.fixture
def trees(tmp_path: Path) -> Iterator[Trees]:
    """With nothing that is left open."""
    before = len(os.listdir("/proc/self/fd"))
    yield Trees(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before


def fill(root: Path, files: Mapping[str, str | None]) -> None:
    """Contents by path; None is a directory, `-> x` a link."""
    for path, content in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            place.mkdir(exist_ok=True)
        elif content.startswith(_LINK):
            place.symlink_to(content.removeprefix(_LINK))
        else:
            place.write_text(content)


def listed(root: Path) -> dict[str, str | None]:
    """As `fill` takes it; directories only where they are empty."""
    found: dict[str, str | None] = {}
    for directory, names, files in os.walk(root):
        below = Path(directory)
        if not names and not files and below != root:
            found[str(below.relative_to(root))] = None
        for name in [*names, *files]:
            place = below / name
            if place.is_symlink():
                found[str(place.relative_to(root))] = _LINK + os.readlink(place)
            elif place.is_file():
                found[str(place.relative_to(root))] = place.read_text()
    return found


def copy(source: str, destination: str, **fields: object) -> CopyAction:
    """As COPY makes them."""
    given: dict[str, object] = {
        "follow_symlink": True,
        "copy_directory_contents": True,
        "create_destination": True,
        "allow_wildcard": True,
        "allow_empty_wildcard": True,
    }
    return CopyAction(source=source, destination=destination, **(given | fields))  # type: ignore[arg-type]


_SOURCE = {"a": "a", "b.c": "b", "d/e": "e", "d/f/g": "g", "d/link": "-> e", "l": "-> d", "empty": None}


@pytest.mark.parametrize(
    ("source", "destination", "there", "expected"),
    [
        ("/a", "/x", {}, {"x": "a"}),
        ("/a", "/x/", {}, {"x/a": "a"}),
        ("/a", "/x/y/z", {}, {"x/y/z": "a"}),
        ("/a", "/x", {"x": "old"}, {"x": "a"}),
        ("/a", "/x", {"x": None}, {"x/a": "a"}),
        ("/a", "/", {}, {"a": "a"}),
        ("/a", "/x", {"x": "-> y", "y": "old"}, {"x": "-> y", "y": "a"}),
        ("/a", "/x/a", {"x": "-> y", "y": None}, {"x": "-> y", "y/a": "a"}),
        ("/a", "/x", {"x": "-> y"}, {"x": "-> y", "y": "a"}),
        ("/d", "/x", {}, {"x/e": "e", "x/f/g": "g", "x/link": "-> e"}),
        ("/d/", "/x/", {"x/old": "1"}, {"x/old": "1", "x/e": "e", "x/f/g": "g", "x/link": "-> e"}),
        ("/d", "/", {"e": "old", "f/h": "h"}, {"e": "e", "f/g": "g", "f/h": "h", "link": "-> e"}),
        ("/", "/", {}, _SOURCE),
        ("/l", "/x", {}, {"x/e": "e", "x/f/g": "g", "x/link": "-> e"}),
        ("/d/link", "/x", {}, {"x": "e"}),
        ("/l/f", "/x", {}, {"x/g": "g"}),
        ("/empty", "/x", {}, {"x": None}),
        ("/*", "/x/", {}, {"x/a": "a", "x/b.c": "b", "x/e": "e", "x/f/g": "g", "x/link": "-> e"}),
        ("/d/[ef]", "/x/", {}, {"x/e": "e", "x/g": "g"}),
        ("/*.none", "/x/", {}, {}),
        ("/b.c", "/link/x", {"link": "-> /inside"}, {"link": "-> /inside", "inside/x": "b"}),
    ],
)
def test_copies(
    trees: Trees, source: str, destination: str, there: dict[str, str | None], expected: dict[str, str | None]
) -> None:
    fill(trees.source, _SOURCE)
    fill(trees.target, there)
    trees.apply(copy(source, destination))
    assert listed(trees.target) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"exclude_patterns": ("**/*.c", "d/f")}, {"a": "a", "d/e": "e", "d/link": "-> e", "l": "-> d", "empty": None}),
        ({"exclude_patterns": ("*", "!d/f/g")}, {"d/f/g": "g"}),
        ({"include_patterns": ("d/f/g",)}, {"d/f/g": "g"}),
        ({"include_patterns": ("d",), "exclude_patterns": ("d/f",)}, {"d/e": "e", "d/link": "-> e"}),
        ({"include_patterns": ("none",)}, {}),
    ],
)
def test_patterns(trees: Trees, fields: dict[str, object], expected: dict[str, str | None]) -> None:
    fill(trees.source, _SOURCE)
    trees.apply(copy("/", "/", **fields))
    assert listed(trees.target) == expected


@pytest.mark.parametrize(
    ("change", "there", "error"),
    [
        (copy("/none", "/"), {}, '"/none": not found'),
        (copy("/d/none", "/"), {}, '"/d/none": not found'),
        (copy("/*.x", "/", allow_empty_wildcard=False), {}, "no matches found"),
        (copy("/", "/", required_paths=("/none",)), {}, '"/none": not found'),
        (copy("/a", "/x/y", create_destination=False), {}, '"/x": not found'),
        (copy("/d", "/x"), {"x": "file"}, "cannot copy to non-directory"),
        (copy("/d", "/x"), {"x/f": "file"}, "cannot copy to non-directory"),
        (copy("/d", "/x"), {"x/e/directory": None}, "cannot replace to directory"),
        (copy("/a", "/x/y"), {"x": "file"}, "is not a directory"),
        (MkdirAction(path="/x/y"), {}, '"/x": not found'),
        (MkdirAction(path="/x"), {"x": "file"}, "is not a directory"),
        (MkfileAction(path="/x/y", data=b""), {}, '"/x": not found'),
        (MkfileAction(path="/x", data=b""), {"x": None}, "it is a directory"),
        (SymlinkAction(path="/x", target="y"), {"x": "file"}, "it is there already"),
        (RemoveAction(path="/x"), {}, '"/x": not found'),
        (RemoveAction(path="/*.x", allow_wildcard=True), {}, "not found"),
        (RemoveAction(path="/", allow_not_found=True), {}, "is no name of a file"),
    ],
)
def test_refuses(trees: Trees, change: FileChange, there: dict[str, str | None], error: str) -> None:
    fill(trees.source, _SOURCE)
    fill(trees.target, there)
    with pytest.raises(BuildError, match=error):
        trees.apply(change)


def test_what_is_of_another_kind_is_replaced_on_request(trees: Trees) -> None:
    fill(trees.source, _SOURCE)
    fill(trees.target, {"x/f": "file", "x/e/directory": None})
    trees.apply(copy("/d", "/x", always_replace=True))
    assert listed(trees.target) == {"x/e": "e", "x/f/g": "g", "x/link": "-> e"}


def test_metadata_is_kept(trees: Trees) -> None:
    fill(trees.source, {"d/e": "e", "d/l": "-> e"})
    (trees.source / "d" / "e").chmod(0o640)
    (trees.source / "d").chmod(0o751)
    for path in ("d/e", "d/l", "d"):
        os.utime(trees.source / path, ns=(5, 7), follow_symlinks=False)
    trees.apply(copy("/d", "/x"))
    for path, mode in (("x/e", 0o640), ("x", 0o751)):
        status = (trees.target / path).lstat()
        assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (mode, 7)
    assert (trees.target / "x" / "l").lstat().st_mtime_ns == 7


def test_a_directory_that_is_there_keeps_its_mode_and_those_below_take_the_source_s(trees: Trees) -> None:
    fill(trees.source, {"d/e/f": "f"})
    fill(trees.target, {"x/e": None})
    for path, mode in ((trees.source / "d", 0o711), (trees.source / "d/e", 0o711), (trees.target / "x", 0o750)):
        path.chmod(mode)
    trees.apply(copy("/d", "/x"))
    assert stat.S_IMODE((trees.target / "x").stat().st_mode) == 0o750
    assert stat.S_IMODE((trees.target / "x/e").stat().st_mode) == 0o711


def test_directories_on_the_way_to_what_is_included_take_the_source_s_mode(trees: Trees) -> None:
    fill(trees.source, {"d/e/f": "f", "d/g": "g"})
    (trees.source / "d").chmod(0o711)
    trees.apply(copy("/", "/x/", include_patterns=("d/e/f",)))
    assert listed(trees.target) == {"x/d/e/f": "f"}
    assert stat.S_IMODE((trees.target / "x/d").stat().st_mode) == 0o711


@pytest.mark.parametrize(
    ("fields", "file", "directory"),
    [({"mode": 0o600}, 0o600, 0o600), ({"mode_text": "go-rwx,u+X"}, 0o600, 0o700), ({}, 0o644, 0o755)],
)
def test_modes(trees: Trees, fields: dict[str, object], file: int, directory: int) -> None:
    fill(trees.source, {"d/e": "e"})
    (trees.source / "d/e").chmod(0o644)
    (trees.source / "d").chmod(0o755)
    trees.apply(copy("/d", "/x", **fields))
    assert stat.S_IMODE((trees.target / "x").stat().st_mode) == directory
    (trees.target / "x").chmod(0o755)
    assert stat.S_IMODE((trees.target / "x/e").stat().st_mode) == file


def test_times_on_request(trees: Trees) -> None:
    fill(trees.source, {"d/e": "e"})
    trees.apply(copy("/d", "/x/y/", timestamp=9))
    for path in ("x", "x/y", "x/y/e"):
        # The directories above are made before what goes into them.
        if path != "x":
            assert (trees.target / path).stat().st_mtime_ns == 9


def test_hard_links_stay_links(trees: Trees) -> None:
    fill(trees.source, {"d/a": "a"})
    (trees.source / "d/e").mkdir()
    os.link(trees.source / "d/a", trees.source / "d/e/b")
    fill(trees.target, {"x/e/b": "old"})
    trees.apply(copy("/d", "/x"))
    assert (trees.target / "x/a").stat().st_ino == (trees.target / "x/e/b").stat().st_ino
    assert (trees.target / "x/a").stat().st_nlink == 2


def test_holes_stay_holes_and_fifos_fifos(trees: Trees) -> None:
    with (trees.source / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    os.mkfifo(trees.source / "fifo", 0o620)
    trees.apply(copy("/", "/x"))
    status = (trees.target / "x/sparse").stat()
    assert (status.st_size, status.st_blocks) == (1 << 30, 0)
    assert stat.S_ISFIFO((trees.target / "x/fifo").stat().st_mode)


@pytest.mark.parametrize("link", ["-> ../../outside", "-> /outside", "-> .."])
def test_nothing_is_written_outside(trees: Trees, tmp_path: Path, link: str) -> None:
    (tmp_path / "outside").mkdir()
    fill(trees.source, {"a": "a", "d/e": "e"})
    fill(trees.target, {"up": link})
    for change in (
        copy("/a", "/up/x"),
        copy("/d", "/up/y"),
        MkdirAction(path="/up/z", make_parents=True),
        copy("/a", "/../../../w"),
    ):
        trees.apply(change)
    assert list((tmp_path / "outside").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "source", "target"]


def test_nothing_is_read_from_outside(trees: Trees, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    fill(trees.source, {"up": "-> ../secret", "host": f"-> {tmp_path}/secret", "d/up": "-> ../../secret"})
    for path in ("/up", "/host", "/d/up", "/d/../../secret"):
        with pytest.raises(PathNotFound):
            trees.apply(copy(path, "/x"))
    trees.apply(copy("/", "/x"))
    assert listed(trees.target)["x/up"] == "-> ../secret"


def test_links_in_a_circle(trees: Trees) -> None:
    fill(trees.source, {"a": "a"})
    fill(trees.target, {"x": "-> y", "y": "-> x"})
    with pytest.raises((BuildError, OSError)):
        trees.apply(copy("/a", "/x"))


def test_deep_trees(trees: Trees) -> None:
    directory = os.open(trees.source, os.O_RDONLY)
    for _ in range(600):
        os.mkdir("directory", dir_fd=directory)
        inner = os.open("directory", os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = inner
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=directory))
    os.close(directory)
    trees.apply(copy("/", "/x"))
    root = os.open(trees.target, os.O_RDONLY)
    steps = [kind for kind, *_ in Walk(root)]
    os.close(root)
    assert (steps.count(ENTER), steps.count(ENTRY)) == (601, 1)
    for tree in (trees.source, trees.target):  # pytest's own removal is not so deep
        remove_tree(tree)


def test_files_and_directories(trees: Trees) -> None:
    trees.apply(MkdirAction(path="/a/b", make_parents=True, mode=0o750, timestamp=3))
    trees.apply(MkfileAction(path="/a/b/c", data=b"\x00c", mode=0o400, timestamp=4))
    trees.apply(MkfileAction(path="/a/b/c", data=b"again", mode=0o4755))
    trees.apply(SymlinkAction(path="/a/l", target="b/c", timestamp=5))
    trees.apply(MkfileAction(path="/a/l", data=b"through"))
    trees.apply(MkdirAction(path="/a/b", mode=0o700))
    assert listed(trees.target) == {"a/b/c": "through", "a/l": "-> b/c"}
    assert stat.S_IMODE((trees.target / "a/b").stat().st_mode) == 0o750
    assert (trees.target / "a/l").lstat().st_mtime_ns == 5


def test_a_file_takes_the_place_of_a_fifo(trees: Trees) -> None:
    os.mkfifo(trees.target / "x")
    trees.apply(MkfileAction(path="/x", data=b"x"))
    fill(trees.source, {"a": "a"})
    os.mkfifo(trees.target / "y")
    trees.apply(copy("/a", "/y"))
    assert listed(trees.target) == {"x": "x", "y": "a"}


def test_removes(trees: Trees) -> None:
    fill(trees.target, {"a": "a", "b.c": "b", "d/e": "e", "l": "-> d", "x.c": "x"})
    trees.apply(RemoveAction(path="/l"))
    trees.apply(RemoveAction(path="/*.c", allow_wildcard=True))
    trees.apply(RemoveAction(path="/none", allow_not_found=True))
    assert listed(trees.target) == {"a": "a", "d/e": "e"}
    trees.apply(RemoveAction(path="/d"))
    assert listed(trees.target) == {"a": "a"}


def _archive(path: Path, names: list[str], mode: str = "w:gz") -> None:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size, entry.uid, entry.gid = 1, os.geteuid(), os.getegid()
            archive.addfile(entry, io.BytesIO(b"x"))


def test_archives_are_unpacked(trees: Trees) -> None:
    _archive(trees.source / "a.tar.gz", ["b/c", "d"])
    (trees.source / "text").write_text("text")
    trees.apply(copy("/a.tar.gz", "/x", unpack=True))
    trees.apply(copy("/text", "/y", unpack=True))
    assert listed(trees.target) == {"x/b/c": "x", "x/d": "x", "y": "text"}
    trees.apply(copy("/a.tar.gz", "/z/"))
    assert (trees.target / "z/a.tar.gz").is_file()


def test_archives_do_not_climb(trees: Trees, tmp_path: Path) -> None:
    _archive(trees.source / "a.tar", ["../../../outside"], "w")
    with pytest.raises(BuildError, match="outside of the destination"):
        trees.apply(copy("/a.tar", "/x", unpack=True))
    fill(trees.target, {"y/up": "-> ../../.."})
    _archive(trees.source / "b.tar", ["up/z"], "w")
    trees.apply(copy("/b.tar", "/y", unpack=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]


def test_owners_by_name_are_those_of_the_tree(trees: Trees) -> None:
    fill(trees.target, {"etc/passwd": "me:x:7:8::/:/x\n", "etc/group": "us:x:9:\n"})
    root = os.open(trees.target, os.O_RDONLY)
    try:
        for owner, expected in (
            (FileOwner(5), Ids(5, 5)),
            (FileOwner(5, 6), Ids(5, 6)),
            (FileOwner(None, 6), Ids(-1, 6)),
            (FileOwner(UserName("me", 0)), Ids(7, 8)),
            (FileOwner(UserName("me", 0), UserName("us", 0)), Ids(7, 9)),
        ):
            assert owner_ids(owner, lambda _: root) == expected
        with pytest.raises(BuildError, match="unable to find user nobody"):
            owner_ids(FileOwner(UserName("nobody", 0)), lambda _: root)
        with pytest.raises(BuildError, match="an empty tree has no names"):
            owner_ids(FileOwner(UserName("me", -1)), lambda _: root)
    finally:
        os.close(root)
    assert owner_ids(None, lambda _: -1) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owners(trees: Trees) -> None:
    fill(trees.source, {"d/e": "e", "d/l": "-> e"})
    os.chown(trees.source / "d/e", 3, 4)
    trees.apply(copy("/d", "/kept"))
    trees.apply(copy("/d", "/given/", owner=FileOwner(5, 6)))
    trees.apply(MkdirAction(path="/m", owner=FileOwner(7)))
    owners = {
        path: (status.st_uid, status.st_gid)
        for path in ("kept/e", "given", "given/e", "given/l", "m")
        for status in [(trees.target / path).lstat()]
    }
    assert owners == {"kept/e": (3, 4), "given": (5, 6), "given/e": (5, 6), "given/l": (5, 6), "m": (7, 7)}
