"""The digest of a part of a tree: what decides about a cache hit of COPY and of mounts.

As docker counts it: names, kinds, permissions, owners, sizes, contents, targets of links, numbers of devices, and the
attributes that go into layers; no times and no hard links. What is selected is found in the tree's own root: absolute
links and `..` lead to nothing outside. The name of what is selected is not part of its digest, names below it are.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Protocol

from darse.build.errors import BuildError
from darse.build.graph.selectors import Selector, has_wildcard
from darse.build.ignore import PathMatcher, PathResult, clean
from darse.linux.fs.contained import ENTER, ENTRY, LEAVE, Walk
from darse.linux.fs.openat2 import open_in_root

_VERSION = b"darse.build.content.v1\n"
_ALL = Selector("/")
_PIECE = 1 << 20
_ATTRIBUTES = ("security.capability", "user.")
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class PathNotFound(BuildError):
    """What is to be copied is not there, or cannot be meant."""


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...


def content_digest(root: int, selectors: Sequence[Selector] = ()) -> str:
    """The digest of what is selected of a tree; no selector is all of it. Blocks: call it in a thread.

    root: a descriptor of the tree's directory; it stays the caller's. Raises PathNotFound and OSError.
    """
    digest = hashlib.sha256(_VERSION)
    for selector in selectors or (_ALL,):
        digest.update(b"selector\n")
        for required in selector.required_paths:
            _status(root, required, follow=True)
        if selector.wildcard and has_wildcard(selector.path):
            # Nothing that matches is something, too: later there may be.
            for path in _matching(root, selector.path):
                _text(digest, path)
                _add(digest, root, path, selector)
        else:
            _add(digest, root, selector.path, selector)
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


def _add(digest: _Hash, root: int, path: str, selector: Selector) -> None:
    """Add a file, or a directory with all that is below it."""
    status = _status(root, path, follow=selector.follow_links)
    if not stat.S_ISDIR(status.st_mode):
        _alone(digest, root, path, status, follow=selector.follow_links)
        return
    top = open_in_root(root, path.lstrip("/") or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        _header(digest, "", status)
        _attributes(digest, top)
        _below(digest, top, selector)
    finally:
        os.close(top)


def _alone(digest: _Hash, root: int, path: str, status: os.stat_result, *, follow: bool) -> None:
    """One that is no directory. follow: links lead to it."""
    if not follow:
        parent, _, name = path.rstrip("/").rpartition("/")
        directory = open_in_root(root, parent.lstrip("/") or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            _entry(digest, directory, name, "", status)
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


def _below(digest: _Hash, top: int, selector: Selector) -> None:
    """What is below a directory, in the order of names."""
    included = PathMatcher(selector.include_patterns) if selector.include_patterns else None
    excluded = PathMatcher(selector.exclude_patterns) if selector.exclude_patterns else None
    names: list[str] = []
    results: list[tuple[PathResult | None, PathResult | None]] = [(None, None)]
    for kind, directory, name, status in Walk(top, wide_ordered=True):
        if kind == LEAVE:
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
            # A directory on the way to what is included has no part in it: its owner and mode come from elsewhere.
            if counts:
                _header(digest, path, status)
                _attributes(digest, directory)
        elif kind == ENTRY and counts:
            _entry(digest, directory, name, path, status)


def _entry(digest: _Hash, directory: int, name: str, path: str, status: os.stat_result) -> None:
    """Anything but a directory. path: as it is shown, from the selected directory on."""
    _header(digest, path, status)
    if stat.S_ISLNK(status.st_mode):
        _text(digest, os.readlink(name, dir_fd=directory))
    elif stat.S_ISREG(status.st_mode):
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
    digest.update(b"%d\n" % size)
    while piece := os.read(descriptor, _PIECE):
        digest.update(piece)


def _text(digest: _Hash, text: str) -> None:
    data = os.fsencode(text)
    digest.update(b"%d:" % len(data))
    digest.update(data)


def _matching(root: int, pattern: str) -> Iterator[str]:
    """The paths that a pattern of filepath.Match has, in order: no `*` matches a slash."""
    components = [part for part in clean(pattern).strip("/").split("/") if part]
    fixed = next(index for index, part in enumerate(components) if has_wildcard(part))
    start = "/".join(components[:fixed])
    expressions = [_component(part) for part in components[fixed:]]
    try:
        top = open_in_root(root, start or ".", os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        yield from _matching_below(top, f"/{start}" if start else "", expressions)
    finally:
        os.close(top)


def _matching_below(top: int, start: str, expressions: Sequence[Any]) -> Iterator[str]:
    names: list[str] = []
    walk = Walk(top, wide_ordered=True)
    for kind, _, name, _ in walk:
        if kind == LEAVE:
            names.pop()
            continue
        depth = len(names)
        matches = depth < len(expressions) and expressions[depth].fullmatch(os.fsencode(name)) is not None
        if matches and depth == len(expressions) - 1:
            yield "/".join((start, *names, name))
        if kind == ENTER:
            names.append(name)
            if not matches or depth == len(expressions) - 1:
                walk.skip()


@lru_cache(256)
def _component(pattern: str) -> Any:
    """One component of a pattern as an expression of RE2: what matches comes from anywhere."""
    import re2  # noqa: PLC0415 - most builds copy without wildcards

    parts, at = [], 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if character == "*":
            parts.append(".*")
        elif character == "?":
            parts.append(".")
        elif character == "[" and "]" in pattern[at + 1 :]:
            end = pattern.index("]", at + 1)
            parts.append("[" + pattern[at:end].replace("[", r"\[") + "]")
            at = end + 1
        elif character == "\\" and at < len(pattern):
            parts.append(_literally(pattern[at]))
            at += 1
        else:
            parts.append(_literally(character))
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = True
    options.encoding = re2.Options.Encoding.LATIN1
    try:
        return re2.compile(os.fsencode("".join(parts)), options)
    except re2.error as error:
        raise PathNotFound(f"syntax error in pattern {pattern!r}: {error}") from None


def _literally(character: str) -> str:
    return f"\\{character}" if character in r"\.+*?()|[]{}^$" else character
