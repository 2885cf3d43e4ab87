"""The door holds HTTP/2 as h2spec checks it (RFC 7540 and 7541), on a connection with prior knowledge.

`make clients` builds it, where Go is installed.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.buildkit import connected
from tests.support.clients import found
from tests.support.engine import Engine
from tests.support.ports import free_port

from darse.buildkit.wire.health_grpc import HealthStub
from darse.buildkit.wire.health_pb2 import HealthCheckRequest

H2SPEC = found("h2spec")
# What h2spec expects of a server of pages, and of none of gRPC: a connection that ends without a word of HTTP/1, which
# is spoken here, too; calls that wait, where all that it calls is refused at once.
EXPECTED = {
    "Sends invalid connection preface",
    "Sends HEADERS frames that causes their advertised concurrent stream limit to be exceeded",
}
# Its call is refused, or over for that, before the frame comes that is to be looked at; which of both is chance.
REFUSED = re.compile(
    r"Actual: (HEADERS Frame \(length:51, flags:0x05|RST_STREAM Frame \(length:4, flags:0x00), stream_id:1\)"
)


# It waits for five seconds for an answer, which beside other tests is too short at times.
@pytest.mark.heavy
@pytest.mark.skipif(H2SPEC is None, reason="h2spec is not there (make clients)")
async def test_http2_is_held(new_engine: Callable[..., Engine], tell: Callable[[str], None]) -> None:
    port = free_port()
    engine = new_engine("-H", "unix://", "-H", f"tcp://127.0.0.1:{port}", "--tls=false")
    # The first connection loads the door, which may take longer than h2spec waits.
    async with connected(Path(engine.host.removeprefix("unix://")), "") as channel:
        await HealthStub(channel).Check(HealthCheckRequest())
    command = [str(H2SPEC), "-h", "127.0.0.1", "-p", str(port), "-o", "5"]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    tell(checked.stdout.strip().splitlines()[-1])
    failures = checked.stdout[checked.stdout.find("Failures:") :]
    failed = {
        one.splitlines()[0].partition(": ")[2] for one in failures.split("\u00d7")[1:] if REFUSED.search(one) is None
    }
    assert failed <= EXPECTED, failures
