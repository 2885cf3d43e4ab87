"""The digest of a part of a tree: what decides about a cache hit of COPY and of mounts.

As docker counts it: names, kinds, permissions, owners, sizes, contents, targets of links, numbers of devices, and the
attributes that go into layers; no times and no hard links. What is selected is found in the tree's own root: absolute
links and `..` lead to nothing outside. The name of what is selected is not part of its digest, names below it are.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from darse.build.context.wildcards import PathNotFound, matching_paths
from darse.build.graph.selectors import Selector, has_wildcard
from darse.build.ignore import PathMatcher, PathResult
from darse.linux.fs.contained import ENTER, ENTRY, LEAVE, Walk
from darse.linux.fs.openat2 import open_in_root

_VERSION = b"darse.build.content.v2\n"
_ALL = Selector("/")
_PIECE = 1 << 20
_ATTRIBUTES = ("security.capability", "user.")
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class KnownContents(NamedTuple):
    """SHA-256 of contents of files that are never changed in place, by inode, and that are there as long as it is used.

    Such a file has no attribute that counts.
    """

    device: int
    by_inode: Mapping[int, bytes]


NONE_KNOWN = KnownContents(-1, {})


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...


def content_digest(root: int, selectors: Sequence[Selector] = (), known: KnownContents = NONE_KNOWN) -> str:
    """The digest of what is selected of a tree; no selector is all of it. Blocks: call it in a thread.

    root: a descriptor of the tree's directory; it stays the caller's. known: files of it that need not be read. Raises
    PathNotFound and OSError.
    """
    digest = hashlib.sha256(_VERSION)
    for selector in selectors or (_ALL,):
        digest.update(b"selector\n")
        for required in selector.required_paths:
            _status(root, required, follow=True)
        if selector.wildcard and has_wildcard(selector.path):
            # Nothing that matches is something, too: later there may be.
            for path in matching_paths(root, selector.path):
                _text(digest, path)
                _add(digest, root, path, selector, known)
        else:
            _add(digest, root, selector.path, selector, known)
    return f"sha256:{digest.hexdigest()}"


def _status(root: int, path: str, *, follow: bool) -> os.stat_result:
    try:
        descriptor = open_in_root(root, path.lstrip("/") or ".", os.O_PATH | (0 if follow else os.O_NOFOLLOW))
    except (FileNotFoundError, NotADirectoryError):
        raise PathNotFound(f'"{path}": not found') from None
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _add(digest: _Hash, root: int, path: str, selector: Selector, known: KnownContents) -> None:
    """Add a file, or a directory with all that is below it."""
    status = _status(root, path, follow=selector.follow_links)
    if not stat.S_ISDIR(status.st_mode):
        _alone(digest, root, path, status, follow=selector.follow_links)
        return
    top = open_in_root(root, path.lstrip("/") or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        _header(digest, "", status)
        _attributes(digest, top)
        _below(digest, top, selector, known)
    finally:
        os.close(top)


def _alone(digest: _Hash, root: int, path: str, status: os.stat_result, *, follow: bool) -> None:
    """One that is no directory. follow: links lead to it."""
    if not follow:
        parent, _, name = path.rstrip("/").rpartition("/")
        directory = open_in_root(root, parent.lstrip("/") or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            _entry(digest, directory, name, "", status, NONE_KNOWN)
        finally:
            os.close(directory)
        return
    _header(digest, "", status)
    if not stat.S_ISREG(status.st_mode):
        return
    descriptor = open_in_root(root, path.lstrip("/"), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        _attributes(digest, descriptor)
        _content(digest, descriptor, status.st_size)
    finally:
        os.close(descriptor)


def _below(digest: _Hash, top: int, selector: Selector, known: KnownContents) -> None:
    """What is below a directory, in the order of names."""
    included = PathMatcher(selector.include_patterns) if selector.include_patterns else None
    excluded = PathMatcher(selector.exclude_patterns) if selector.exclude_patterns else None
    names: list[str] = []
    results: list[tuple[PathResult | None, PathResult | None]] = [(None, None)]
    # Directories that do not count by themselves, but would be made for what is in them: by their depth.
    waiting: dict[int, bytes] = {}
    for kind, directory, name, status in Walk(top, wide_ordered=True):
        if kind == LEAVE:
            waiting.pop(len(names), None)
            names.pop()
            results.pop()
            continue
        path = "/".join((*names, name))
        inside = included.below(path, results[-1][0]) if included is not None else None
        outside = excluded.below(path, results[-1][1]) if excluded is not None else None
        counts = (inside is None or inside.matched) and (outside is None or not outside.matched)
        if kind == ENTER:
            names.append(name)
            results.append((inside, outside))
        if not counts:
            if kind == ENTER:
                waiting[len(names)] = _directory(path, directory, status)
            continue
        for depth in sorted(waiting):
            digest.update(waiting.pop(depth))
        if kind == ENTER:
            digest.update(_directory(path, directory, status))
        elif kind == ENTRY:
            _entry(digest, directory, name, path, status, known)


class _Bytes(bytearray):
    """Collects what a digest would take."""

    def update(self, data: bytes, /) -> None:
        self.extend(data)


def _directory(path: str, descriptor: int, status: os.stat_result) -> bytes:
    found = _Bytes()
    _header(found, path, status)
    _attributes(found, descriptor)
    return bytes(found)


def _entry(digest: _Hash, directory: int, name: str, path: str, status: os.stat_result, known: KnownContents) -> None:
    """Anything but a directory. path: as it is shown, from the selected directory on."""
    _header(digest, path, status)
    if stat.S_ISLNK(status.st_mode):
        _text(digest, os.readlink(name, dir_fd=directory))
    elif stat.S_ISREG(status.st_mode):
        content = known.by_inode.get(status.st_ino)
        if content is not None and status.st_dev == known.device:
            digest.update(b"%d\n%s" % (status.st_size, content))
            return
        descriptor = os.open(name, _FILE, dir_fd=directory)
        try:
            _attributes(digest, descriptor)
            _content(digest, descriptor, status.st_size)
        finally:
            os.close(descriptor)


def _header(digest: _Hash, path: str, status: os.stat_result) -> None:
    mode = status.st_mode
    # Permissions of links mean nothing, and differ between file systems.
    permissions = 0o777 if stat.S_ISLNK(mode) else stat.S_IMODE(mode)
    device = status.st_rdev if stat.S_ISBLK(mode) or stat.S_ISCHR(mode) else 0
    _text(digest, path)
    digest.update(b"%o %o %d %d %d\n" % (stat.S_IFMT(mode), permissions, status.st_uid, status.st_gid, device))


def _attributes(digest: _Hash, descriptor: int) -> None:
    try:
        names = os.listxattr(descriptor)
    except OSError:
        return  # a file system without attributes
    for name in sorted(name for name in names if name.startswith(_ATTRIBUTES)):
        _text(digest, name)
        value = os.getxattr(descriptor, name)
        digest.update(b"%d\n" % len(value))
        digest.update(value)


def _content(digest: _Hash, descriptor: int, size: int) -> None:
    content = hashlib.sha256()
    while piece := os.read(descriptor, _PIECE):
        content.update(piece)
    digest.update(b"%d\n%s" % (size, content.digest()))


def _text(digest: _Hash, text: str) -> None:
    data = os.fsencode(text)
    digest.update(b"%d:" % len(data))
    digest.update(data)
