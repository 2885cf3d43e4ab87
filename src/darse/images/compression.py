"""Opening an archive that may be compressed: told by its first bytes, never by its name."""

from __future__ import annotations

import lzma
from typing import BinaryIO, cast

GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
XZ = b"\xfd7zXZ\x00"
BZIP2 = b"BZh"


def opened(file: BinaryIO) -> BinaryIO:
    """Return a stream of the uncompressed content of a seekable file."""
    start = file.tell()
    magic = file.read(6)
    file.seek(start)
    if magic.startswith(GZIP):
        from isal import igzip  # noqa: PLC0415 - only where it is needed: this module is part of a worker's start

        return cast("BinaryIO", igzip.IGzipFile(fileobj=file, mode="rb"))  # type: ignore[no-untyped-call]
    if magic.startswith(ZSTD):
        import zstandard  # noqa: PLC0415

        return cast("BinaryIO", zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True))
    if magic.startswith(XZ):
        return cast("BinaryIO", lzma.open(file))
    if magic.startswith(BZIP2):
        import bz2  # noqa: PLC0415

        return cast("BinaryIO", bz2.open(file))
    return file
