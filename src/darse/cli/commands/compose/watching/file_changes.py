"""Which files below some paths change: by inotify(7), with what many changes at once have in common told together."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator

from darse.build.ignore import PathMatcher, read_ignore_file
from darse.linux.fs.contained import ENTER, ENTRY, LEAVE, Walk
from darse.linux.fs.watches import Watches

# Seconds after a change in which more are waited for: an editor writes, renames and removes within a few milliseconds.
_QUIET = 0.03
# Changes that never end are reported at least so often.
_LONGEST = 0.2


class FileChanges:
    """Watches trees of directories. A context manager: its end stops the watch."""

    def __init__(self, roots: Iterable[str], is_left_out: Callable[[str], bool]) -> None:
        """`is_left_out` says of a directory that nothing in it is of interest."""
        self._roots = list(dict.fromkeys(roots))
        self._is_left_out = is_left_out
        self._watches = Watches()
        self._directories: set[str] = set()
        self._woken = asyncio.Event()

    def __enter__(self) -> FileChanges:
        for root in self._roots:
            if os.path.isdir(root):
                self._directories |= set(self._below(root))
            else:
                # What is watched of a file is its directory: editors put another in its place.
                self._directories.add(os.path.dirname(root))
        self._watches.set(self._directories)
        asyncio.get_running_loop().add_reader(self._watches.descriptor, self._woken.set)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._watches.descriptor)
        self._watches.close()

    def _below(self, root: str) -> list[str]:
        return [path for path, is_directory in tree(root, self._is_left_out) if is_directory]

    async def batches(self) -> AsyncIterator[set[str]]:
        """Yield the paths that have changed, until the context ends."""
        loop = asyncio.get_running_loop()
        while True:
            await self._woken.wait()
            begun = loop.time()
            found: set[str] = set()
            while self._woken.is_set() and loop.time() - begun < _LONGEST:
                self._woken.clear()
                found |= self._read()
                try:
                    await asyncio.wait_for(self._woken.wait(), _QUIET)
                except TimeoutError:
                    break
            if found:
                yield found

    def _read(self) -> set[str]:
        """The files of the changes that have come; new directories are watched, and what is in them has changed."""
        found: set[str] = set()
        more: set[str] = set()
        for directory, name in self._watches.changes():
            if not directory:
                # The kernel has lost changes: everything may have changed.
                for root in self._roots:
                    found |= self._files(root)
                continue
            path = os.path.join(directory, name) if name else directory
            if os.path.isdir(path) and not os.path.islink(path):
                if name and path not in self._directories and not self._is_left_out(path):
                    more |= set(self._below(path))
                    found |= self._files(path)
            elif name:
                found.add(path)
        if more:
            self._directories |= more
            self._watches.set(self._directories)
        return found

    def _files(self, root: str) -> set[str]:
        return {path for path, is_directory in tree(root, self._is_left_out) if not is_directory}


def tree(root: str, is_left_out: Callable[[str], bool]) -> Iterator[tuple[str, bool]]:
    """The paths of a file, or of a directory and what is in it, and whether each is a directory."""
    try:
        top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except NotADirectoryError:
        yield root, False
        return
    except OSError:
        return  # gone, or not to be read: nothing can be brought from it
    try:
        path = [root]
        yield root, True
        walk = Walk(top)
        for kind, _, name, _ in walk:
            if kind == ENTRY:
                yield os.path.join(*path, os.fsdecode(name)), False
            elif kind == ENTER:
                path.append(os.fsdecode(name))
                if is_left_out(os.path.join(*path)):
                    walk.skip()
                else:
                    yield os.path.join(*path), True
            elif kind == LEAVE:
                path.pop()
    finally:
        os.close(top)


def ignorer(root: str, ignored: list[str], included: list[str], context: str) -> Callable[[str], bool]:
    """What says of a path that it is not meant: by the patterns of an entry, and by `.dockerignore` of the context."""
    own = PathMatcher([*ignored, ".git", "**/.git"])
    only = PathMatcher(included) if included else None
    of_context = PathMatcher(_dockerignore(context)) if context and os.path.isdir(context) else None

    def ignores(path: str) -> bool:
        inside = os.path.relpath(path, root)
        if inside == ".":
            return False
        if own.matches(inside) or (only is not None and not os.path.isdir(path) and not only.matches(inside)):
            return True
        in_context = os.path.relpath(path, context) if of_context is not None else ".."
        return of_context is not None and not in_context.startswith("..") and of_context.matches(in_context)

    return ignores


def _dockerignore(context: str) -> list[str]:
    try:
        with open(os.path.join(context, ".dockerignore"), encoding="utf-8", errors="surrogateescape") as file:
            return read_ignore_file(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return []
