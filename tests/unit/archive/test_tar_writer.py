"""Packing a tree, and merging an archive into one that is there."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darse.archive.errors import ArchiveRefused
from darse.archive.extract import NoLinks, Unpacker, entries, relative
from darse.archive.headers import END, entry_headers, member, padded
from darse.archive.stream import is_compressed
from darse.archive.tar import DIRECTORY, LINK, REGULAR, SYMLINK
from darse.archive.tar_writer import TreePacker


def pack(tree: Path, base: str, name: str) -> bytes:
    """The archive of what `base` is in `tree`."""
    with open(tree.parent / "archive.tar", "w+b") as file:
        directory = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
        packer = TreePacker(file.fileno())
        packer.add(directory, base, name.encode())
        packer.finish()
        os.close(directory)
        file.seek(0)
        return file.read()


def merge(archive: bytes, target: Path, **options: bool) -> None:
    """Unpack an archive into a directory, as a user without privileges."""
    top = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        Unpacker(NoLinks(top), str(target), own=False, **options).unpack(entries(iter([archive])))
    finally:
        os.close(top)


def archive_of(*members: tuple[str, bytes | None, dict[str, object]], form: int = tarfile.PAX_FORMAT) -> bytes:
    """An archive as Python's tarfile writes it: (name, content, attributes of the TarInfo)."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as made:
        for name, content, attributes in members:
            member = tarfile.TarInfo(name)
            for key, value in attributes.items():
                setattr(member, key, value)
            member.size = len(content or b"")
            made.addfile(member, io.BytesIO(content or b""))
    return file.getvalue()


def directory(name: str, mode: int = 0o755) -> tuple[str, None, dict[str, object]]:
    return (name, None, {"type": tarfile.DIRTYPE, "mode": mode})


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with one of each kind."""
    top = tmp_path / "tree"
    (top / "d" / "deep").mkdir(parents=True)
    (top / "d" / "small").write_bytes(b"small\n")
    (top / "d" / "large").write_bytes(os.urandom(300_001))
    (top / "d" / "empty").touch()
    os.link(top / "d" / "small", top / "d" / "zlink")
    (top / "d" / "link").symlink_to("small")
    (top / "d" / "dangling").symlink_to("/nowhere/at/all")
    os.mkfifo(top / "d" / "fifo")
    (top / "d" / "deep" / ("long" * 50)).write_text("a name of 200 bytes")
    (top / "d" / "small").chmod(0o4711)
    (top / "d" / "deep").chmod(0o2750)
    os.utime(top / "d" / "deep", (1_000_000_000, 1_000_000_000))
    return top


def described(top: Path) -> dict[str, object]:
    """All that a copy must keep, by path."""
    found: dict[str, object] = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else None
        target = os.readlink(path) if path.is_symlink() else None
        mode = None if path.is_symlink() else status.st_mode
        times = int(status.st_mtime) if not path.is_symlink() else None
        found[str(path.relative_to(top))] = (stat.S_IFMT(status.st_mode), mode, content, target, times)
    return found


def test_what_is_packed_comes_back(tree: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    merge(pack(tree, "d", "d"), copy)
    assert described(copy) == described(tree)
    assert (copy / "d" / "small").stat().st_ino == (copy / "d" / "zlink").stat().st_ino


def test_others_read_what_is_packed(tree: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(pack(tree, "d", "other"))) as read:
        members = {member.name: member for member in read.getmembers()}
        assert members["other/large"].size == 300_001
        assert members["other/zlink"].linkname == "other/small"
        assert members["other/zlink"].islnk()
        assert members["other/small"].mode == 0o4711
        assert members[f"other/deep/{'long' * 50}"].size == 19
        content = read.extractfile("other/large")
        assert content is not None
        assert content.read() == (tree / "d" / "large").read_bytes()


def test_a_name_is_given_to_the_root_alone(tree: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(pack(tree, "d", "."))) as read:
        assert read.getnames()[:2] == [".", "./dangling"]


def test_a_file_that_shrinks_is_filled_with_zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in (("small", 100), ("large", 100_000)):
        (tmp_path / name).write_bytes(b"x" * size)
    real = os.fstat

    def longer(descriptor: int) -> SimpleNamespace:
        status = real(descriptor)
        fields = {name: getattr(status, name) for name in dir(status) if name.startswith("st_")}
        return SimpleNamespace(**fields | {"st_size": status.st_size + 50})

    monkeypatch.setattr(os, "fstat", longer)
    with open(tmp_path / "archive", "w+b") as file:
        top = os.open(tmp_path, os.O_RDONLY)
        packer = TreePacker(file.fileno())
        packer.add(top, "small", b"small")
        packer.add(top, "large", b"large")
        packer.finish()
        os.close(top)
        monkeypatch.undo()
        assert packer.shortened == 2
        file.seek(0)
        with tarfile.open(fileobj=file) as read:
            assert [member.size for member in read.getmembers()] == [150, 100_050]


names = st.lists(
    st.binary(min_size=1, max_size=120).filter(lambda part: not set(part) & {0, 0x2F} and part not in (b".", b"..")),
    min_size=1,
    max_size=4,
).map(b"/".join)
# An archive that begins with the first bytes of a compressed one is taken for that, as by docker.
names = names.filter(lambda name: not is_compressed(name))


@settings(max_examples=60, deadline=None)
@given(
    path=names,
    link=names,
    uid=st.integers(0, 2**32 - 2),
    size=st.integers(0, 2**40),
    seconds=st.integers(-(2**31), 2**35),
    attributes=st.dictionaries(st.from_regex(rb"\Auser\.[a-z]{1,9}\Z"), st.binary(min_size=1, max_size=99), max_size=3),
)
def test_every_header_is_read_as_it_was_meant(
    path: bytes, link: bytes, uid: int, size: int, seconds: int, attributes: dict[bytes, bytes]
) -> None:
    for kind in (REGULAR, SYMLINK, LINK, DIRECTORY):
        target = link if kind in (SYMLINK, LINK) else b""
        length = size if kind == REGULAR else 0
        name = path + b"/" if kind == DIRECTORY else path
        header = entry_headers(name, kind, uid=uid, size=length, seconds=seconds, link=target, xattrs=attributes)
        read = next(iter(entries(iter([header]))))
        assert read.path.rstrip(b"/") == path
        assert (read.kind, read.link, read.uid, read.size) == (kind, target, uid, length)
        assert (read.time_ns, read.xattrs or {}) == (seconds * 1_000_000_000, attributes)


# Merging


def test_a_directory_is_merged_and_files_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir(mode=0o700)
    (tmp_path / "d" / "kept").write_text("kept")
    (tmp_path / "d" / "f").write_text("old")
    merge(archive_of(directory("d", 0o711), ("d/f", b"new", {"mtime": 7})), tmp_path)
    assert (tmp_path / "d").stat().st_mode & 0o777 == 0o711
    assert (tmp_path / "d" / "kept").read_text() == "kept"
    assert (tmp_path / "d" / "f").read_text() == "new"
    assert (tmp_path / "d" / "f").stat().st_mtime == 7


@pytest.mark.parametrize("keep_kinds", [True, False])
def test_a_directory_becomes_no_file_unless_it_may(tmp_path: Path, keep_kinds: bool) -> None:
    (tmp_path / "d" / "below").mkdir(parents=True)
    (tmp_path / "f").touch()
    over_directory, over_file = archive_of(("d", b"x", {})), archive_of(directory("f"))
    if keep_kinds:
        with pytest.raises(ArchiveRefused, match=r'cannot overwrite directory ".*/d" with non-directory'):
            merge(over_directory, tmp_path, keep_kinds=True)
        with pytest.raises(ArchiveRefused, match=r'cannot overwrite non-directory ".*/f" with directory'):
            merge(over_file, tmp_path, keep_kinds=True)
    else:
        merge(over_directory, tmp_path)
        merge(over_file, tmp_path)
        assert (tmp_path / "d").is_file()
        assert (tmp_path / "f").is_dir()


def test_missing_parents_are_made(tmp_path: Path) -> None:
    merge(archive_of(("a/b/c", b"x", {})), tmp_path)
    assert (tmp_path / "a" / "b" / "c").read_bytes() == b"x"


def test_a_directory_without_rights_is_filled_first(tmp_path: Path) -> None:
    merge(archive_of(directory("d", 0o555), ("d/f", b"x", {})), tmp_path)
    assert (tmp_path / "d").stat().st_mode & 0o777 == 0o555
    (tmp_path / "d").chmod(0o755)


def test_holes_stay_holes(tmp_path: Path) -> None:
    size = 1 << 30
    header = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.realsize": str(size),
        "GNU.sparse.name": "s",
    }
    content = b"1\n%d\n4\n" % (size - 4)
    content += b"\0" * (-len(content) % 512) + b"tail"
    merge(archive_of(("x", content, {"pax_headers": header})), tmp_path)
    assert (tmp_path / "s").stat().st_size == size
    assert (tmp_path / "s").stat().st_blocks < 100
    with open(tmp_path / "s", "rb") as file:
        file.seek(-4, os.SEEK_END)
        assert file.read() == b"tail"


HOSTILE = {
    "name that leads out": [("../outside", b"x", {})],
    "name that leads out later": [("a/../../outside", b"x", {})],
    "hard link to outside": [("l", None, {"type": tarfile.LNKTYPE, "linkname": "../outside"})],
    "through a link to outside": [
        ("l", None, {"type": tarfile.SYMTYPE, "linkname": ".."}),
        ("l/outside", b"x", {}),
    ],
    "through an absolute link": [
        ("l", None, {"type": tarfile.SYMTYPE, "linkname": "/tmp"}),
        ("l/outside", b"x", {}),
    ],
    "a directory over a link": [
        ("l", None, {"type": tarfile.SYMTYPE, "linkname": ".."}),
        directory("l", 0o777),
    ],
    "a hard link to the target itself": [("l", None, {"type": tarfile.LNKTYPE, "linkname": "."})],
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE)
def test_nothing_leads_out(tmp_path: Path, members: list[tuple[str, bytes | None, dict[str, object]]]) -> None:
    """On a user's own disk no link that an archive may have made is followed."""
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "outside").write_text("untouched")
    mode = tmp_path.stat().st_mode
    with pytest.raises((ArchiveRefused, OSError)):
        merge(archive_of(*members), inside, keep_kinds=True)
    assert (tmp_path / "outside").read_text() == "untouched"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inside", "outside"]
    assert tmp_path.stat().st_mode == mode


def test_nothing_is_written_through_what_is_there(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(victim)
    os.link(victim, inside / "hard")
    os.mkfifo(inside / "fifo")
    merge(archive_of(*((name, b"new", {}) for name in ("link", "hard", "fifo"))), inside)
    assert victim.read_text() == "untouched"
    assert all((inside / name).read_text() == "new" for name in ("link", "hard", "fifo"))


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    whole = archive_of(("f", b"x" * 2000, {}))
    with pytest.raises(ArchiveRefused):
        merge(whole[:1000], tmp_path)


def test_paths_of_entries() -> None:
    assert relative(b"./a//b/.") == "a/b"
    assert relative(b"/a/x/../b") == "a/b"
    assert relative(b"./") == ""
    with pytest.raises(ArchiveRefused):
        relative(b"..")


@pytest.mark.parametrize("kind", [REGULAR, DIRECTORY, SYMLINK])
def test_a_time_that_no_kernel_has_becomes_the_epoch(tmp_path: Path, kind: bytes) -> None:
    merge(entry_headers(b"x", kind, seconds=10**12, link=b"y") + END, tmp_path)
    assert (tmp_path / "x").lstat().st_mtime_ns == 0


def test_a_link_with_a_nul_is_the_archives_fault(tmp_path: Path) -> None:
    record = b"21 linkpath=some\0where\n"
    archive = entry_headers(b"x", b"x", size=len(record)) + padded(record) + entry_headers(b"link", SYMLINK) + END
    with pytest.raises(ArchiveRefused):
        merge(archive, tmp_path)


def test_a_file_larger_than_a_buffer_is_written_whole(tmp_path: Path) -> None:
    content = os.urandom(300_000)
    merge(member(b"large", content) + member(b"empty", b"") + END, tmp_path)
    assert (tmp_path / "large").read_bytes() == content
    assert (tmp_path / "empty").read_bytes() == b""
