"""What is in the directory of a build context, but for what its `.dockerignore` leaves out.

In the order of a walk that sees a directory before what is in it, and names in the order of their bytes. A directory
that is left out is there all the same when something in it is not (`!`), as with BuildKit's clients.
"""

from __future__ import annotations

import os

from darse.build.ignore import PathMatcher, PathResult
from darse.cli.errors import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    #: Path from the context's root, and status.
    Found = tuple[bytes, os.stat_result]


class _Level:
    """A directory whose entries are looked at."""

    __slots__ = ("entries", "left_out", "prefix", "result")

    def __init__(
        self, entries: list[os.DirEntry[bytes]], prefix: bytes, result: PathResult | None, left_out: Found | None
    ) -> None:
        self.entries = iter(entries)
        self.prefix = prefix
        self.result = result
        #: The directory itself, while nobody has seen it.
        self.left_out = left_out


def walk(directory: str, patterns: Sequence[str]) -> Iterator[Found]:
    """Yield what a directory has. Raises CliError."""
    top = os.fsencode(directory)
    matcher = PathMatcher(patterns) if patterns else None
    # Not recursion: trees may be deep.
    levels = [_Level(_entries(top), b"", None, None)]
    while levels:
        level = levels[-1]
        prefix = level.prefix
        for entry in level.entries:
            path = prefix + entry.name
            is_directory = entry.is_dir(follow_symlinks=False)
            result = None
            if matcher is not None:
                name = os.fsdecode(path)
                result = matcher.below(name, level.result)
                if result.matched:
                    if is_directory and matcher.may_have_exceptions(name):
                        levels.append(_Level(_entries(entry.path), path + b"/", result, (path, _status(entry))))
                        break
                    continue
                for above in levels:
                    if above.left_out is not None:
                        yield above.left_out
                        above.left_out = None
            yield path, _status(entry)
            if is_directory:
                levels.append(_Level(_entries(entry.path), path + b"/", result, None))
                break
        else:
            levels.pop()


def _entries(directory: bytes) -> list[os.DirEntry[bytes]]:
    try:
        with os.scandir(directory) as entries:
            return sorted(entries, key=_name)
    except OSError as error:
        raise unreadable(directory, error) from error


def _name(entry: os.DirEntry[bytes]) -> bytes:
    return entry.name


def _status(entry: os.DirEntry[bytes]) -> os.stat_result:
    try:
        return entry.stat(follow_symlinks=False)
    except OSError as error:
        raise unreadable(entry.path, error) from error


def unreadable(path: str | bytes, error: OSError) -> CliError:
    """The error for what of a context cannot be read, in docker's words."""
    return CliError(
        f"error checking context: can't stat '{os.fsdecode(path)}': {(error.strerror or str(error)).lower()}"
    )
