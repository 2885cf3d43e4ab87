"""Names of containers: a start on a network of one's own, and lookups from a container."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bench.engines import BenchEngine
from bench.measure import IMAGE, Measure, remove_all
from bench.starts import run_on

NETWORK = "bench-names"
_LOOKUPS = 5000
# Sends a query for a name and waits for its answer, again and again; prints milliseconds for each.
_CLIENT = """
import socket, struct, sys, time
name, count, window = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
question = bytes((len(name),)) + name.encode() + b"\\0" + struct.pack("!2H", 1, 1)
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(10)
sock.connect(("127.0.0.11", 53))
def ask(number):
    sock.send(struct.pack("!6H", number % 65536, 0x100, 1, 0, 0, 0) + question)
began = time.perf_counter()
for number in range(window):
    ask(number)
for number in range(window, count + window):
    answer = sock.recv(512)
    assert answer[6:8] != b"\\0\\0", "no address"
    if number < count:
        ask(number)
    if number - window + 1 == count:
        break
print((time.perf_counter() - began) * 1000 / count)
"""


@contextmanager
def network(engine: BenchEngine) -> Iterator[None]:
    """A network whose containers have names."""
    engine.docker("network", "create", NETWORK)
    yield
    remove_all(engine)
    engine.docker("network", "rm", NETWORK)


@contextmanager
def two_containers(engine: BenchEngine) -> Iterator[None]:
    """Two containers on it, `bench` and `other`."""
    with network(engine):
        for name in ("bench", "other"):
            engine.docker("run", "-d", "--name", name, "--network", NETWORK, IMAGE, "sleep", "100000")
        yield


def lookup(engine: BenchEngine, window: int) -> float:
    """Milliseconds for the lookup of a container's name, `window` of them on their way at a time."""
    pid = engine.docker("inspect", "-f", "{{.State.Pid}}", "bench").strip()
    command = [
        "nsenter",
        f"--net=/proc/{pid}/ns/net",
        sys.executable,
        "-c",
        _CLIENT,
        "other",
        str(_LOOKUPS),
        str(window),
    ]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def answers(engine: BenchEngine) -> float:
    """Lookups of a container's name in a second, 32 on their way at a time."""
    return 1000 / lookup(engine, 32)


def measures(rounds: int) -> list[Measure]:
    """All that is measured."""
    return [
        Measure("run --rm, named network", "ms", 0.20, rounds, run_on(NETWORK), network),
        Measure("lookup of a name", "ms", 1.00, max(3, rounds // 4), lambda engine: lookup(engine, 1), two_containers),
        Measure("lookups in a second", "1/s", 1.00, max(3, rounds // 4), answers, two_containers, rate=True),
    ]
