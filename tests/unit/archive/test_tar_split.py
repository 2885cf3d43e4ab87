"""Recipes and compressed streams: what is written is read again, and what is damaged is told."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from darse.archive.errors import ArchiveRefused, Damaged
from darse.archive.stream import Stream, aligned
from darse.archive.tar_split import TarSplitReader, TarSplitWriter

pieces = st.lists(
    st.tuples(
        st.lists(st.binary(max_size=300), max_size=3),
        st.binary(min_size=1, max_size=50),
        st.integers(0, 1 << 50),
        st.lists(st.tuples(st.integers(0, 1 << 60), st.integers(0, 1 << 60)), max_size=3),
    ),
    max_size=8,
)


@given(made=pieces)
def test_a_recipe_is_read_as_it_was_written(made, tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "recipe"
    with open(path, "w+b") as file:
        writer = TarSplitWriter(file.fileno())
        for raw, name, size, segments in made:
            for piece in raw:
                writer.raw(piece)
            writer.file(name, size, segments)
        writer.raw(b"end")
        writer.finish(bytes(range(32)), 5, 3)
    with open(path, "rb") as file:
        reader = TarSplitReader(file.fileno())
        found = list(reader)
    assert found == [(b"".join(raw), name, size, segments) for raw, name, size, segments in made] + [
        (b"end", b"", 0, [])
    ]
    assert (reader.head.digest, reader.head.length, reader.head.content) == (bytes(range(32)), 5, 3)


@pytest.mark.parametrize("harm", ["cut", "cut to the head", "without a head", "changed", "empty"])
def test_a_damaged_recipe_is_told(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "recipe"
    with open(path, "w+b") as file:
        writer = TarSplitWriter(file.fileno())
        for number in range(1000):
            writer.raw(os.urandom(100))
            writer.file(b"f%d" % number, number)
        if harm != "without a head":
            writer.finish(bytes(32), 5, 3)
    whole = path.read_bytes()
    path.write_bytes(
        {
            "cut": whole[:-30],
            "cut to the head": whole[:70],
            "without a head": whole,
            "changed": whole[:5000] + bytes(100) + whole[5100:],
            "empty": b"",
        }[harm]
    )
    with open(path, "rb") as file, pytest.raises(Damaged):
        list(TarSplitReader(file.fileno()))


@pytest.mark.parametrize(
    "compress", [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress]
)
@pytest.mark.parametrize("length", [0, 3, 512, 1_000_000])
def test_a_stream_is_told_by_its_first_bytes(tmp_path: Path, compress, length: int) -> None:
    content = os.urandom(length)
    # Members that follow one another are one stream, and zeros may follow them.
    compressed = (
        compress(content) if compress is bytes else compress(content[: length // 2]) + compress(content[length // 2 :])
    )
    path = tmp_path / "archive"
    path.write_bytes(compressed)
    with open(path, "rb") as file:
        stream = Stream(file.fileno(), len(compressed), -1)
        stream.prepare()
        stream.start()
        found = b"".join(bytes(buffer) for buffer in stream.buffers())
    assert found == content
    assert stream.digest() == hashlib.sha256(content).digest()
    assert stream.length == length


def test_a_stream_gives_no_more_than_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    path.write_bytes(gzip.compress(bytes(1 << 20)))
    with open(path, "rb") as file:
        stream = Stream(file.fileno(), -1, (1 << 20) - 1)
        stream.prepare()
        stream.start()
        with pytest.raises(ArchiveRefused, match="unpacks to more than"):
            list(stream.buffers())


@given(sizes=st.lists(st.integers(1, 400_000), max_size=6))
def test_buffers_are_whole_blocks_but_for_the_last(sizes):
    content = [bytes([index]) * size for index, size in enumerate(sizes)]
    found = list(aligned(iter(content)))
    assert b"".join(found) == b"".join(content)
    assert all(len(one) % 512 == 0 for one in found[:-1])
