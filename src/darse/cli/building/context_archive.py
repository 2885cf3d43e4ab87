"""The build context as an archive: what is in a directory, but for what its `.dockerignore` leaves out.

As docker's client sends it: everything belongs to root, entries come in the order of their names, names of one file are
hard links, sockets stay out. The same files give the same bytes, wherever they are and whoever sends them.
"""

from __future__ import annotations

import os
import stat

from darse.archive.headers import END, entry_headers, member
from darse.archive.tar import BLOCK, BLOCK_DEVICE, CHARACTER, DIRECTORY, LINK, REGULAR, SYMLINK, TYPES
from darse.cli.building.context_walk import unreadable, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_PIECE = 256 * 1024
# Small entries are gathered: each piece is a write on the connection.
_GATHERED = 64 * 1024
_CAPABILITY = "security.capability"


def pack(directory: str, patterns: Sequence[str], more: Mapping[str, bytes] | None = None) -> Iterator[bytes]:
    """Yield the archive of a directory, without what the patterns leave out. Raises CliError.

    more: small files that are sent beside those of the directory, or in their place, by their names in its root.
    """
    files = dict(more or {})
    buffer = bytearray()
    for piece in _Packer(directory, patterns, frozenset(files)).pieces():
        buffer += piece
        if len(buffer) >= _GATHERED:
            yield bytes(buffer)
            buffer.clear()
    for name, content in sorted(files.items()):
        buffer += member(name.encode(), content, mode=0o600)
    yield bytes(buffer) + END


class _Packer:
    """Walks one directory."""

    def __init__(self, directory: str, patterns: Sequence[str], replaced: frozenset[str]) -> None:
        self._directory = directory
        self._patterns = patterns
        self._replaced = replaced
        self._links: dict[tuple[int, int], bytes] = {}

    def pieces(self) -> Iterator[bytes]:
        for name, status in walk(self._directory, self._patterns):
            path = os.fsdecode(name)
            if path not in self._replaced:
                yield from self._entry(path, status)

    def _entry(self, path: str, status: os.stat_result) -> Iterator[bytes]:
        kind = TYPES.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return  # a socket means nothing without the process that listens
        where, name = os.path.join(self._directory, path), os.fsencode(path)
        mode, seconds = stat.S_IMODE(status.st_mode), status.st_mtime_ns // 1_000_000_000
        if kind != DIRECTORY and status.st_nlink > 1:
            first = self._links.setdefault((status.st_dev, status.st_ino), name)
            if first != name:
                yield entry_headers(name, LINK, mode=mode, seconds=seconds, link=first)
                return
        if kind == REGULAR:
            yield from self._file(where, name, mode, seconds)
            return
        link = os.fsencode(os.readlink(where)) if kind == SYMLINK else b""
        device = (os.major(status.st_rdev), os.minor(status.st_rdev)) if kind in (CHARACTER, BLOCK_DEVICE) else (0, 0)
        slash = b"/" if kind == DIRECTORY else b""
        yield entry_headers(name + slash, kind, mode=mode, seconds=seconds, link=link, device=device)

    @staticmethod
    def _file(where: str, name: bytes, mode: int, seconds: int) -> Iterator[bytes]:
        try:
            descriptor = os.open(where, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # removed since its directory was read
        except OSError as error:
            raise unreadable(where, error) from error
        with open(descriptor, "rb", buffering=0) as file:
            size = left = os.fstat(descriptor).st_size
            yield entry_headers(name, REGULAR, mode=mode, seconds=seconds, size=size, xattrs=_capabilities(descriptor))
            while left and (piece := file.read(min(left, _PIECE))):
                left -= len(piece)
                yield piece
            # It became shorter meanwhile: the header is sent.
            yield bytes(left + -size % BLOCK)


def _capabilities(descriptor: int) -> dict[bytes, bytes] | None:
    found = capability(descriptor)
    return {_CAPABILITY.encode(): found} if found else None


def capability(descriptor: int) -> bytes:
    """The attribute by which a program has capabilities; empty where it has none."""
    try:
        return os.getxattr(descriptor, _CAPABILITY)
    except OSError:
        return b""
