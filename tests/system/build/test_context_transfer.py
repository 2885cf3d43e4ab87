"""Contexts that are sent in part: what comes of them is the client's directory, and nobody gets at another's tree."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

import pytest

from darse.build import context_list
from darse.build.context import content_digest, context_trees
from darse.build.context.context_trees import ContextTrees
from darse.build.context.reception import ContextStore
from darse.build.context.transfer import FilePiece, PieceKind
from darse.build.context.transfer_service import IN_PLACE_BYTES, Transfers
from darse.build.context_list import encode
from darse.build.graph import LocalSource
from darse.cli.building.context_tree import ContextTree
from darse.core.errors import InvalidParameter
from darse.runtime.rootfs.trash import Trash

KEY, OTHER = "a" * 64, "b" * 64
FILE, DIRECTORY, LINK = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777
ALL = LocalSource(name="context")
Facts: TypeAlias = dict[str, tuple[object, ...]]


def transfers_of(root: Path) -> Transfers:
    trash = Trash(root / "trash")
    trash.open()
    return Transfers(ContextTrees(root, trash), ContextStore(root, trash))


@pytest.fixture
def transfers(tmp_path: Path) -> Transfers:
    return transfers_of(tmp_path)


class Directory:
    """Our own client's end, without a connection."""

    def __init__(self, path: Path, patterns: Sequence[str] = ()) -> None:
        self.tree = ContextTree(str(path), patterns, "node")
        assert self.tree.listed()
        self.asked: list[str] = []

    @property
    def digest(self) -> str:
        return self.tree.claim()["digest"]

    async def entries(self) -> AsyncIterator[bytes]:
        yield self.tree._list

    async def contents(self, numbers: Sequence[int]) -> AsyncIterator[bytes]:
        for number in numbers:
            self.asked.append(self.tree._entries[number].split(b"\0")[0].decode())
            for piece in self.tree._pieces(number):
                yield piece


class Said:
    """A client that says what a test lets it say."""

    def __init__(self, entries: Iterable[bytes], pieces: Sequence[FilePiece] = ()) -> None:
        self._entries = entries
        self._pieces = pieces
        self.asked: list[int] = []

    async def entries(self) -> AsyncIterator[bytes]:
        for one in self._entries:
            yield one

    async def contents(self, numbers: Sequence[int]) -> AsyncIterator[bytes]:
        self.asked += numbers
        for piece in self._pieces:
            yield piece.encode()


def facts(root: Path) -> Facts:
    """All that a build can see of a tree, by path."""
    found: Facts = {}
    names: dict[int, str] = {}
    for directory, directories, files in os.walk(root):
        for name in sorted([*directories, *files]):
            path = Path(directory, name)
            status = path.lstat()
            inside = str(path.relative_to(root))
            content: object = b""
            if path.is_symlink():
                content = os.readlink(path)
            elif path.is_file():
                content = path.read_bytes()
            elif not path.is_dir():
                content = status.st_rdev
            same = names.setdefault(status.st_ino, inside) if not path.is_dir() or path.is_symlink() else inside
            found[inside] = (status.st_mode, status.st_mtime_ns, content, status.st_uid, same)
    return found


def settle(root: Path) -> None:
    """Let no file be so new that it is asked for again."""
    long_ago = max(path.lstat().st_ctime_ns for path in [root, *root.rglob("*")])
    while long_ago + 25_000_000 > time.time_ns():
        pass


def write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    found = tmp_path / "context"
    write(found, {"Dockerfile": "FROM scratch\n", "a/one": "1", "a/two": "2", "a-b": "3", "b/c/three": "4"})
    settle(found)
    return found


async def test_only_what_changed_is_asked_for(transfers: Transfers, context: Path) -> None:
    first = Directory(context)
    async with transfers.received(KEY, first, first.digest) as tree:
        assert facts(tree.directory) == facts(context)
    assert sorted(first.asked) == ["Dockerfile", "a-b", "a/one", "a/two", "b/c/three"]

    same = Directory(context)
    async with transfers.received(KEY, same, same.digest) as again:
        assert again is tree
    assert same.asked == []

    (context / "a" / "two").write_text("x")
    shutil.rmtree(context / "b")
    (context / "new").symlink_to("a")
    settle(context)
    third = Directory(context)
    async with transfers.received(KEY, third, third.digest) as changed:
        assert facts(changed.directory) == facts(context)
    assert third.asked == ["a/two"]


async def test_a_change_that_keeps_size_and_time_is_seen(transfers: Transfers, context: Path) -> None:
    before = (context / "a-b").stat()
    async with transfers.received(KEY, Directory(context)):
        pass
    (context / "a-b").write_text("9")
    os.utime(context / "a-b", ns=(before.st_atime_ns, before.st_mtime_ns))
    changed = Directory(context)
    async with transfers.received(KEY, changed, changed.digest) as tree:
        assert (tree.directory / "a-b").read_text() == "9"
    assert changed.asked == ["a-b"]


@pytest.mark.parametrize("kind", [PieceKind.CHANGED, PieceKind.GONE])
async def test_a_file_that_changes_while_it_is_sent_is_asked_for_again(transfers: Transfers, kind: PieceKind) -> None:
    entries = [encode(b"a", FILE, 1, 5, b"1.1"), encode(b"b", FILE, 1, 5, b"2.1")]
    content = [] if kind is PieceKind.GONE else [FilePiece(0, b"x")]
    end = [FilePiece(1, b"y"), FilePiece(1, kind=PieceKind.END)]
    async with transfers.received(KEY, Said(entries, [*content, FilePiece(0, kind=kind), *end])) as tree:
        assert (tree.directory / "a").exists() is (kind is PieceKind.CHANGED)
        assert tree.about.digest == ""
    again = Said(entries, [FilePiece(0, b"z"), FilePiece(0, kind=PieceKind.END)])
    async with transfers.received(KEY, again, "0" * 64) as tree:
        assert (tree.directory / "a").read_text() == "z"
        assert (tree.directory / "b").read_text() == "y"
    assert again.asked == [0]


async def test_a_list_is_believed_of_its_own_key_only(transfers: Transfers) -> None:
    entries = [encode(b"secret", FILE, 6, 5, b"1.1")]
    async with transfers.received(KEY, Said(entries, [FilePiece(0, b"secret"), FilePiece(0, kind=PieceKind.END)])):
        pass
    other = Said(entries, [FilePiece(0, b"mine"), FilePiece(0, kind=PieceKind.END)])
    digest = transfers.trees.all()[0].about.digest
    async with transfers.received(OTHER, other, digest) as tree:
        assert (tree.directory / "secret").read_text() == "mine"
    assert other.asked == [0]
    for key in ("", "../../x", "a" * 31, "A" * 64):
        with pytest.raises(InvalidParameter, match="key of a context"):
            async with transfers.received(key, Said(entries)):
                pass


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([encode(b"../x", FILE, 1, 1)], "in no directory"),
        ([encode(b"/etc", DIRECTORY, 0, 1)], "no path of a context"),
        ([encode(b"a", FILE, 1, 1), encode(b"a", FILE, 1, 1)], "there twice"),
        ([encode(b"a", LINK, 0, 1, b"", b"/etc"), encode(b"a/passwd", FILE, 1, 1)], "in no directory"),
        ([encode(b"n" * 5000, FILE, 1, 1)], "no path of a context"),
        ([b"n" * 100_000], "ends within an entry|too long"),
        ([encode(b"s", stat.S_IFSOCK | 0o644, 0, 1)], "mode that no file"),
        ([encode(b"l", LINK, 0, 1)], "symbolic link to nothing"),
        ([encode(b"d", stat.S_IFBLK | 0o644, 0, 1, b"", b"8:x")], "device without a number"),
        ([b"a\0" + b"0100644\0" + b"1\0" * 2 + b"\0\0"], "not written as such"),
        ([encode(b"%03d" % number, DIRECTORY, 0, 0) for number in range(101)], "more than 100 entries"),
        ([encode(b"h", FILE, 0, 1, b"", b"nothing")], "hard link to what is not there"),
        ([encode(b"d", DIRECTORY, 0, 1), encode(b"h", FILE, 0, 1, b"", b"d")], "hard link to what is no file"),
        ([encode(b"h", FILE, 0, 1, b"", b"../../../etc/passwd")], "refused"),
        ([encode(b"e", LINK, 0, 1, b"", b"/etc"), encode(b"h", FILE, 0, 1, b"", b"e/passwd")], "refused"),
    ],
)
async def test_a_list_that_no_tree_has_is_refused(
    transfers: Transfers, context: Path, monkeypatch: pytest.MonkeyPatch, entries: Iterable[bytes], words: str
) -> None:
    monkeypatch.setattr(context_list, "MOST_ENTRIES", 100)
    async with transfers.received(KEY, Directory(context)) as before:
        pass
    with pytest.raises(InvalidParameter, match=words):
        async with transfers.received(OTHER, Said(entries)):
            pass
    assert transfers.trees.all() == [before]
    assert facts(before.directory) == facts(context)


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ([FilePiece(700, b"x")], "nobody asked for it"),
        ([FilePiece(0, kind=PieceKind.END), FilePiece(0, b"x")], "nobody asked for it"),
        ([FilePiece(0, kind=PieceKind.GONE), FilePiece(0, b"x")], "nobody asked for it"),
        ([FilePiece(0, b"x" * ((1 << 20) + 1))], "is none"),
        ([FilePiece(0, b"x")], "did not come"),
        ([], "contents of 100 files did not come"),
        ([FilePiece(number, b"x") for number in range(70)], "at once"),
    ],
)
async def test_pieces_that_nobody_asked_for_are_refused(
    transfers: Transfers, pieces: Sequence[FilePiece], words: str
) -> None:
    entries = [encode(b"%03d" % number, FILE, 1, 1) for number in range(100)]
    with pytest.raises(InvalidParameter, match=words):
        async with transfers.received(KEY, Said(entries, pieces)):
            pass
    assert transfers.trees.all() == []
    assert os.listdir(transfers._contexts.root) == []


async def test_pieces_of_files_come_by_turns(transfers: Transfers) -> None:
    entries = [encode(b"a", FILE, 4, 1), encode(b"b", FILE, 4, 1)]
    pieces = [FilePiece(1, b"b1"), FilePiece(0, b"a1"), FilePiece(1, b"b2"), FilePiece(1, kind=PieceKind.END)]
    pieces += [FilePiece(0, b"a2"), FilePiece(0, kind=PieceKind.END)]
    async with transfers.received(KEY, Said(entries, pieces)) as tree:
        assert [(tree.directory / name).read_text() for name in "ab"] == ["a1a2", "b1b2"]


async def removals(transfers: Transfers) -> None:
    """Trees that no build holds go in the background."""
    while transfers.trees._trash._removals:
        await asyncio.wait(transfers.trees._trash._removals)


async def test_a_tree_that_is_held_stays_as_it_is(transfers: Transfers, context: Path) -> None:
    before = facts(context)
    async with transfers.received(KEY, Directory(context)) as held:
        write(context, {"a/one": "changed", "more": "x"})
        async with transfers.received(KEY, Directory(context)) as changed:
            assert facts(changed.directory) == facts(context)
            assert facts(held.directory) == before
            assert (changed.directory / "a-b").stat().st_ino == (held.directory / "a-b").stat().st_ino
    await removals(transfers)
    assert not held.path.exists()


async def test_two_builds_at_once(transfers: Transfers, context: Path) -> None:
    async with transfers.received(KEY, Directory(context)):
        pass

    async def build() -> None:
        async with transfers.received(KEY, Directory(context)) as tree:
            assert facts(tree.directory) == facts(context)

    for number in range(5):
        write(context, {"a/one": str(number), f"new{number}": ""})
        settle(context)
        await asyncio.gather(*(build() for _ in range(4)))
    await removals(transfers)
    assert len(list(transfers.trees.root.iterdir())) == 1


async def test_a_large_change_is_made_in_a_copy(transfers: Transfers, context: Path) -> None:
    async with transfers.received(KEY, Directory(context)) as before:
        pass
    (context / "large").write_bytes(os.urandom(IN_PLACE_BYTES + 1))

    class Leaving(Directory):
        async def contents(self, numbers: Sequence[int]) -> AsyncIterator[bytes]:
            async for piece in super().contents(numbers):
                yield piece[: len(piece) // 2]
                break
            raise InvalidParameter("the client is gone")

    with pytest.raises(InvalidParameter, match="is gone"):
        async with transfers.received(KEY, Leaving(context)):
            pass
    assert transfers.trees.all() == [before]
    async with transfers.received(KEY, Directory(context)) as tree:
        assert facts(tree.directory) == facts(context)


async def test_a_client_that_leaves_changes_nothing(transfers: Transfers, context: Path) -> None:
    async with transfers.received(KEY, Directory(context)) as before:
        pass
    (context / "a-b").write_text("changed")
    reached = asyncio.Event()

    class Silent(Directory):
        async def contents(self, numbers: Sequence[int]) -> AsyncIterator[bytes]:
            yield FilePiece(numbers[0], b"x").encode()
            reached.set()
            await asyncio.Event().wait()

    async def build() -> None:
        async with transfers.received(KEY, Silent(context)):
            pass

    task = asyncio.create_task(build())
    await reached.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert transfers.trees.all() == [before]
    assert before.holders == 0
    async with transfers.received(KEY, Directory(context)) as tree:
        assert facts(tree.directory) == facts(context)


async def test_the_next_engine_has_the_trees_that_are_complete(tmp_path: Path, context: Path) -> None:
    transfers = transfers_of(tmp_path)
    async with transfers.received(KEY, Directory(context)) as tree:
        pass
    taken = shutil.copytree(tree.path, tree.path.with_name(f"{OTHER}-5"), symlinks=True)
    shutil.rmtree(taken / "files")
    shutil.copytree(tree.path, tree.path.with_name(f"{KEY}-5"), symlinks=True)
    (tree.path.parent / "something").mkdir()
    later = transfers_of(tmp_path)
    assert [one.path for one in later.trees.all()] == [tree.path]
    assert [path.name for path in tree.path.parent.iterdir()] == [tree.path.name]
    same = Directory(context)
    async with later.received(KEY, same, same.digest) as again:
        assert await again.digest(ALL) == await tree.digest(ALL)
    assert same.asked == []


async def test_trees_of_an_earlier_boot_are_gone(
    tmp_path: Path, context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with transfers_of(tmp_path).received(KEY, Directory(context)):
        pass
    (tmp_path / "boot").write_text("another\n")
    monkeypatch.setattr(context_trees, "_BOOT", tmp_path / "boot")
    assert transfers_of(tmp_path).trees.all() == []


async def test_few_trees_are_kept_and_all_can_be_removed(
    transfers: Transfers, context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context_trees, "MOST_TREES", 3)
    keys = [f"{number:064x}" for number in range(5)]
    async with transfers.received(keys[0], Directory(context)) as held:
        for key in keys[1:]:
            async with transfers.received(key, Directory(context)):
                pass
        assert {one.key for one in transfers.trees.all()} == {keys[0], *keys[3:]}
        assert transfers.trees.is_used(held.id)
        assert not transfers.trees.remove(held.id)
    assert all(transfers.trees.remove(one.id) for one in transfers.trees.all())
    assert transfers.trees.all() == []


def plain_digest(root: Path) -> str:
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return content_digest(descriptor)
    finally:
        os.close(descriptor)


async def test_random_changes_of_random_trees(transfers: Transfers, tmp_path: Path) -> None:
    """Whatever becomes of a directory, the tree is the same, and its digest that of a tree that is read."""
    chance = random.Random(11)
    root = tmp_path / "random"
    root.mkdir()
    root.chmod(0o755)
    for _ in range(60):
        for _ in range(chance.randrange(6)):
            change(chance, root)
        source = Directory(root)
        async with transfers.received(KEY, source, source.digest) as tree:
            assert facts(tree.directory) == facts(root)
            assert await tree.digest(ALL) == plain_digest(tree.directory)
    assert len(transfers.trees.all()) == 1


def change(chance: random.Random, root: Path) -> None:
    """Do something to a tree, of which few names are used again and again."""
    directories = [root, *(path for path in root.rglob("*") if path.is_dir() and not path.is_symlink())]
    path = chance.choice(directories) / chance.choice(["a", "b", "b-c", "ü", "b.d"])
    files = [one for one in root.rglob("*") if one.is_file() and not one.is_symlink()]
    kinds: list[Callable[[], object]] = [
        lambda: path.write_bytes(chance.randbytes(chance.randrange(300))),
        lambda: path.mkdir(mode=chance.choice([0o755, 0o2711])),
        lambda: path.symlink_to(chance.choice(["a", "../b", "/etc"])),
        lambda: os.mkfifo(path, 0o640),
        lambda: os.link(chance.choice(files), path),
        path.unlink,
        lambda: shutil.rmtree(path if path.is_dir() else path / "none"),
        lambda: path.chmod(chance.choice([0o600, 0o755, 0o4711]), follow_symlinks=path.is_symlink() is False),
        lambda: os.utime(path, (chance.randrange(10**9),) * 2, follow_symlinks=False),
        lambda: path.rename(chance.choice(directories) / chance.choice("ab")),
    ]
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            # Nothing is written through a link, nor into a fifo.
            chance.choice(kinds[5:])()
        else:
            chance.choice(kinds)()
    except (OSError, IndexError, NotImplementedError):
        return
