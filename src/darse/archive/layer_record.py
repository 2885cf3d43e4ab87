"""The digest and the tar-split metadata of a layer's archive, from the layer's files, without the archive.

The entries are those of `LayerPacker`; what it would write is hashed, and all but the contents of files is recorded. So
a directory that is complete becomes a layer where it is.
"""

from __future__ import annotations

import os
from _hashlib import openssl_sha256

from darse.archive.errors import Damaged
from darse.archive.layer_diff import LayerPacker, is_archived
from darse.archive.tar_split import TarSplitWriter
from darse.archive.tar_writer import TarWriter

# Loading what is for type checkers only takes as long as the rest of a worker's start.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.archive.tar import Segments

_PIECE = 1 << 20


class _Recorder(TarWriter):
    """Writes to no archive."""

    def __init__(self, tar_split: TarSplitWriter) -> None:
        super().__init__(-1, is_archived=is_archived, sparse=True)
        self._tar_split = tar_split
        self._hash = openssl_sha256(usedforsecurity=False)
        self.length = 0
        self.content = 0

    @property
    def digest(self) -> bytes:
        """Of all there was."""
        return self._hash.digest()

    def _begin_content(self, name: bytes, size: int, segments: Segments | None) -> None:
        self._flush()
        self._tar_split.file(name, size, segments)
        self.content += size

    def _content(self, data: bytes) -> None:
        self._hash.update(data)
        self.length += len(data)

    def _send(self, file: int, offset: int, count: int) -> None:
        end = offset + count
        while offset < end:
            piece = os.pread(file, min(end - offset, _PIECE), offset)
            if not piece:
                self._fill(end - offset)
            self._content(piece)
            offset += len(piece)

    def _fill(self, missing: int) -> None:
        raise Damaged(f"a file became shorter by {missing} bytes while it was read")

    def _flush(self) -> None:
        if self._buffer:
            data = bytes(self._buffer)
            self._hash.update(data)
            self.length += len(data)
            self._tar_split.raw(data)
            self._buffer = bytearray()


def record_layer(tar_split: int, root: bytes = b"") -> dict[str, object]:
    """Write the tar-split metadata of a layer to an empty file; return the archive's digest, length and content.

    root: the layer's files, where they are not the process's root. Blocks. Raises ArchiveRefused for a tree that no
    archive holds, Damaged for one that changes, and OSError.
    """
    writer = TarSplitWriter(tar_split)
    recorder = _Recorder(writer)
    LayerPacker(-1, writer=recorder, root=root).run()
    writer.finish(recorder.digest, recorder.length, recorder.content)
    return {"digest": recorder.digest.hex(), "length": recorder.length, "content": recorder.content}
