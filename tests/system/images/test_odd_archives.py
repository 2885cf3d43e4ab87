"""Archives in odd but honest forms unpack as GNU tar unpacks them, and are given back byte for byte."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.faults.hostile_archives import (
    END,
    base256,
    directory,
    file,
    hardlink,
    header,
    long_name,
    old_map,
    old_sparse,
    padded,
    pax,
    record,
    sparse,
    symlink,
)

from darse.core.events import SCHEMA as EVENTS
from darse.core.state import State
from darse.images.content.store import ContentStore
from darse.images.layers import store as layer_store
from darse.images.layers.sources import FileSource
from darse.images.layers.store import LayerStore

# In each, GNU tar and the store must see the same.
FORMS: dict[str, bytes] = {
    "v7, without a magic": file(b"f", magic=b"") + header(b"d/", b"\0", magic=b""),
    "a type of NUL": header(b"f", b"\0", size=3) + padded(b"old"),
    "a directory by its slash only": header(b"d/", b"0"),
    "contiguous": header(b"f", b"7", size=3) + padded(b"con"),
    "numbers with spaces": file(b"f", mode=b"   644 \0", uid=b"    12 \0", mtime=b"  1234567   "),
    "numbers without an end": file(b"f", mode=b"00000644", mtime=b"014000000000"),
    "base-256 numbers": file(b"f", uid=base256(3_000_000_000, 8), gid=base256(5, 8), mtime=base256(99, 12)),
    "a time before 1970": file(b"f", mtime=base256(-86400, 12)),
    "a checksum of signed bytes": file("é".encode(), signed=True),
    "a prefix": file(b"f", prefix=b"a/b"),
    "a name of exactly 100 bytes": file(b"n" * 100),
    "a GNU name": long_name(b"l" * 200) + file(b"short"),
    "a GNU name and link": long_name(b"l" * 200) + long_name(b"t" * 200, b"K") + symlink(b"l", b"t"),
    "pax names": pax(record(b"path", "ü/名".encode() * 20), record(b"comment", b"c")) + file(),
    "pax names that are no UTF-8": pax(record(b"path", b"\xff\xfe")) + file(),
    "pax numbers": pax(record(b"uid", b"70000"), record(b"gid", b"70001"), record(b"size", b"3"))
    + header(size=0)
    + padded(b"pax"),
    "a pax time with parts of a second": pax(record(b"mtime", b"1600000000.123456789")) + file(),
    "a negative pax time": pax(record(b"mtime", b"-1.5")) + file(),
    "a pax record that is given again": pax(record(b"path", b"a"), record(b"path", b"b")) + file(b"c"),
    "a comment for all": pax(record(b"comment", b"commit"), kind=b"g") + file(),
    "dots and slashes": directory(b"./") + directory(b"./a//") + file(b".//a/./f"),
    "an absolute name": file(b"/abs/f"),
    "hidden files": file(b".hidden") + file(b"a/.b/..c"),
    "parents that are not listed": file(b"a/b/c"),
    "a directory after what is in it": file(b"d/f") + header(b"d", b"5", mode=b"0000500\0", mtime=b"00000000077\0"),
    "a directory that nobody may enter": header(b"d", b"5", mode=b"0000000\0") + file(b"d/f"),
    "a directory that hands its group down": header(b"d", b"5", mode=b"0002775\0", gid=b"0000007\0") + file(b"d/f"),
    "set-uid programs": file(b"a", mode=b"0004755\0") + file(b"b", b"", mode=b"0006755\0", uid=b"0000005\0"),
    "links": file(b"f") + hardlink(b"h", b"f") + hardlink(b"./i", b"./h") + symlink(b"s", b"f") + hardlink(b"t", b"s"),
    "links with a size": file(b"f") + header(b"h", b"1", link=b"f", size=0) + file(b"g"),
    "links that say they lead out": symlink(b"a", b"../../../etc/passwd") + symlink(b"d/b", b"/etc/../../etc"),
    "a path through a link": directory(b"d") + symlink(b"l", b"d") + file(b"l/f"),
    "nodes": header(b"null", b"3", device=(b"0000001\0", b"0000003\0"))
    + header(b"disk", b"4", mode=b"0000660\0", device=(b"0000010\0", b"0000001\0"))
    + header(b"pipe", b"6", uid=b"0000003\0"),
    "attributes": pax(record(b"SCHILY.xattr.user.a", b"1\n=2"), record(b"SCHILY.xattr.user.b", b"")) + file(),
    "attributes of a directory": pax(record(b"SCHILY.xattr.user.a", b"1")) + directory(b"d") + file(b"d/f"),
    "an empty archive": b"",
    "a label": header(b"label", b"V") + file(),
    "without an end": file(b"f", b"x" * 512),
    "sparse 1.0": sparse([2, 512, 512, 1 << 20, 6], b"h" * 512 + b" world", (1 << 20) + 6),
    "sparse 1.0 that ends with a hole": sparse([2, 0, 5, 1 << 20, 0], b"hello", 1 << 20),
    "sparse 1.0, all hole": sparse([1, 1 << 30, 0], b"", 1 << 30),
    "sparse 0.1": pax(
        record(b"GNU.sparse.size", b"8000"),
        record(b"GNU.sparse.numblocks", b"3"),
        record(b"GNU.sparse.name", b"real"),
        record(b"GNU.sparse.map", b"1024,512,6144,4,8000,0"),
    )
    + file(b"GNUSparseFile.1/real", b"o" * 512 + b"four"),
    "sparse 0.0": old_map(
        (b"GNU.sparse.offset", b"0"),
        (b"GNU.sparse.numbytes", b"512"),
        (b"GNU.sparse.offset", b"4096"),
        (b"GNU.sparse.numbytes", b"4"),
        size=4100,
    )
    + file(b"f", b"o" * 512 + b"four"),
    "sparse, old": old_sparse([(0, 512), (5120, 4), (6000, 0)], 6000, b"o" * 512 + b"four"),
    "sparse, larger than 8 GB": old_sparse([(0, 512), (9 << 30, 4)], (9 << 30) + 4, b"o" * 512 + b"huge"),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LayerStore]:
    root = tmp_path_factory.mktemp("store")
    state = State(root / "state.sqlite", [EVENTS, layer_store.SCHEMA])
    content = ContentStore(root / "images")
    content.open()
    made = LayerStore(root / "images", state, content)
    made.open()
    yield made
    state.close()


async def stored(store: LayerStore, archive: bytes, where: Path) -> Path:
    """Unpack an archive in the store, and see that it is given back; the layer's directory."""
    diff_id = f"sha256:{hashlib.sha256(archive).hexdigest()}"
    where.write_bytes(archive)
    await store.ensure(diff_id, diff_id, FileSource(where))
    assert b"".join([piece async for piece in store.archive(diff_id)]) == archive
    return store.path(diff_id)


def by_tar(archive: bytes, target: Path) -> Path:
    target.mkdir()
    command = "tar -x -p --same-owner --numeric-owner --delay-directory-restore --xattrs --xattrs-include=* -C".split()
    # No whiteouts here: tar knows none.
    subprocess.run([*command, target], input=archive, check=True, capture_output=True, umask=0o022)
    return target


def described(root: Path) -> dict[str, object]:
    """All that there is to say of a tree, by path. Times of directories that no entry made are the moment's."""
    found: dict[str, object] = {}
    numbers: dict[int, int] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        name = os.fsencode(path.relative_to(root)).decode(errors="backslashreplace")
        said: list[object] = [stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid]
        said.append(
            {one: os.getxattr(path, one, follow_symlinks=False) for one in os.listxattr(path, follow_symlinks=False)}
        )
        if not stat.S_ISDIR(status.st_mode):
            said += [status.st_rdev, status.st_nlink, numbers.setdefault(status.st_ino, len(numbers)), status.st_size]
            said.append(status.st_mtime_ns)
        elif status.st_mtime < 1_600_000_000:
            said.append(status.st_mtime_ns)
        if stat.S_ISLNK(status.st_mode):
            said.append(os.readlink(path))
        elif stat.S_ISREG(status.st_mode):
            said.append(content(path))
        found[name] = said
    return found


def content(path: Path) -> list[tuple[int, bytes]]:
    """A file's content that is no zeros, in pieces: where it is a hole is not the same everywhere."""
    pieces = []
    with open(path, "rb") as opened:
        offset = 0
        size = path.stat().st_size
        while offset < size:
            try:
                offset = os.lseek(opened.fileno(), offset, os.SEEK_DATA)
            except OSError:
                break
            piece = os.pread(opened.fileno(), 4096 - offset % 4096, offset)
            if piece.strip(b"\0"):
                pieces.append((offset, piece))
            offset += len(piece)
    return pieces


@pytest.mark.parametrize("form", FORMS)
async def test_odd_forms_unpack_as_by_gnu_tar(store: LayerStore, tmp_path: Path, form: str) -> None:
    archive = FORMS[form] + (b"" if form in ("without an end", "an empty archive") else END)
    ours = described(await stored(store, archive, tmp_path / "archive"))
    assert ours == (described(by_tar(archive, tmp_path / "tar")) if archive else {})
    assert ours or not archive


@pytest.mark.parametrize("form", ["v7", "oldgnu", "gnu", "ustar", "posix"])
@pytest.mark.parametrize("flags", ["", "--sparse", "--sparse --sparse-version=0.0", "--sparse --sparse-version=0.1"])
async def test_what_gnu_tar_writes_unpacks_as_by_gnu_tar(
    store: LayerStore, tmp_path: Path, form: str, flags: str
) -> None:
    tree = tmp_path / "tree"
    for number in range(3):
        (tree / f"d{number}" / ("deep" * 9)).mkdir(parents=True)
        (tree / f"d{number}" / "f").write_bytes(os.urandom(1000 * number))
    with open(tree / "sparse", "wb") as made:
        for number in range(40):
            made.seek(number * 100_000)
            made.write(b"data")
    os.link(tree / "d1/f", tree / "linked")
    (tree / "soft").symlink_to("d1/f")
    if "posix" in form:
        os.setxattr(tree / "d1/f", "user.note", b"note")
    if "v7" not in form:
        os.mkfifo(tree / "pipe")
    if form not in ("v7", "ustar"):
        (tree / ("n" * 250)).write_text("long")
    command = ["tar", f"--format={form}", *(flags.split() if form in ("gnu", "oldgnu", "posix") else ()), "-c"]
    command[2:2] = ["--xattrs"] if form == "posix" else []
    archive = subprocess.run([*command, "-C", tree, "."], check=True, capture_output=True).stdout
    ours = described(await stored(store, archive, tmp_path / "archive"))
    assert ours == described(by_tar(archive, tmp_path / "out"))
    assert form != "posix" or ours == described(tree)


names = st.text(
    st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=40
).filter(lambda name: name not in (".", "..") and not name.startswith(".wh.") and len(name.encode()) < 200)
owners = st.integers(0, (1 << 32) - 2)
entries = st.tuples(
    st.sampled_from(["file", "directory", "symlink", "pipe", "whiteout"]),
    st.lists(names, min_size=1, max_size=4),
    st.binary(max_size=2000),
    st.integers(0, 0o7777),
    owners,
    st.integers(0, 1 << 33),
)


Made = list[tuple[str, list[str], bytes, int, int, int]]


def written(made: Made) -> tuple[bytes, dict[str, bytes]]:
    """An archive of those entries that do not get in each other's way, and the content of the files in it."""
    kinds: dict[tuple[str, ...], str] = {}
    files: dict[str, bytes] = {}
    parts = []
    for kind, path, body, mode, owner, time in made:
        key = tuple(path)
        parents = [key[:end] for end in range(1, len(key))]
        if key in kinds or any(kinds.get(parent, "directory") != "directory" for parent in parents):
            continue
        kinds.update(dict.fromkeys(parents, "directory") | {key: kind})
        name = "/".join([*path[:-1], f".wh.{path[-1]}" if kind == "whiteout" else path[-1]]).encode()
        if len(name) > 100:
            parts.append(pax(record(b"path", name)))
        fields: dict[str, bytes] = {"mode": b"%07o\0" % mode, "uid": base256(owner, 8), "mtime": b"%011o\0" % time}
        if kind in ("file", "whiteout"):
            parts.append(file(name[:100], body, **fields))
        else:
            letter = {"symlink": b"2", "directory": b"5", "pipe": b"6"}[kind]
            link = b"target" if kind == "symlink" else b""
            parts.append(header(name[:100], letter, link=link, **fields))  # type: ignore[arg-type]
        if kind == "file":
            files["/".join(path)] = body
    return b"".join((*parts, END)), files


@settings(
    max_examples=int(os.environ.get("DARSE_ARCHIVE_EXAMPLES", "40")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(made=st.lists(entries, max_size=12), end=st.binary(max_size=700))
def test_unpacking_and_rebuilding_is_the_identity(made: Made, end: bytes, rebuilt: Callable[[bytes], Path]) -> None:
    archive, files = written(made)
    root = rebuilt(archive + end)
    assert {path: (root / path).read_bytes() for path in files} == files


@pytest.fixture
def rebuilt(store: LayerStore, tmp_path: Path) -> Iterator[Callable[[bytes], Path]]:
    """Unpacks an archive, compares what it is rebuilt to, and returns where it is."""
    import asyncio

    with asyncio.Runner() as runner:
        yield lambda archive: runner.run(stored(store, archive, tmp_path / "archive"))
