"""Which files differ between two trees, in words: explains why a copy was made again."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping

import msgspec

from darse.build.graph.selectors import Selector
from darse.build.ignore import PathMatcher
from darse.linux.fs.contained import ENTER, LEAVE, Walk

#: More files than these are not looked at.
MOST_FILES = 200_000
_PIECE = 1 << 20
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class FileFacts(msgspec.Struct, frozen=True):
    """What of a file decides about a cache hit."""

    kind: int
    permissions: int
    owner: tuple[int, int]
    content: str
    """Digest of a file, target of a link, number of a device."""


def read_tree(root: int) -> dict[str, FileFacts] | None:
    """All that is below a directory, by path; None where it is too much. Blocks. Raises OSError.

    root: a descriptor; it stays the caller's.
    """
    found: dict[str, FileFacts] = {}
    names: list[str] = []
    for kind, directory, name, status in Walk(root):
        if kind == LEAVE:
            names.pop()
            continue
        path = "/".join((*names, name))
        found[path] = _facts(directory, name, status)
        if len(found) > MOST_FILES:
            return None
        if kind == ENTER:
            names.append(name)
    return found


def _facts(directory: int, name: str, status: os.stat_result) -> FileFacts:
    mode = status.st_mode
    content = ""
    if stat.S_ISLNK(mode):
        content = os.readlink(name, dir_fd=directory)
    elif stat.S_ISREG(mode):
        content = _digest(directory, name)
    elif stat.S_ISBLK(mode) or stat.S_ISCHR(mode):
        content = str(status.st_rdev)
    permissions = 0o777 if stat.S_ISLNK(mode) else stat.S_IMODE(mode)
    return FileFacts(stat.S_IFMT(mode), permissions, (status.st_uid, status.st_gid), content)


def _digest(directory: int, name: str) -> str:
    digest = hashlib.sha256()
    file = os.open(name, _FILE, dir_fd=directory)
    try:
        while piece := os.read(file, _PIECE):
            digest.update(piece)
    finally:
        os.close(file)
    return digest.hexdigest()


def changes(
    before: Mapping[str, FileFacts], after: Mapping[str, FileFacts], selectors: tuple[Selector, ...] = ()
) -> Iterator[str]:
    """Yield what became of files, in the order of their paths: `a.txt: content`, `b: new`, `c: removed`."""
    looked_at = _looked_at(selectors)
    for path in sorted({*before, *after}):
        if not looked_at(path):
            continue
        old, new = before.get(path), after.get(path)
        if old is None:
            yield f"{path}: new"
        elif new is None:
            yield f"{path}: removed"
        elif (words := ", ".join(_differences(old, new))) != "":
            yield f"{path}: {words}"


def _differences(old: FileFacts, new: FileFacts) -> Iterator[str]:
    if old.kind != new.kind:
        yield "another kind of file"
        return
    if old.content != new.content:
        yield "content"
    if old.permissions != new.permissions:
        yield f"mode {old.permissions:o} → {new.permissions:o}"
    if old.owner != new.owner:
        yield "owner {}:{} → {}:{}".format(*old.owner, *new.owner)


def _looked_at(selectors: tuple[Selector, ...]) -> Callable[[str], bool]:
    """Whether an operation with these selectors looks at a path."""
    tests = [_selects(one) for one in selectors]
    return lambda path: not tests or any(test(path) for test in tests)


def _selects(selector: Selector) -> Callable[[str], bool]:
    top = selector.path.strip("/")
    below = PathMatcher([top]) if top else None
    excluded = PathMatcher(selector.exclude_patterns)

    def test(path: str) -> bool:
        inner = path.removeprefix(top).lstrip("/")
        return (below is None or below.matches(path)) and not (inner and excluded.matches(inner))

    return test
