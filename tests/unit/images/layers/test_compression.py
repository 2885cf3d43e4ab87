"""Forms of layers: the same bytes each time, whatever pieces the archive comes in."""

from __future__ import annotations

import gzip
import os
import threading

import pytest
import zstandard

from darse.core.errors import InvalidParameter
from darse.images.layers.compression import Compression, whole_pieces

_CONTENT = b"".join(b"%d\n" % (number * 7919 % 100003) for number in range(300_000))


@pytest.mark.parametrize("level", [0, 1, 2, 3, 6, 9, None])
def test_gzip(level: int | None) -> None:
    compressor = Compression("gzip", level).compressor()
    assert gzip.decompress(compressor.compress(_CONTENT) + compressor.flush()) == _CONTENT


@pytest.mark.parametrize("level", [1, 19, None])
def test_zstd(level: int | None) -> None:
    compressor = Compression("zstd", level).compressor()
    packed = compressor.compress(_CONTENT) + compressor.flush()
    assert zstandard.ZstdDecompressor().decompressobj().decompress(packed) == _CONTENT


def test_media_types() -> None:
    prefix = "application/vnd.oci.image.layer.v1.tar"
    assert [Compression(kind).media_type for kind in ("gzip", "zstd", "uncompressed")] == [
        f"{prefix}+gzip",
        f"{prefix}+zstd",
        prefix,
    ]


@pytest.mark.parametrize(("kind", "level"), [("xz", ""), ("gzip", "10"), ("gzip", "-1"), ("zstd", "23"), ("zstd", "x")])
def test_what_no_compressor_has_is_refused(kind: str, level: str) -> None:
    with pytest.raises(InvalidParameter):
        Compression.parse(kind, level)


def _cut(sizes: list[int]) -> list[int]:
    """The lengths of the pieces that come of writes of these sizes."""
    reading, writing = os.pipe()

    def write() -> None:
        with open(writing, "wb", buffering=0) as file:
            for size in sizes:
                left = size
                while left:
                    left -= file.write(bytes(left)) or 0

    thread = threading.Thread(target=write)
    thread.start()
    try:
        return [len(piece) for piece in whole_pieces(reading)]
    finally:
        os.close(reading)
        thread.join()


def test_pieces_are_cut_alike_however_they_come() -> None:
    megabyte = 1 << 20
    assert _cut([]) == []
    assert _cut([3 * megabyte]) == _cut([megabyte - 1] * 3 + [3]) == [megabyte] * 3
    assert _cut([1, megabyte, 7]) == [megabyte, 8]
