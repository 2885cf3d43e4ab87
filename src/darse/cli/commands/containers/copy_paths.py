"""Where a copy goes, and under which name: the rules of docker's `cp`, which are those of `cp -a`.

A trailing `/` or `/.` asks for a directory, `/.` for what is in it. A destination that is a directory takes the source
into it; one that does not exist becomes the source, if its parent is there; a file never becomes a directory, nor a
directory a file. Kept apart from what is done with it, so that the rules can be read, and tested, as a table.
"""

from __future__ import annotations

import os
import posixpath
import stat
from typing import NamedTuple

from darse.cli.errors import CliError

_LINKS = 10


class Place(NamedTuple):
    """One end of a copy. `name` is what the source was asked for by, when a link has led to another one."""

    path: str
    exists: bool = False
    is_directory: bool = False
    name: str = ""


class CopyTarget(NamedTuple):
    """The directory to unpack into, and which beginning of the entries' names to replace by what."""

    directory: str
    old: str = ""
    new: str = ""


def split_argument(text: str) -> tuple[str, str]:
    """Container (empty for a local path) and path of a `CONTAINER:PATH` or `PATH`."""
    container, colon, path = text.partition(":")
    if text.startswith("/") or not colon or container.startswith("."):
        return "", text
    return container, path


def asks_for_contents(path: str) -> bool:
    """Whether a path ends in `/.`; the empty one is `.`."""
    return posixpath.basename(path) == "." or not path


def asks_for_directory(path: str) -> bool:
    """Whether a path can only be a directory."""
    return path.endswith("/") or asks_for_contents(path)


def absolute(path: str) -> str:
    """An absolute, clean path that keeps its trailing `/` or `/.`."""
    clean = os.path.abspath(path)
    if asks_for_contents(path):
        return clean.rstrip("/") + "/."
    return clean + "/" if path.endswith("/") and clean != "/" else clean


def split_path(path: str) -> tuple[str, str]:
    """Parent and last part; `/.` counts as a part."""
    clean = posixpath.normpath(path)
    if asks_for_contents(path):
        return clean, "."
    return posixpath.dirname(clean) or ".", posixpath.basename(clean) or "/"


def after_link(path: str, resolved: str) -> tuple[str, str]:
    """What a link was resolved to, as demanding as the path was; and the name that the copy is to keep."""
    if asks_for_contents(path) and not asks_for_contents(resolved):
        resolved += "/."
    if path.endswith("/") and not resolved.endswith("/"):
        resolved += "/"
    name, resolved_name = _base(path), _base(resolved)
    return resolved, name if name != resolved_name else ""


def _base(path: str) -> str:
    return posixpath.basename(path.rstrip("/")) or "/"


def local_source(path: str, *, follow: bool) -> Place:
    """A file of ours to copy from. Raises CliError when it is not there."""
    try:
        name = ""
        if follow:
            resolved, name = after_link(path, os.path.realpath(path, strict=True))
        else:
            parent, base = os.path.split(path)
            resolved = os.path.join(os.path.realpath(parent, strict=True), base)
        status = os.lstat(resolved)
    except OSError as error:
        if isinstance(error, NotADirectoryError):
            raise CliError("not a directory") from error
        raise CliError(f"lstat {path.rstrip('/') or '/'}: {(error.strerror or str(error)).lower()}") from error
    is_directory = stat.S_ISDIR(status.st_mode)
    if asks_for_directory(path) and not is_directory:
        raise CliError("not a directory")
    return Place(resolved, True, is_directory, name)


def local_destination(path: str) -> Place:
    """Where to copy to on our side: links are followed, to where they lead even if nothing is there yet.

    Raises CliError when the parent is not there either.
    """
    for _ in range(_LINKS + 1):
        try:
            status = os.lstat(path)
        except NotADirectoryError as error:
            raise CliError("not a directory") from error
        except FileNotFoundError:
            parent, _ = split_path(path)
            if not os.path.isdir(parent):
                missing = not os.path.exists(parent)
                raise CliError(f"stat {parent}: no such file or directory" if missing else "not a directory") from None
            return Place(path)
        if not stat.S_ISLNK(status.st_mode):
            return Place(path, True, stat.S_ISDIR(status.st_mode))
        path = os.path.join(split_path(path)[0], os.readlink(path))
    raise CliError(f"too many symlinks in {path}")


def check_output(path: str) -> None:
    """Refuse a local destination whose parent is missing, or that is a device. Raises CliError."""
    parent = os.path.dirname(os.path.normpath(path))
    if parent and not os.path.exists(parent):
        raise CliError(f'invalid output path: directory "{parent}" does not exist')
    if os.path.exists(path) and not (os.path.isdir(path) or os.path.isfile(path)):
        kind = "a device" if stat.S_IFMT(os.stat(path).st_mode) in (stat.S_IFBLK, stat.S_IFCHR) else "an irregular file"
        raise CliError(f'invalid output path: "{path}" must be a directory or a regular file: got {kind}')


def target(source: Place, destination: Place) -> CopyTarget:
    """Where the entries of the source's archive go. Raises CliError, in docker's words, for what cannot be."""
    if destination.exists and destination.is_directory:
        return CopyTarget(destination.path)
    if destination.exists and source.is_directory:
        raise CliError("cannot copy directory")
    if not destination.exists and not source.is_directory and asks_for_directory(destination.path):
        raise CliError("no such directory")
    directory, base = split_path(destination.path)
    old = source.name or split_path(source.path)[1]
    return CopyTarget(directory, "" if old == "/" else old, base)
