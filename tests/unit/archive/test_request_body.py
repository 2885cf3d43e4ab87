"""Bodies read off a connection: where they end, and what is none."""

from __future__ import annotations

import os
import random
import socket

import pytest

from darse.archive.errors import ArchiveRefused
from darse.archive.request_body import CHUNKED, TO_THE_END, Body


def read(sent: bytes, length: int = CHUNKED, *, start: bytes = b"", ended: bool = True) -> bytes:
    """What a body has when `start` was read before, and `sent` comes on the connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.sendall(sent)
        if ended:
            theirs.shutdown(socket.SHUT_WR)
        return b"".join(bytes(piece) for piece in Body(ours.fileno(), start, length).pieces())


def chunked(content: bytes, sizes: list[int]) -> bytes:
    out, at, turn = [], 0, 0
    while at < len(content):
        piece = content[at : at + sizes[turn % len(sizes)]]
        out.append(b"%x\r\n%b\r\n" % (len(piece), piece))
        at, turn = at + len(piece), turn + 1
    return b"".join([*out, b"0\r\n\r\n"])


@pytest.mark.parametrize("sizes", [[1], [512], [54, 2000, 519], [32768, 1], [99_999]])
def test_chunks_of_any_size_give_the_content(sizes: list[int]) -> None:
    content = random.Random(1).randbytes(20_000 if sizes == [1] else 100_000)
    sent = chunked(content, sizes)
    for cut in (0, 1, 2, 3, 5, 700, 4000):
        assert read(sent[cut:], start=sent[:cut], ended=False) == content


def test_what_comes_in_drops_is_the_same() -> None:
    content = random.Random(2).randbytes(60)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for byte in chunked(content, [40, 3]):
            theirs.send(bytes((byte,)))
        body = Body(ours.fileno(), b"", CHUNKED)
        assert body.begin(6) == content[:6]
        assert b"".join(bytes(piece) for piece in body.pieces()) == content


def test_pieces_are_whole_blocks_but_for_the_last() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(chunked(bytes(100_001), [777]))
        sizes = [len(piece) for piece in Body(ours.fileno(), b"", CHUNKED).pieces()]
    assert sum(sizes) == 100_001
    assert not any(size % 512 for size in sizes[:-1])


def test_a_body_ends_where_it_says() -> None:
    """What follows belongs to another request: it is no content, whatever it looks like."""
    assert read(b"3\r\nabc\r\n0\r\n\r\nPUT /next HTTP/1.1\r\n\r\n", ended=False) == b"abc"
    assert read(b"abcPUT /next", 3, ended=False) == b"abc"
    assert read(b"", 3, start=b"abcPUT", ended=False) == b"abc"
    assert read(b"", 0, ended=False) == b""
    assert read(b"abc", TO_THE_END) == b"abc"


def test_extensions_and_trailers_mean_nothing() -> None:
    assert read(b'3;a=b;c="d" \r\nabc\r\n0;x\r\nDigest: 1\r\nOther: 2\r\n\r\n', ended=False) == b"abc"


@pytest.mark.parametrize(
    "sent",
    [
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"3_0\r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"\r\nabc\r\n0\r\n\r\n",
        b";a\r\nabc\r\n0\r\n\r\n",
        b"3g\r\nabc\r\n0\r\n\r\n",
        b"ffffffffffffffff\r\nabc",
        b"00000000000000000003\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\n0\n\n",
        b"3\rx\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nabc0\r\n\r\n",
        b"2\r\nabc\r\n0\r\n\r\n",
        b"3;" + b"e" * 5000 + b"\r\nabc\r\n0\r\n\r\n",
        b"3;" + b"e" * 5000,
        b"0\r\n" + b"a: b\r\n" * 5000 + b"\r\n",
        b"0\r\nno field\r\n\r\n",
        b"0\r\n folded: x\r\n\r\n",
    ],
)
def test_chunks_that_lie_are_refused(sent: bytes) -> None:
    with pytest.raises(ArchiveRefused):
        read(sent, ended=False)


@pytest.mark.parametrize("sent", [b"", b"3", b"3\r\n", b"3\r\nab", b"3\r\nabc", b"3\r\nabc\r\n", b"3\r\nabc\r\n0\r\n"])
def test_a_client_that_goes_early_is_told_of(sent: bytes) -> None:
    with pytest.raises(ArchiveRefused, match="the client has gone"):
        read(sent)
    with pytest.raises(ArchiveRefused, match="the client has gone"):
        read(sent, 100)


def test_the_descriptor_may_block() -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, b"3\r\nabc\r\n0\r\n\r\n")
        assert b"".join(map(bytes, Body(reading, b"", CHUNKED).pieces())) == b"abc"
    finally:
        os.close(reading)
        os.close(writing)
