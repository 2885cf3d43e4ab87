"""Rebuilds a layer's archive from its tar-split metadata and its files, below the current root directory.

What comes out is hashed on the way: the end tells whether it was the archive that the metadata was made of.
"""

from __future__ import annotations

import _thread
import os
import stat
from _hashlib import openssl_sha256
from _queue import SimpleQueue

from darse.archive.errors import Damaged
from darse.archive.stream import write_all
from darse.archive.tar_split import TarSplitReader
from darse.quoting import quoted_path

_PIECE = 256 * 1024
_GATHER = 128 * 1024
_PREFETCHED = 16
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Reassembler:
    """Writes one archive to a descriptor, or to nowhere."""

    def __init__(self, tar_split: TarSplitReader, target: int | None) -> None:
        self._tar_split = tar_split
        self._target = target
        self._root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._hash = openssl_sha256(usedforsecurity=False)
        self._length = 0
        self._gathered: list[bytes] = []
        self._gathered_size = 0
        self._to_hash: SimpleQueue[bytes | None] = SimpleQueue()
        self._free: SimpleQueue[None] = SimpleQueue()
        self._done = _thread.allocate_lock()
        self._done.acquire()
        for _ in range(_PREFETCHED):
            self._free.put(None)

    def start(self) -> None:
        """Start the thread that hashes."""
        _thread.start_new_thread(self._digest, ())

    def run(self) -> None:
        """Rebuild everything. Raises Damaged, and OSError."""
        for raw, path, size, segments in self._tar_split:
            self._emit(raw)
            if path:
                self._file(path, segments or [(0, size)])
        self._flush()
        self._to_hash.put(None)
        self._done.acquire()
        head = self._tar_split.head
        if (self._hash.digest(), self._length) != (head.digest, head.length):
            raise Damaged("its files have changed: they do not give back its archive")

    def _file(self, path: bytes, segments: list[tuple[int, int]]) -> None:
        try:
            file = os.open(path, _FLAGS, dir_fd=self._root)
        except OSError as error:
            raise Damaged(f"{quoted_path(path)} cannot be read: {error.strerror}") from error
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise Damaged(f"{quoted_path(path)} is no regular file")
            for start, count in segments:
                offset, end = start, start + count
                while offset < end:
                    piece = os.pread(file, min(end - offset, _PIECE), offset)
                    if not piece:
                        raise Damaged(f"{quoted_path(path)} is shorter than it was")
                    offset += len(piece)
                    self._emit(piece)
        finally:
            os.close(file)

    def _emit(self, data: bytes) -> None:
        self._gathered.append(data)
        self._gathered_size += len(data)
        if self._gathered_size >= _GATHER:
            self._flush()

    def _flush(self) -> None:
        data = b"".join(self._gathered)
        self._gathered, self._gathered_size = [], 0
        self._length += len(data)
        self._free.get()
        self._to_hash.put(data)
        if self._target is not None:
            write_all(self._target, data)

    def _digest(self) -> None:
        while (data := self._to_hash.get()) is not None:
            self._hash.update(data)
            self._free.put(None)
        self._done.release()
