"""Networks of the user's: made and removed, connected and disconnected, many at once, and published ports.

What passes through a published port is sent by iperf3 and sockperf, from a namespace that is another machine to the
engine's, to servers in a container's namespace.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.engines import BenchEngine
from bench.measure import IMAGE, Measure, remove_all, seconds

_MANY = 25
_HOST, _OUTSIDE = "198.51.100.1", "198.51.100.2"
# Ports in the container; those of the host are ten thousand more.
_IPERF, _SOCKPERF = 5201, 5202
_SECONDS = 2


def create_and_remove(engine: BenchEngine) -> float:
    """One network, made and removed."""
    return seconds(engine, "network", "create", "bench-one") + seconds(engine, "network", "rm", "bench-one")


def connect_and_disconnect(engine: BenchEngine) -> float:
    """A running container, connected to a second network and disconnected."""
    return seconds(engine, "network", "connect", "bench-second", "bench") + seconds(
        engine, "network", "disconnect", "bench-second", "bench"
    )


def many_networks(engine: BenchEngine) -> float:
    """Milliseconds for each of as many networks, made one after another and then removed in one command."""
    names = [f"bench-{number}" for number in range(_MANY)]
    began = time.perf_counter()
    for name in names:
        seconds(engine, "network", "create", name)
    seconds(engine, "network", "rm", *names)
    return (time.perf_counter() - began) * 1000 / _MANY


def run_published(engine: BenchEngine) -> float:
    """A run of `true` with a port of the host."""
    return seconds(engine, "run", "--rm", "-p", "18080:80", IMAGE, "true")


@contextmanager
def connectable(engine: BenchEngine) -> Iterator[None]:
    """A container called `bench` on one network, and a second network."""
    for name in ("bench-first", "bench-second"):
        engine.docker("network", "create", name)
    engine.docker("run", "-d", "--name", "bench", "--network", "bench-first", IMAGE, "sleep", "100000")
    yield
    remove_all(engine)
    engine.docker("network", "rm", "bench-first", "bench-second")


@contextmanager
def reachable(engine: BenchEngine) -> Iterator[None]:
    """A container with a server of each tool and their ports published; another machine, its pid in the notes."""
    ports = [word for port in (_IPERF, _SOCKPERF) for word in ("-p", f"{port + 10_000}:{port}")]
    engine.docker("run", "-d", "--name", "bench", *ports, IMAGE, "sleep", "100000")
    inside = engine.docker("inspect", "-f", "{{.State.Pid}}", "bench").strip()
    outside = ["unshare", "--net", "sh", "-c", "ip link set lo up; echo up; exec sleep 100000"]
    processes = [subprocess.Popen(outside, stdout=subprocess.PIPE)]
    assert processes[0].stdout is not None
    processes[0].stdout.readline()
    servers = {
        _IPERF: ("iperf3", "-s", "-p", str(_IPERF)),
        _SOCKPERF: ("sockperf", "sr", "--tcp", "-p", str(_SOCKPERF)),
    }
    for port, command in servers.items():
        if shutil.which(command[0]):
            processes.append(subprocess.Popen([*_enter(inside), *command], stdout=subprocess.DEVNULL))
            _wait_for_listener(inside, port)
    pid = str(processes[0].pid)
    engine.notes["outside"] = pid
    ip = [*engine.namespace, "ip"]
    wire = ("out0", "type", "veth", "peer", "name", "eth0", "netns", pid)
    subprocess.run([*ip, "link", "add", *wire], check=True)
    for command, link, address in ((ip, "out0", _HOST), ([*_enter(pid), "ip"], "eth0", _OUTSIDE)):
        subprocess.run([*command, "address", "add", f"{address}/24", "dev", link], check=True)
        subprocess.run([*command, "link", "set", link, "up"], check=True)
    yield
    subprocess.run([*ip, "link", "delete", "out0"], check=True)
    for process in processes:
        process.kill()
        process.communicate()
    remove_all(engine)


def _wait_for_listener(pid: str, port: int) -> None:
    """Wait until somebody listens in a process's network namespace (proc_pid_net(5): state 0A). Raises TimeoutError."""
    wanted, deadline = re.compile(f"[0-9A-F]+:{port:04X} [0-9A-F]+:0000 0A"), time.monotonic() + 30
    while not any(wanted.search(Path(f"/proc/{pid}/net/{name}").read_text()) for name in ("tcp", "tcp6")):
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody listens at port {port}")
        time.sleep(0.01)


def _enter(pid: str) -> list[str]:
    return ["nsenter", f"--net=/proc/{pid}/ns/net"]


def _from_outside(engine: BenchEngine, *command: str) -> str:
    entered = [*_enter(engine.notes["outside"]), *command]
    return subprocess.run(entered, capture_output=True, text=True, check=True, timeout=60).stdout


def throughput(engine: BenchEngine) -> float:
    """Megabytes a second through a published port."""
    options = ("-c", _HOST, "-p", str(_IPERF + 10_000), "-t", str(_SECONDS), "-J")
    sent = json.loads(_from_outside(engine, "iperf3", *options))
    return float(sent["end"]["sum_received"]["bits_per_second"]) / 8e6


def latency(engine: BenchEngine) -> float:
    """Microseconds of half a round trip through a published port, at the median."""
    options = ("--tcp", "-i", _HOST, "-p", str(_SOCKPERF + 10_000), "-t", str(_SECONDS), "-m", "64")
    found = re.search(r"percentile 50\.000 = +([0-9.]+)", _from_outside(engine, "sockperf", "pp", *options))
    assert found is not None
    return float(found[1])


def measures(rounds: int) -> list[Measure]:
    """All that is measured."""
    few = max(1, rounds // 10)
    through = []
    if shutil.which("iperf3"):
        through.append(Measure("published port, MB/s", "MB/s", 1.00, few * 3, throughput, reachable, rate=True))
    if shutil.which("sockperf"):
        through.append(Measure("published port, latency", "us", 1.00, few * 3, latency, reachable))
    return [
        Measure("network create and rm", "ms", 0.50, rounds, create_and_remove),
        Measure("network connect, disconnect", "ms", 0.50, rounds, connect_and_disconnect, connectable),
        Measure(f"{_MANY} networks, each", "ms", 0.50, few, many_networks),
        Measure("run --rm -p", "ms", 0.25, rounds, run_published),
        *through,
    ]
