"""TLS on tcp: half-close, client certificates, plain HTTP by mistake."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from darse.api import tls
from darse.api.tls import TLSTransport, server_context
from darse.core.config import TLS
from tests.unit.api.conftest import Served, read_answer

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ca`, `server` and `client` certificates and keys."""
    directory = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    openssl("req", "-x509", *_KEY, "-keyout", "ca-key.pem", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2")
    (directory / "names").write_text("subjectAltName=DNS:localhost\n")
    for name in ("server", "client"):
        openssl("req", *_KEY, "-keyout", f"{name}-key.pem", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        sign = ("-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days", "2", "-extfile", "names")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *sign)
    return directory


@pytest.fixture
async def port(served: Served, certificates: Path) -> AsyncIterator[int]:
    """The API over TLS, for clients with a certificate."""
    settings = TLS(certificates / "server.pem", certificates / "server-key.pem", certificates / "ca.pem", verify=True)
    context = server_context(settings)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: TLSTransport(context, served.server), "127.0.0.1", 0)
    yield listener.sockets[0].getsockname()[1]
    listener.close()


def client_context(certificates: Path, *, certificate: bool = True) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # as docker's client
    if certificate:
        context.load_cert_chain(certificates / "client.pem", certificates / "client-key.pem")
    return context


class HalfClosing:
    """A client that ends its input with a close_notify and goes on reading, as Go's `CloseWrite` does."""

    def __init__(self, context: ssl.SSLContext, port: int) -> None:
        self._port = port
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        await self._do(self._tls.do_handshake)

    async def _do(self, action, *arguments):  # type: ignore[no-untyped-def]
        while True:
            try:
                result = action(*arguments)
            except ssl.SSLWantReadError:
                self._flush()
                data = await asyncio.wait_for(self._reader.read(65536), 5)
                if not data:
                    return b""
                self._incoming.write(data)
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        self._writer.write(self._outgoing.read())

    async def write(self, data: bytes) -> None:
        await self._do(self._tls.write, data)

    async def read(self) -> bytes:
        try:
            return bytes(await self._do(self._tls.read, 65536))
        except ssl.SSLZeroReturnError:
            return b""

    def end_input(self) -> None:
        with pytest.raises(ssl.SSLWantReadError):
            self._tls.unwrap()
        self._flush()

    def close(self) -> None:
        self._writer.close()


async def test_output_goes_on_after_the_clients_close_notify(served: Served, port: int, certificates: Path) -> None:
    client = HalfClosing(client_context(certificates), port)
    await client.open()
    await client.write(
        b"POST /containers/box/attach?stream=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    )
    assert (await client.read()).startswith(b"HTTP/1.1 101 ")
    await client.write(b"hello")
    received = await client.read()
    client.end_input()
    # After unwrap() has begun, OpenSSL reads no more for us: what matters is that the server goes on.
    await asyncio.wait_for(served.engine.containers.attachment.input_ended.wait(), 5)
    await asyncio.wait_for(served.engine.containers.attachment.closed.wait(), 5)
    assert received == b"HELLO"
    assert bytes(served.engine.containers.attachment.received) == b"hello"
    client.close()


async def test_large_bodies_both_ways(served: Served, port: int, certificates: Path) -> None:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=client_context(certificates), server_hostname="localhost"
    )
    writer.write(
        b"POST /containers/box/attach?stream=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    data = os.urandom(5_000_000)
    writer.write(data)
    assert await asyncio.wait_for(reader.readexactly(len(data)), 20) == data.upper()
    writer.close()
    await asyncio.wait_for(served.engine.containers.attachment.closed.wait(), 5)


async def test_a_client_without_a_certificate_is_refused(port: int, certificates: Path) -> None:
    context = client_context(certificates, certificate=False)
    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        await _ping(context, port)


async def _ping(context: ssl.SSLContext, port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    writer.write(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.wait_for(read_answer(reader), 5)


async def test_plain_http_is_answered_in_gos_words(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.endswith(b"Client sent an HTTP request to an HTTPS server.\n")
    writer.close()


async def test_garbage_ends_the_connection(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\xff" + os.urandom(1000))
    assert b"HTTP/" not in await asyncio.wait_for(reader.read(), 5)
    assert reader.at_eof()
    writer.close()


async def test_a_handshake_that_never_comes_ends_the_connection(
    served: Served, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "_HANDSHAKE_SECONDS", 0.05)
    context = server_context(TLS(certificates / "server.pem", certificates / "server-key.pem"))
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: TLSTransport(context, served.server), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.sockets[0].getsockname()[1])
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    listener.close()


async def test_many_requests_on_one_connection(port: int, certificates: Path) -> None:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=client_context(certificates), server_hostname="localhost"
    )
    for _ in range(5):
        writer.write(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await asyncio.wait_for(read_answer(reader), 5)).body == b"OK"
    writer.close()
