"""Makes tar-split metadata of docker's `tar-split.json.gz` and a layer's files, and verifies them on the way.

docker keeps that file for each layer: an object a line, of type 2 with the next bytes of the archive that are
no file's content (`payload`), or of type 1 with the name and the size of the file whose bytes come next; see
https://github.com/vbatts/tar-split, `tar/storage/entry.go`. The archive is rebuilt of them, hashed and dropped; its
digest says whether these files are the layer.

Usually the current root directory is the layer's.
"""

from __future__ import annotations

import json
import os
import stat
import zlib
from _hashlib import openssl_sha256
from binascii import a2b_base64

from darse.archive.errors import Damaged
from darse.archive.tar_split import TarSplitWriter
from darse.quoting import quoted_path

# Loading what is for type checkers only takes as long as the rest of a worker's start.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_FILE, _SEGMENT = 1, 2
_PIECE = 256 * 1024
# Of a line: the longest segment there may be is a header with attributes of a megabyte.
_LONGEST_LINE = 64 << 20
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
# zlib.h: a gzip member.
_GZIP = 31


class TarSplitConverter:
    """Reads docker's metadata from one descriptor, and writes ours to another, which is an empty file."""

    def __init__(self, source: int, target: int, root: str = "/") -> None:
        """root: the layer's files, where they are not the process's root."""
        self._source = source
        self._writer = TarSplitWriter(target)
        self._root = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._hash = openssl_sha256(usedforsecurity=False)
        #: Bytes of the archive, and those of them that are contents of files.
        self.length = self.content = 0

    def run(self) -> bytes:
        """Return the archive's digest. Raises Damaged, and OSError."""
        for line in _lines(self._source):
            try:
                entry = json.loads(line)
                kind, payload = entry["type"], a2b_base64(entry.get("payload") or "", strict_mode=True)
                name = a2b_base64(entry["name_raw"]) if entry.get("name_raw") else os.fsencode(entry.get("name") or "")
                size = int(entry.get("size") or 0)
            except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
                raise Damaged(f"its tar-split metadata has a line that is none: {error}") from error
            if kind == _SEGMENT:
                self._writer.raw(payload)
                self._take(payload)
            elif kind == _FILE and size > 0:
                self._file(name, size)
            elif kind != _FILE:
                raise Damaged(f"its tar-split metadata has an entry of an unknown type: {kind}")
        digest = self._hash.digest()
        self._writer.finish(digest, self.length, self.content)
        return digest

    def close(self) -> None:
        """Let go of the directory."""
        os.close(self._root)

    def _take(self, data: bytes) -> None:
        self._hash.update(data)
        self.length += len(data)

    def _file(self, name: bytes, size: int) -> None:
        path = b"/".join(part for part in name.split(b"/") if part not in (b"", b"."))
        if not path or b"\0" in path:
            raise Damaged("its tar-split metadata has a file without a name")
        try:
            file = os.open(path, _FLAGS, dir_fd=self._root)
        except OSError as error:
            raise Damaged(f"{quoted_path(path)} cannot be read: {error.strerror}") from error
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode) or found.st_size < size:
                raise Damaged(f"{quoted_path(path)} is no regular file of {size} bytes")
            self._writer.file(path, size)
            left = size
            while left:
                piece = os.read(file, min(left, _PIECE))
                if not piece:
                    raise Damaged(f"{quoted_path(path)} became shorter")
                self._take(piece)
                left -= len(piece)
        finally:
            os.close(file)
        self.content += size


def _lines(source: int) -> Iterator[bytes]:
    """Yield the lines of what is compressed in a descriptor. Raises Damaged."""
    decompress = zlib.decompressobj(_GZIP)
    rest = b""
    while not decompress.eof:
        piece = decompress.unconsumed_tail or os.read(source, _PIECE)
        if not piece:
            raise Damaged("its tar-split metadata is not whole")
        try:
            data = decompress.decompress(piece, 4 * _PIECE)
        except zlib.error as error:
            raise Damaged(f"its tar-split metadata is damaged: {error}") from error
        *lines, rest = (rest + data).split(b"\n")
        yield from (line for line in lines if line)
        if len(rest) > _LONGEST_LINE:
            raise Damaged("its tar-split metadata has a line without an end")
    if rest:
        yield rest
