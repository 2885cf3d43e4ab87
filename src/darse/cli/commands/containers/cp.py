"""`cp`: between a container and this machine, or a tar stream."""

from __future__ import annotations

import base64
import json
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

from darse.archive.errors import ArchiveRefused
from darse.archive.extract import NoLinks, Unpacker, entries
from darse.archive.tar_writer import TreePacker
from darse.cli.command_line.flags import Command, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.commands.containers import copy_paths
from darse.cli.commands.containers.copy_paths import Place, split_path
from darse.cli.errors import ApiError, CliError
from darse.client.blocking import Response
from darse.client.requests import archives
from darse.go_modes import GO_DIRECTORY, GO_SYMLINK, GO_TYPES
from darse.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.client.documents.containers import ContainerPathStatDocument

_PIECE = 256 * 1024
_NO_FILE = GO_TYPES & ~(GO_DIRECTORY | GO_SYMLINK)
_STAT = "x-docker-container-path-stat"


def copy(invocation: Invocation) -> int:
    """Copy in the direction that the arguments say."""
    for end, argument in zip(("source", "destination"), invocation.arguments, strict=True):
        if not argument:
            raise CliError(f"{end} can not be empty")
    source, destination = map(copy_paths.split_argument, invocation.arguments)
    if source[0] and destination[0]:
        raise CliError("copying between containers is not supported")
    if source[0]:
        return _from_container(invocation, *source, destination[1])
    if destination[0]:
        return _to_container(invocation, source[1], *destination)
    raise CliError("must specify at least one container source")


class _Progress:
    """The bytes that have gone by, on a terminal's line of their own."""

    def __init__(self, invocation: Invocation, header: str) -> None:
        options = invocation.options
        self._quiet = options.quiet if "quiet" in options.given else not sys.stdout.isatty()
        self._moves = sys.stderr.isatty()
        self._header = header
        self._shown = ""
        self._size = 0

    def count(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Pass pieces on."""
        for piece in pieces:
            self._size += len(piece)
            if not self._quiet and self._moves:
                text = f"{self._header} - {human_size(self._size, 3)}"
                if text != self._shown:
                    self._shown = text
                    sys.stderr.write(f"\r\x1b[2K{text}")
                    sys.stderr.flush()
            yield piece

    def done(self, place: str) -> None:
        """Say that all went well."""
        if not self._quiet:
            line = "\r\x1b[2K" if self._shown else ""
            sys.stderr.write(f"{line}Successfully copied {human_size(self._size, 3)} to {place}\n")


# Out of a container


def _from_container(invocation: Invocation, container: str, path: str, destination: str) -> int:
    to_stream = destination == "-"
    if not to_stream:
        destination = copy_paths.absolute(destination)
        copy_paths.check_output(destination)
    name = ""
    if invocation.options.follow_link:
        path, name = _followed(invocation, container, path)
    response = invocation.client.open(archives.archive(container, path))
    if to_stream:
        for piece in response.pieces():
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return 0
    is_directory = bool(_stat_of(response)["mode"] & GO_DIRECTORY)
    where = copy_paths.target(Place(path, True, is_directory, name), copy_paths.local_destination(destination))
    progress = _Progress(invocation, "Copying from container")
    pieces = progress.count(response.pieces())
    # Whose archive has another first name than the one that was asked for, is renamed twice.
    asked, found = (name, split_path(path)[1]) if name else ("", "")
    _unpack(pieces, where, _renamer(*((found, asked), (where.old, where.new))))
    progress.done(destination)
    return 0


def _followed(invocation: Invocation, container: str, path: str) -> tuple[str, str]:
    """Where a link in the container leads, and the name that its copy keeps."""
    found = _stat(invocation, container, path)
    if found is None or not found["mode"] & GO_SYMLINK:
        return path, ""
    return copy_paths.after_link(path, os.path.join(split_path(path)[0], found["linkTarget"]))


def _unpack(pieces: Iterator[bytes], where: copy_paths.CopyTarget, rename: Any) -> None:
    removed = ""
    try:
        top = os.open(where.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.umask(0)
        unpacker = Unpacker(NoLinks(top), where.directory, keep_kinds=True, own=False, rename=rename)
        try:
            unpacker.unpack(entries(pieces))
        finally:
            removed = unpacker.removed
    except ArchiveRefused as error:
        raise CliError(str(error)) from error
    except OSError as error:
        text = f"{removed or error.filename or where.directory}: {(error.strerror or str(error)).lower()}"
        raise CliError(text + (": what was written of it is removed" if removed else "")) from error


def _renamer(*pairs: tuple[str, str]) -> Any:
    changes = [(os.fsencode(old), os.fsencode(new)) for old, new in pairs if new]
    if not changes:
        return None

    def rename(name: bytes) -> bytes:
        for old, new in changes:
            name = name.replace(old, new, 1)
        return name

    return rename


# Into a container


def _to_container(invocation: Invocation, source: str, container: str, path: str) -> int:
    destination = _container_destination(invocation, container, path)
    progress = _Progress(invocation, "Copying to container")
    if source == "-":
        if not destination.is_directory:
            raise CliError(f'destination "{container}:{path}" must be a directory')
        pieces, directory = _stdin(), destination.path
    else:
        place = copy_paths.local_source(copy_paths.absolute(source), follow=invocation.options.follow_link)
        where = copy_paths.target(place, destination)
        directory = where.directory
        pieces = _packed(place, where.new or place.name or split_path(place.path)[1])
    body = progress.count(pieces)
    request = archives.put_archive(container, directory, body, keep_kinds=True, keep_owners=invocation.options.archive)
    invocation.client.open(request).body()
    progress.done(f"{container}:{destination.path}")
    return 0


def _container_destination(invocation: Invocation, container: str, path: str) -> Place:
    found = _stat(invocation, container, path)
    if found is not None and found["mode"] & GO_SYMLINK:
        path = os.path.join(split_path(path)[0], found["linkTarget"])
        found = _stat(invocation, container, path)
    if found is None:
        return Place(path)
    if found["mode"] & _NO_FILE:
        raise CliError(f'destination "{container}:{path}" must be a directory or a regular file')
    return Place(path, True, bool(found["mode"] & GO_DIRECTORY))


def _stdin() -> Iterator[bytes]:
    while piece := os.read(0, _PIECE):
        yield piece


def _packed(source: Place, name: str) -> Iterator[bytes]:
    """The source as an archive. A thread packs it: into a pipe, so that large files are not copied on the way."""
    reading, writing = os.pipe()
    failures: list[Exception] = []

    def pack() -> None:
        try:
            parent, base = split_path(source.path)
            directory = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            packer = TreePacker(writing)
            packer.add(directory, base, os.fsencode(name))
            packer.finish()
        except BrokenPipeError:
            return  # the engine has refused the rest, and says why
        except (OSError, ArchiveRefused) as error:
            failures.append(error)
        finally:
            os.close(writing)

    thread = threading.Thread(target=pack, daemon=True)
    thread.start()
    try:
        while piece := os.read(reading, _PIECE):
            yield piece
    finally:
        os.close(reading)
    thread.join()
    if failures:
        raise CliError(f"cannot read {source.path}: {failures[0]}")


# What both need


def _stat(invocation: Invocation, container: str, path: str) -> ContainerPathStatDocument | None:
    """What the engine finds at a path; None when that is nothing, or it cannot say."""
    try:
        response = invocation.client.open(archives.stat_path(container, path))
    except ApiError:
        return None  # what then comes of it is for the copy itself to say, as docker has it
    try:
        return _stat_of(response)
    finally:
        response.close()


def _stat_of(response: Response[object]) -> ContainerPathStatDocument:
    document: ContainerPathStatDocument = json.loads(base64.b64decode(response.headers[_STAT]))
    return document


COMMANDS = {
    "container cp": (
        Command(
            "container cp",
            "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tdarse cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
            "Copy files/folders between a container and the local filesystem",
            (
                switch("archive", "Archive mode (copy all uid/gid information)", "a"),
                switch("follow-link", "Always follow symbol link in SRC_PATH", "L"),
                switch(
                    "quiet",
                    "Suppress progress output during copy. Progress output is automatically suppressed if no terminal "
                    "is attached",
                    "q",
                ),
            ),
            2,
            2,
        ),
        copy,
    ),
}
