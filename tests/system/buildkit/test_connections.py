"""The ways in: `/grpc`, HTTP/2 on the socket itself, TLS; and what is no way in."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from tests.support.buildkit import ControlStub, asked, connected
from tests.support.engine import Engine
from tests.support.ports import free_port
from tests.support.registry import Certificates

from darse.buildkit.services.health import HealthService
from darse.buildkit.transport import TransportChannel
from darse.buildkit.wire.control_pb2 import InfoRequest, ListWorkersRequest, SolveRequest
from darse.buildkit.wire.health_grpc import HealthStub
from darse.buildkit.wire.health_pb2 import HealthCheckRequest


def socket_of(engine: Engine) -> Path:
    return Path(engine.host.removeprefix("unix://"))


@pytest.mark.parametrize("endpoint", ["/grpc", "/v1.47/grpc", ""])
async def test_a_client_asks_for_the_worker(engine: Engine, endpoint: str) -> None:
    async with connected(socket_of(engine), endpoint) as channel:
        assert (await HealthStub(channel).Check(HealthCheckRequest())).status == 1
        (worker,) = (await ControlStub(channel).ListWorkers(ListWorkersRequest())).record
        assert worker.platforms[0].OS == "linux"
        assert worker.Labels["org.mobyproject.buildkit.worker.moby.host-gateway-ip"].count(".") == 3
        assert (await ControlStub(channel).Info(InfoRequest())).buildkitVersion.package == "darse"


async def test_an_http2_connection_that_comes_byte_by_byte_is_one_too(engine: Engine) -> None:
    reader, writer = await asyncio.open_unix_connection(socket_of(engine))
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0":
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0)
    assert (await reader.readexactly(9))[3] == 4  # SETTINGS
    writer.close()


async def test_http1_goes_on_beside_it(engine: Engine) -> None:
    reader, writer = await asyncio.open_unix_connection(socket_of(engine))
    for piece in (b"P", b"OST /grpc HTTP/1.1\r\nHost: x\r\n\r\n"):
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01)
    assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_a_session_is_open_for_as_long_as_its_client(engine: Engine) -> None:
    async with (
        connected(socket_of(engine)) as channel,
        asked(socket_of(engine), "one", [HealthService()]),
        asked(socket_of(engine), "two", [HealthService()]) as second,
    ):
        # Its id is taken: the connection ends.
        async with asyncio.timeout(10), asked(socket_of(engine), "one", [HealthService()]) as refused:
            await refused.ended()
        assert not second.lost.is_set()
        with pytest.raises(GRPCError) as raised:
            await ControlStub(channel).Solve(SolveRequest(Ref="x", Session="none"))
        assert raised.value.status in (Status.UNAVAILABLE, Status.UNIMPLEMENTED)


async def test_many_connections_leave_nothing(engine: Engine) -> None:
    """200 connections that are cut in the middle of a call."""
    begun = time.monotonic()
    for _ in range(200):
        async with connected(socket_of(engine)) as channel:
            call = asyncio.create_task(HealthStub(channel).Check(HealthCheckRequest()))
            await asyncio.sleep(0)
        await asyncio.gather(call, return_exceptions=True)
    assert time.monotonic() - begun < 60
    async with connected(socket_of(engine)) as channel:
        assert (await HealthStub(channel).Check(HealthCheckRequest())).status == 1


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
async def test_tls_clients_that_speak_nothing_else_get_http2(new_engine: Callable[..., Engine], tmp_path: Path) -> None:
    made, port = Certificates.make(tmp_path), free_port()
    new_engine(
        *("-H", "unix://", "-H", f"tcp://127.0.0.1:{port}", "--tls"),
        *("--tlscert", str(made.server), "--tlskey", str(made.server_key)),
    )
    loop = asyncio.get_running_loop()
    for offered, chosen in ((["h2"], "h2"), (["h2", "http/1.1"], "http/1.1"), ([], None)):
        context = ssl.create_default_context(cafile=made.authority)
        if offered:
            context.set_alpn_protocols(offered)
        transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", port, ssl=context)
        assert transport.get_extra_info("ssl_object").selected_alpn_protocol() == chosen
        if chosen == "h2":
            channel = TransportChannel()
            channel.open(transport)
            assert (await HealthStub(channel).Check(HealthCheckRequest())).status == 1
            channel.close()
        transport.close()
