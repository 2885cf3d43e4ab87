"""Archives that come in over the wire: where a body ends, and clients that lie about it or go in the middle."""

from __future__ import annotations

import io
import socket
import tarfile

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.http import connect

CONTENT = bytes(range(256)) * 3000
_PATH = "/containers/up/archive?path=/tmp"


@pytest.fixture
def up(engine: Engine) -> Engine:
    engine.docker("run", "-d", "--name", "up", BUSYBOX, "sleep", "1000").ok()
    return engine


def archive(mode: str = "w") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as made:
        member = tarfile.TarInfo("sent")
        member.size = len(CONTENT)
        made.addfile(member, io.BytesIO(CONTENT))
    return file.getvalue()


def head(*fields: str) -> bytes:
    lines = [f"PUT {_PATH} HTTP/1.1", "Host: x", *fields]
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def chunks(data: bytes, size: int) -> bytes:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


def answer(client: socket.socket) -> bytes:
    """All that the engine says until it hangs up."""
    said = b""
    try:
        while piece := client.recv(65536):
            said += piece
    except ConnectionResetError:
        pass  # it did not read all that was sent
    return said


def arrived(engine: Engine) -> bool:
    return engine.docker("exec", "up", "cat", "/tmp/sent").ok().raw == CONTENT


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("size", [333, 32768])
def test_chunked(up: Engine, mode: str, size: int) -> None:
    with connect(str(up.socket)) as client:
        client.sendall(head("Transfer-Encoding: chunked", "Connection: close"))
        client.sendall(chunks(archive(mode), size) + b"0\r\n\r\n")
        assert answer(client).startswith(b"HTTP/1.1 200 ")
    assert arrived(up)


def test_with_a_length(up: Engine) -> None:
    data = archive()
    with connect(str(up.socket)) as client:
        client.sendall(head(f"Content-Length: {len(data)}", "Connection: close") + data[:1000])
        client.sendall(data[1000:])
        assert answer(client).startswith(b"HTTP/1.1 200 ")
    assert arrived(up)


def test_on_a_connection_that_brought_another_body_before(up: Engine) -> None:
    """Nothing is known of where a read begins then; the archive goes the other way, and arrives as well."""
    with connect(str(up.socket)) as client:
        client.sendall(b"POST /containers/up/pause HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        assert client.recv(65536).startswith(b"HTTP/1.1 204 ")
        client.sendall(b"POST /containers/up/unpause HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 204 ")
        client.sendall(head("Transfer-Encoding: chunked"))
        client.sendall(chunks(archive(), 5000) + b"0\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert arrived(up)


@pytest.mark.parametrize("field", ["Transfer-Encoding: chunked", "Content-Length: {length}"])
def test_what_follows_the_archive_is_not_part_of_it_nor_smuggled_past_it(up: Engine, field: str) -> None:
    """A request behind the body is answered as a request of its own, or not at all: the connection is closed then."""
    data = archive()
    body = chunks(data, 32768) + b"0\r\n\r\n" if "chunked" in field else data
    with connect(str(up.socket)) as client:
        client.sendall(head(field.format(length=len(data))))
        # The last request on it, whichever reader the archive gets.
        client.sendall(body + b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        said = answer(client)
    assert said.startswith(b"HTTP/1.1 200 ")
    assert said.count(b"HTTP/1.1 ") == 1 or said.endswith(b"OK")
    assert arrived(up)


def test_a_body_that_looks_like_an_upload_is_a_body(up: Engine) -> None:
    """The text of an upload's head inside of another request's body begins nothing."""
    inner = head("Transfer-Encoding: chunked") + b"0\r\n\r\n"
    with connect(str(up.socket)) as client:
        client.sendall(b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        client.sendall(b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(inner))
        client.sendall(inner)
        said = answer(client)
    assert said.startswith(b"HTTP/1.1 400 ")
    assert said.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "lie",
    [
        b"-5\r\n",
        b"fffffffffffffffff\r\n",
        b"5;" + b"x" * 10_000 + b"\r\n",
        b"5\nhello",
        b"5\r\nhello, you\r\n",
        b"0\r\n" + b"field: of a trailer\r\n" * 900,
    ],
    ids=["negative", "huge", "extension", "bare-lf", "longer", "trailer"],
)
def test_chunks_that_lie(up: Engine, lie: bytes) -> None:
    with connect(str(up.socket)) as client:
        client.sendall(head("Transfer-Encoding: chunked"))
        client.sendall(chunks(archive()[:20_000], 4096))
        client.sendall(lie)
        assert answer(client).startswith(b"HTTP/1.1 400 ")
    assert up.api("GET", "/_ping").status == 200
    assert up.api("PUT", _PATH, archive()).status == 200


def test_both_ways_to_say_a_length_are_refused(up: Engine) -> None:
    with connect(str(up.socket)) as client:
        client.sendall(head("Transfer-Encoding: chunked", "Content-Length: 5") + b"0\r\n\r\n")
        said = answer(client)
    assert b" 400 Bad Request\r\n" in said
    assert b"can't be present" in said


def test_an_error_is_told_while_the_client_still_sends(up: Engine) -> None:
    with connect(str(up.socket)) as client:
        client.sendall(head("Transfer-Encoding: chunked"))
        client.sendall(chunks(b"x" * 2000, 500))
        said = answer(client)
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b"Error processing tar file" in said
