"""What the parser makes of responses, however they are cut into pieces."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darse.client.http import ConnectionEnded, Documents, Parser, encode_query, quote
from darse.client.streams import Frames


def run(reading: Any, pieces: list[bytes]) -> Any:
    """Run a reading on pieces; what follows them is the end of the connection."""
    try:
        next(reading)
        while True:
            reading.send(pieces.pop(0) if pieces else b"")
    except StopIteration as end:
        return end.value


def read(data: list[bytes], *, has_body: bool = True) -> tuple[int, bytes, bytes]:
    """Status and body of the response in `data`, and what follows it."""
    parser = Parser()
    head = run(parser.head(has_body=has_body), data)
    body = b""
    while piece := run(parser.piece(), data):
        body += piece
    return head.status, body, parser.buffer + b"".join(data)


RESPONSES = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", b"abcde"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTrailer: x\r\n\r\n", b""),
    (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
]


@pytest.mark.parametrize(("response", "body"), RESPONSES)
@given(cuts=st.lists(st.integers(1, 120), max_size=8))
def test_a_response_is_the_same_however_it_is_cut(response: bytes, body: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(cut for cut in cuts if cut < len(response)), len(response)]
    pieces = [response[a:b] for a, b in itertools.pairwise(places) if a < b]
    status, found, rest = read([*pieces, b"next"])
    assert (status // 100, found, rest) == (2, body, b"next")


def test_without_a_length_the_end_is_the_end() -> None:
    assert read([b"HTTP/1.1 200 OK\r\n\r\nall", b" of it"]) == (200, b"all of it", b"")


def test_the_answer_to_a_head_has_no_body() -> None:
    assert read([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"], has_body=False) == (200, b"", b"")


def test_a_hijacked_connection_is_not_read() -> None:
    status, body, rest = read([b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\n\r\nearly"])
    assert (status, body, rest) == (101, b"", b"early")


@pytest.mark.parametrize(("response", "_"), RESPONSES)
def test_a_connection_that_ends_early_is_an_error(response: bytes, _: bytes) -> None:
    for length in range(len(response)):
        with pytest.raises(ConnectionEnded):
            read([response[:length]])


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"\r\n\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the text is the caller's
        read([data])


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=6), st.integers(1, 20))
def test_frames_are_the_same_however_they_are_cut(frames: list[tuple[int, bytes]], size: int) -> None:
    data = b"".join(bytes([stream, 0, 0, 0]) + len(piece).to_bytes(4, "big") + piece for stream, piece in frames)
    parser = Frames()
    found = [frame for at in range(0, len(data), size) for frame in parser.feed(data[at : at + size])]
    assert found == frames


def test_documents_are_lines() -> None:
    documents = Documents()
    assert documents.feed(b'{"a":1}\n{"b"') == [b'{"a":1}']
    assert documents.feed(b":2}\n\n[") == [b'{"b":2}']
    assert documents.end() == [b"["]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (None, ""),
        ({"a": None, "b": False}, ""),
        ({"all": True, "limit": 0}, "?all=1&limit=0"),
        ({"names": ["x", "y z"]}, "?names=x&names=y%20z"),
        ({"filters": {"name": ["a"]}}, "?filters=%7B%22name%22%3A%20%5B%22a%22%5D%7D"),
    ],
)
def test_queries(query: dict[str, Any] | None, text: str) -> None:
    assert encode_query(query) == text


def test_quoting_keeps_what_is_safe() -> None:
    assert quote("a/b:c é", safe="/:") == "a/b:c%20%C3%A9"
