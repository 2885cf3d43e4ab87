"""The trees of contexts that clients send in part: the last one of each key; see `darse.build.context.transfer`.

    build/trees/<key>-<number>/          <key> is `archive.` and a digest of trees that came as archives
        files/      the tree
        list        the client's list of it
        contents    the inode and the SHA-256 of each entry's file
        about       digest of the list, and so on
        dockerfile  of one that came as an archive, in the place of the list: its Dockerfile

A directory is complete when it has this name: it is made elsewhere, and renamed. Of several of a key the one with the
highest number counts. A change of a tree that nobody holds is made in place, in what was renamed away for it, once all
that is to come has come; otherwise in a copy by links. Nothing is written through to the disk: trees of an earlier boot
of the host are removed.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import msgspec

from darse.build.context.content_digest import KnownContents, content_digest
from darse.build.context.list_changes import CONTENT
from darse.build.graph.selectors import Selector
from darse.build.graph.sources import LocalSource
from darse.core import executors
from darse.core.errors import InvalidParameter
from darse.runtime.rootfs.trash import Trash

#: Trees that are kept at most; the one that was not used for the longest time goes first.
MOST_TREES = 192
#: Among them those that came as archives: nothing of one is in the next.
MOST_ARCHIVES = 16
_KEY = re.compile("[0-9a-f]{32,128}")
_NAME = re.compile(r"((?:archive\.)?[0-9a-f]{32,128})-([0-9]+)")
# Bytes of a Dockerfile that is not read again from the disk.
_REMEMBERED = 16 << 10
#: What no client can ask for by a key.
_ARCHIVE = "archive."
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def _id(key: str) -> str:
    """What the records of the build cache call a tree; it does not say the key."""
    return sha256(key.encode()).hexdigest()[:25]


class AboutTree(msgspec.Struct, frozen=True):
    """What is written beside a tree."""

    digest: str
    """SHA-256 of the client's list; empty where some of it is to be asked for again."""
    size: int
    created: float
    boot: str
    marks: bytes = b""
    """Of a tree that came as an archive, what this began with: see `darse.build.context.archive_reuse`."""


class SentAs(NamedTuple):
    """How the list of a tree came from its client: what comes so again need not be read."""

    digest: bytes
    """SHA-256 of the messages."""
    timed: Sequence[int] = ()
    small: Sequence[int] = ()
    """Numbers of files that are chosen from where a client has to show some: see
    `darse.buildkit.sessions.unchanged_directories`."""


class StoredTree:
    """One complete tree; a `HeldTree` for those who hold it."""

    def __init__(self, key: str, number: int, path: Path, about: AboutTree) -> None:
        self.key = key
        self.id = _id(key)
        self.number = number
        self.path = path
        self.about = about
        self.last_used = about.created
        self.uses = 0
        self.holders = 0
        self.is_replaced = False
        self.sent_as: SentAs | None = None
        """Where it is known: it is not written down."""
        self._known: KnownContents | None = None
        self._dockerfile: bytes | None = None
        self._digests: dict[Selector, asyncio.Task[str]] = {}

    @property
    def is_archive(self) -> bool:
        """Whether it came as an archive."""
        return self.key.startswith(_ARCHIVE)

    @property
    def directory(self) -> Path:
        """See HeldTree."""
        return self.path / "files"

    def known(self) -> KnownContents:
        """What is known of the contents of its files. Blocks the first time."""
        if self._known is None:
            contents = (self.path / "contents").read_bytes()
            known = {inode: digest for inode, digest in CONTENT.iter_unpack(contents) if inode}
            self._known = KnownContents(self.directory.stat().st_dev, known)
        return self._known

    async def dockerfile(self) -> bytes | None:
        """The Dockerfile that came with it in one archive; None where there was none."""
        if self._dockerfile is not None:
            return self._dockerfile
        content = await executors.storage.run(self._read_dockerfile)
        if content is not None and len(content) <= _REMEMBERED:
            self._dockerfile = content
        return content

    def _read_dockerfile(self) -> bytes | None:
        path = self.path / "dockerfile"
        return path.read_bytes() if path.exists() else None

    async def digest(self, source: LocalSource) -> str:
        """See HeldTree."""
        selector = Selector("/", include_patterns=source.include_patterns, exclude_patterns=source.exclude_patterns)
        task = self._digests.get(selector)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._digests[selector] = asyncio.create_task(executors.storage.run(self._digest, selector))
        return await asyncio.shield(task)

    def _digest(self, selector: Selector) -> str:
        root = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return content_digest(root, (selector,), self.known())
        finally:
            os.close(root)


class ContextTrees:
    """All of them."""

    def __init__(self, data_root: Path, trash: Trash) -> None:
        """trash: on the same file system."""
        self.root = data_root / "build" / "trees"
        self._trash = trash
        self._boot = _BOOT.read_text().strip()
        #: By id.
        self._trees: dict[str, StoredTree] = {}
        self._load()

    def find(self, key: str) -> StoredTree | None:
        """The tree of a key. Raises InvalidParameter for what is no key."""
        if not _KEY.fullmatch(key):
            raise InvalidParameter("the key of a context is 32 to 128 hexadecimal characters")
        return self._trees.get(_id(key))

    def latest(self, like: str) -> StoredTree | None:
        """Of the trees whose keys begin with a text, the one that was used last."""
        found = [one for one in self._trees.values() if one.key.startswith(like) and not one.is_archive]
        return max(found, key=lambda one: one.last_used, default=None)

    def of_archive(self, digest: str) -> StoredTree | None:
        """The tree of an archive."""
        return self._trees.get(_id(_ARCHIVE + digest))

    def has_archive(self, marks: bytes) -> bool:
        """Whether one of the archives began so."""
        return any(one.about.marks.startswith(marks) for one in self._trees.values() if one.is_archive)

    def keep_archive(self, digest: str, made: Path, about: AboutTree) -> StoredTree:
        """As `keep`."""
        return self.keep(_ARCHIVE + digest, made, about)

    def hold(self, kept: StoredTree) -> None:
        """Keep a tree until `release`."""
        kept.holders += 1

    def release(self, kept: StoredTree) -> None:
        """End one `hold`."""
        kept.holders -= 1
        if kept.is_replaced and not kept.holders:
            self._trash.discard_in_background(kept.path)

    def take(self, kept: StoredTree, target: Path) -> bool:
        """Give a tree's files away to who alone holds it; False where others do. Raises OSError."""
        if kept.holders > 1 or kept.is_replaced:
            return False
        os.rename(kept.directory, target)
        self._drop(kept)
        return True

    def keep(self, key: str, made: Path, about: AboutTree) -> StoredTree:
        """Let a complete tree be the one of a key; it is held. Raises OSError."""
        before = self._trees.get(_id(key))
        number = before.number + 1 if before is not None else time.time_ns()
        self.root.mkdir(mode=0o700, exist_ok=True)
        about = msgspec.structs.replace(about, boot=self._boot)
        (made / "about").write_bytes(msgspec.json.encode(about))
        path = self.root / f"{key}-{number}"
        os.rename(made, path)
        kept = StoredTree(key, number, path, about)
        self.hold(kept)
        if before is not None:
            self._drop(before)
        self._trees[kept.id] = kept
        self._bound()
        return kept

    def _drop(self, kept: StoredTree) -> None:
        if self._trees.get(kept.id) is kept:
            del self._trees[kept.id]
        kept.is_replaced = True
        if not kept.holders:
            self._trash.discard_in_background(kept.path)

    def _bound(self) -> None:
        free = sorted((one for one in self._trees.values() if not one.holders), key=lambda one: one.last_used)
        archives = [one for one in free if one.is_archive]
        for one in archives[: max(0, sum(one.is_archive for one in self._trees.values()) - MOST_ARCHIVES)]:
            self._drop(one)
            free.remove(one)
        for one in free[: max(0, len(self._trees) - MOST_TREES)]:
            self._drop(one)

    # What is kept

    def all(self) -> list[StoredTree]:
        """Every tree that is the one of its key."""
        return list(self._trees.values())

    def is_used(self, id: str) -> bool:
        """Whether a build holds one."""
        found = self._trees.get(id)
        return found is not None and found.holders > 0

    def remove(self, id: str) -> bool:
        """Remove one that no build holds; whether there was one."""
        found = self._trees.get(id)
        if found is None or found.holders:
            return False
        self._drop(found)
        return True

    def _load(self) -> None:
        if not self.root.exists():
            return
        found = []
        for path in self.root.iterdir():
            kept = self._read(path)
            if kept is None:
                self._trash.take(path)
            else:
                found.append(kept)
        for kept in sorted(found, key=lambda one: one.number):
            if (before := self._trees.get(kept.id)) is not None:
                self._trash.take(before.path)
            self._trees[kept.id] = kept

    def _read(self, path: Path) -> StoredTree | None:
        named = _NAME.fullmatch(path.name)
        try:
            about = msgspec.json.decode((path / "about").read_bytes(), type=AboutTree)
        except (OSError, msgspec.MsgspecError):
            return None
        if named is None or about.boot != self._boot or not (path / "files").is_dir():
            return None
        return StoredTree(named[1], int(named[2]), path, about)
