"""Trees that containers and archives wrote: walked and removed without trusting a name in them, or their size.

Whoever writes such a tree may nest directories deeper than paths are long, than the interpreter recurses and than
there are descriptors, and may put millions of entries into one. So this is the only module that walks (`make lint`
holds that): directories are opened relative to each other and no link is followed; a few descriptors are open at once,
and the way back up is `..`, if that is the directory that the walk came from; names of a directory are read in
batches.

Workers load this module for every layer: it imports little.
"""

from __future__ import annotations

import errno
import os
import stat
from array import array

# Loading what is for type checkers only takes as long as the rest of a worker's start.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: The kinds of steps of a walk.
ENTRY, ENTER, LEAVE = 0, 1, 2
Step = tuple[int, int, str, os.stat_result]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Gone since its name was read, or become something else: as if it had never been there.
_VANISHED = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE))
# Names of one directory that are in memory at once, and those of all directories above the one that is read.
BATCH = 32 * 1024
_PENDING = 4 * BATCH
#: Descriptors that are open at once.
HELD = 32


class _Level:
    """What is still to be seen of a directory; `names` has the next one last, `after` is the last one seen."""

    __slots__ = ("after", "first", "more", "names", "ordered")

    def __init__(self, *, ordered: bool) -> None:
        self.names: list[str] = []
        self.after = ""
        self.first = self.more = True
        self.ordered = ordered


class Way:
    """Leads from a directory down into others, and back up; `directory` is a descriptor of where it is."""

    def __init__(self, top: int, held: int = HELD) -> None:
        """`top` stays the caller's. At most `held` descriptors are open."""
        self._top = top
        self._most_held = held
        self._held: list[int] = []
        # Device and inode of each directory from the top on: they tell whether `..` leads back.
        self._passed = array("Q")

    @property
    def directory(self) -> int:
        """It stays the way's."""
        return self._held[-1] if self._held else self._top

    def down(self, name: str) -> os.stat_result:
        """Go into a directory, no link, and return its status. Raises OSError."""
        directory = os.open(name, _DIRECTORY, dir_fd=self.directory)
        self._held.append(directory)
        if len(self._held) > self._most_held:
            os.close(self._held.pop(0))
        status = os.fstat(directory)
        self._passed.append(status.st_dev)
        self._passed.append(status.st_ino)
        return status

    def up(self) -> None:
        """Go back. Raises OSError; ESTALE when the directory was moved to another one meanwhile."""
        directory = self._held.pop()
        try:
            del self._passed[-2:]
            if self._passed and not self._held:
                self._held.append(os.open("..", _DIRECTORY, dir_fd=directory))
                status = os.fstat(self._held[-1])
                if (status.st_dev, status.st_ino) != (self._passed[-2], self._passed[-1]):
                    raise OSError(errno.ESTALE, "directories were moved while they were read")
        finally:
            os.close(directory)

    def close(self) -> None:
        """Let go of all descriptors."""
        for descriptor in self._held:
            os.close(descriptor)
        self._held.clear()


class Walk:
    """One walk below a directory, depth first. Iterating over it yields steps `(kind, directory, name, status)`.

    ENTRY   anything but a directory; `directory` is a descriptor of the one that it is in
    ENTER   a directory, of which `directory` is a descriptor; what is in it comes next, unless `skip` is called
    LEAVE   all of that directory has been seen

    Descriptors are the walk's, and are good until the next step. What vanishes meanwhile is left out. Raises OSError;
    ESTALE when directories above were moved to another place meanwhile.
    """

    def __init__(
        self, top: int, *, ordered: bool = False, wide_ordered: bool = False, batch: int = BATCH, held: int = HELD
    ) -> None:
        """`top` stays the caller's. `batch` is how many names of one directory are in memory at once, `held` how many
        descriptors are open.

        `ordered`: entries come in the order of their names, where a directory has no more than `batch`; with
        `wide_ordered` everywhere, and what is wider is read once for each batch.
        """
        self._way = Way(top, held)
        self._ordered = ordered or wide_ordered
        self._wide_ordered = wide_ordered
        self._batch = batch
        # None: nothing more is to be seen of it.
        self._levels: list[_Level | None] = [_Level(ordered=self._ordered)]
        self._pending = 0
        # Grows as long as the file system answers.
        self.seen = 0

    def skip(self) -> None:
        """After ENTER: do not look into the directory; LEAVE comes next."""
        self._levels[-1] = None

    @property
    def depth(self) -> int:
        """How many directories the walk is below its top."""
        return len(self._levels) - 1

    def __iter__(self) -> Iterator[Step]:
        try:
            while self._levels:
                level = self._levels[-1]
                if level is not None and not level.names and level.more:
                    yield from self._read(level)
                if level is None or not level.names:
                    if len(self._levels) > 1:
                        yield LEAVE, self._way.directory, "", _NO_STATUS
                        self._way.up()
                    self._levels.pop()
                    continue
                # Most names are those of files: this is what a walk's time goes to.
                names, directory, before = level.names, self._way.directory, len(level.names)
                name = ""
                while names:
                    name = names.pop()
                    status = _status(directory, name)
                    if status is None:
                        continue
                    if stat.S_ISDIR(status.st_mode):
                        break
                    yield ENTRY, directory, name, status
                else:
                    status = None
                level.after = name
                self._pending -= before - len(names)
                self.seen += before - len(names)
                if status is None:
                    continue
                opened = self._down(name)
                if opened is None:
                    continue
                if not level.names and not level.more:
                    self._levels[-1] = None
                self._levels.append(_Level(ordered=self._ordered))
                yield ENTER, self._way.directory, name, opened
        finally:
            self._way.close()

    def _read(self, level: _Level) -> Iterator[Step]:
        """Read the next names of the directory; where there is no order, what is no directory is a step at once."""
        if level.ordered:
            level.names, level.more = _smallest(self._way.directory, level.after, self._batch)
            if level.more and not self._wide_ordered:
                level.names, level.ordered = [], False
        if not level.ordered:
            yield from self._read_unordered(level)
        self._pending += len(level.names)
        if self._pending > max(_PENDING, 2 * self._batch):
            self._drop_pending(level)

    def _read_unordered(self, level: _Level) -> Iterator[Step]:
        directory, first = self._way.directory, level.first
        names = _SmallestNames(level.after, self._batch)
        with os.scandir(directory) as entries:
            for entry in entries:
                self.seen += 1
                if entry.is_dir(follow_symlinks=False):
                    names.add(entry.name)
                elif first:
                    status = _status(directory, entry.name)
                    if status is not None:
                        yield ENTRY, directory, entry.name, status
        level.first = False
        level.names, level.more = names.descending()

    def _drop_pending(self, kept: _Level) -> None:
        """Drop the names that wait in directories further up: they are read again from where they were left."""
        for level in self._levels:
            if level is not None and level is not kept and level.names:
                self._pending -= len(level.names)
                level.names = []
                level.more = True

    def _down(self, name: str) -> os.stat_result | None:
        try:
            return self._way.down(name)
        except OSError as error:
            if error.errno in _VANISHED:
                return None
            raise


class _SmallestNames:
    """The smallest of many names that are greater than one, at most `limit` of them: a directory is read in turns."""

    def __init__(self, after: str, limit: int) -> None:
        self._after = after
        self._limit = limit
        self._names: list[str] = []
        self._bound: str | None = None

    def add(self, name: str) -> None:
        """Take a name."""
        if name <= self._after or (self._bound is not None and name >= self._bound):
            return
        self._names.append(name)
        if len(self._names) >= 2 * self._limit:
            self._cut()

    def _cut(self) -> None:
        self._names.sort()
        self._bound = self._names[self._limit]
        del self._names[self._limit :]

    def descending(self) -> tuple[list[str], bool]:
        """They, the greatest first; and whether there are more."""
        if len(self._names) > self._limit:
            self._cut()
        self._names.sort(reverse=True)
        return self._names, self._bound is not None


def _smallest(directory: int, after: str, limit: int) -> tuple[list[str], bool]:
    """The smallest names in a directory that are greater than `after`, as `_SmallestNames.descending`."""
    names: list[str] = []
    bound, more = "", False
    with os.scandir(directory) as entries:
        for entry in entries:
            name = entry.name
            if name > after and (not more or name < bound):
                names.append(name)
                if len(names) >= 2 * limit:
                    names.sort()
                    bound, more = names[limit], True
                    del names[limit:]
    names.sort(reverse=True)
    if len(names) > limit:
        del names[: len(names) - limit]
        more = True
    return names, more


def sorted_names(directory: int, batch: int = BATCH) -> Iterator[str]:
    """Yield the names in a directory, in order where there are no more than `batch`."""
    names, more = _smallest(directory, "", batch)
    if not more:
        yield from reversed(names)
        return
    with os.scandir(directory) as entries:
        for entry in entries:
            yield entry.name


def _status(directory: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError as error:
        if error.errno in _VANISHED:
            return None
        raise


def host_directories(top: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield directory, names of directories in it, other names: for trees of the kernel and /dev, parents first.

    As os.walk(), whose recursion nested control groups exceed. The second list may be changed. What cannot be read, or
    has a path too long to be named, is left out.
    """
    pending = [top]
    while pending:
        where = pending.pop()
        directories: list[str] = []
        others: list[str] = []
        try:
            with os.scandir(where) as entries:
                for entry in entries:
                    (directories if entry.is_dir(follow_symlinks=False) else others).append(entry.name)
        except OSError:
            continue
        yield where, directories, others
        pending += [os.path.join(where, name) for name in directories]


_NO_STATUS = os.stat_result((0,) * 10)

# Removal

# Deeper directories are taken up to the top first: that bounds descriptors, and what the kernel keeps of the way.
_REMOVAL_DEPTH = 64
# Of each directory on the way.
_REMOVAL_BATCH = 2048
# What cannot be removed is passed over, so that all the rest is; of so many, the removal is given up.
_MOST_FAILURES = 100
# How often `discard_tree` tries to remove what grows.
_ATTEMPTS = 5


def remove_tree(path: Path) -> None:
    """Remove a file or a directory with all that is in it; fine when it is gone.

    No link is followed and no mount entered. Any depth and width, in bounded memory. Raises OSError, the first one,
    when something cannot be removed; all the rest is gone then.
    """
    try:
        directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        remove_entry(directory, path.name)
    except OSError as error:
        raise OSError(error.errno, error.strerror, error.filename or str(path)) from error
    finally:
        os.close(directory)


def discard_tree(path: Path) -> None:
    """As `remove_tree`, of what is in nobody's way: what cannot be removed is logged.

    A program that is about to end may still make files in it: what it has made meanwhile goes, too.
    """
    for _ in range(_ATTEMPTS):
        try:
            remove_tree(path)
        except OSError as error:
            failure = error
            if error.errno != errno.ENOTEMPTY:
                break
        else:
            return
    import logging  # noqa: PLC0415 - workers have no use for it

    logging.getLogger("darse.trees").warning("cannot remove %s: %s", path, failure)


def remove_entry(parent: int, name: str) -> None:
    """As `remove_tree`, of what is `name` in the directory `parent`."""
    try:
        top = os.open(name, _DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        os.unlink(name, dir_fd=parent)
        return
    try:
        _Removal(top).run()
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)


class _Place:
    """A directory on the way that is being emptied; `names` are directories in it that are to be removed."""

    __slots__ = ("descriptor", "name", "names")

    def __init__(self, descriptor: int, name: str) -> None:
        self.descriptor = descriptor
        self.name = name
        self.names: list[str] = []


class _Removal:
    """Empties a directory."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._way = [_Place(top, "")]
        self._failures: dict[tuple[int, int, str], OSError] = {}

    def run(self) -> None:
        """Raises OSError when something is left."""
        try:
            while self._way:
                place = self._way[-1]
                if not place.names and not self._fill(place):
                    self._way.pop()
                    if self._way:
                        os.close(place.descriptor)
                        self._attempt(self._way[-1].descriptor, place.name, os.rmdir)
                    continue
                self._next(place)
        finally:
            for place in self._way[1:]:
                os.close(place.descriptor)
        if self._failures:
            raise next(iter(self._failures.values()))

    def _fill(self, place: _Place) -> bool:
        """Remove the files of a directory, and note the next directories in it; whether there are any."""
        with os.scandir(place.descriptor) as entries:
            for entry in entries:
                if self._failures and self._key(place.descriptor, entry.name) in self._failures:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    place.names.append(entry.name)
                    if len(place.names) == _REMOVAL_BATCH:
                        break
                else:
                    self._attempt(place.descriptor, entry.name, os.unlink)
        return bool(place.names)

    def _next(self, place: _Place) -> None:
        name = place.names.pop()
        if len(self._way) > _REMOVAL_DEPTH:
            self._attempt(place.descriptor, name, self._take_up)
            return
        try:
            inner = os.open(name, _DIRECTORY, dir_fd=place.descriptor)
        except FileNotFoundError:
            return
        except OSError as error:
            self._failed(place.descriptor, name, error)
            return
        self._way.append(_Place(inner, name))

    def _take_up(self, name: str, *, dir_fd: int) -> None:
        os.rename(name, f".removing-{os.urandom(16).hex()}", src_dir_fd=dir_fd, dst_dir_fd=self._top)

    def _attempt(self, directory: int, name: str, action: Callable[..., None]) -> None:
        try:
            action(name, dir_fd=directory)
        except FileNotFoundError:
            return
        except OSError as error:
            self._failed(directory, name, error)

    def _failed(self, directory: int, name: str, error: OSError) -> None:
        self._failures[self._key(directory, name)] = error
        if len(self._failures) > _MOST_FAILURES:
            raise next(iter(self._failures.values()))

    @staticmethod
    def _key(directory: int, name: str) -> tuple[int, int, str]:
        status = os.fstat(directory)
        return status.st_dev, status.st_ino, name
