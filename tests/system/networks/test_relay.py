"""Ports at IPv6 addresses of the host that lead to containers with IPv4 only, on real engines."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.support.engine import BUSYBOX, Client, Engine
from tests.support.leaks import find_orphans, processes_of
from tests.support.ports import free_port
from tests.support.waiting import wait_until
from tests.system.networks.support import Outside, inside

FEW_INSTANTS, INSTANTS = 4, 30
# It takes a tenth of a second on an idle machine; beside other tests a new process waits for its turn.
BACK_SECONDS = 30
# Port 80 sends back what comes, and then says so; 81 reads nothing; 82 sends without end; 53 answers with the peer.
SERVER = """
import os, socket, threading
def echo(one):
    while data := one.recv(1 << 16):
        one.sendall(data)
    one.sendall(b"end")
    one.close()
def hold(one):
    kept.append(one)
def flood(one):
    while True:
        one.sendall(bytes(1 << 16))
def listen(port, serve):
    server = socket.create_server(("", port), backlog=1024)
    while True:
        threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
kept = []
for port, serve in ((80, echo), (81, hold), (82, flood)):
    threading.Thread(target=listen, args=(port, serve), daemon=True).start()
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("", 53))
while True:
    data, peer = server.recvfrom(65536)
    server.sendto(data + b" from " + peer[0].encode(), peer)
"""
PYTHON = [
    "-v",
    "/usr:/usr:ro",
    "-v",
    "/lib:/lib:ro",
    "-v",
    "/lib64:/lib64:ro",
    BUSYBOX,
    "/usr/bin/python3",
    "-c",
    SERVER,
]


def listens(port: int, kind: str = "tcp") -> bool:
    """Whether the kernel has a socket of IPv6 on a port."""
    lines = Path(f"/proc/net/{kind}6").read_text().splitlines()[1:]
    return any(
        int(line.split()[1].split(":")[1], 16) == port and (kind, line.split()[3]) != ("tcp", "06") for line in lines
    )


def relays(engine: Engine) -> list[int]:
    """The processes of an engine's relay."""
    return [pid for pid, line in processes_of(engine.root) if "darse.relay.server" in line]


def connect(port: int, ip: str = "::1") -> socket.socket:
    """Connect, when the server is there: a relay takes connections before that, and ends them."""
    return socket.create_connection((ip, port), timeout=60)


def ask(port: int, data: bytes = b"hello", ip: str = "::1", path: str | None = None) -> bytes:
    """What the server sends back, and its last word. Raises OSError."""
    make: Callable[[], socket.socket] = lambda: socket.socket(socket.AF_INET6)  # noqa: E731
    with make() if path is None else inside(path, make) as client:
        client.settimeout(60)
        client.connect((ip, port))
        sender = threading.Thread(target=_send, args=(client, data))
        sender.start()
        received = []
        while piece := client.recv(1 << 18):
            received.append(piece)
        sender.join()
        return b"".join(received)


def _send(client: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):  # whoever receives is told of the same end
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)


def answers(port: int, ip: str = "::1", seconds: float = 30) -> None:
    """Wait until the server answers."""

    def asked() -> bool:
        with contextlib.suppress(OSError):
            return ask(port, ip=ip) == b"helloend"
        return False

    wait_until(asked, seconds, f"an answer of [{ip}]:{port}")


def ask_udp(port: int, ip: str = "::1", path: str | None = None) -> bytes:
    """What the server answers to a datagram; it may be lost before the server is there."""
    make: Callable[[], socket.socket] = lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)  # noqa: E731
    with make() if path is None else inside(path, make) as client:
        client.settimeout(0.5)
        client.connect((ip, port))  # takes answers from this address only
        for _ in range(40):
            with contextlib.suppress(OSError):
                client.send(b"hello")
                return client.recv(65536)
        raise AssertionError(f"no answer of [{ip}]:{port}")


def ports_of(engine: Engine, name: str) -> dict[str, Any]:
    ports: dict[str, Any] = engine.api("GET", f"/containers/{name}/json").json()["NetworkSettings"]["Ports"]
    return ports


def gateway(engine: Engine) -> str:
    found: str = engine.api("GET", "/networks/bridge").json()["IPAM"]["Config"][0]["Gateway"]
    return found


def pss(pid: int) -> int:
    """What a process has of the memory, in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Pss:")))


def test_the_host_s_ipv6_addresses_lead_to_the_container(engine: Engine, cli: Client, outside: Outside) -> None:
    port = free_port()
    cli("run", "-d", "--name", "web", "-p", f"{port}:80", "-p", f"{port}:53/udp", *PYTHON).ok()
    both = [{"HostIp": "0.0.0.0", "HostPort": str(port)}, {"HostIp": "::", "HostPort": str(port)}]
    assert ports_of(engine, "web") == {"80/tcp": both, "53/udp": both}
    assert f"0.0.0.0:{port}->80/tcp, [::]:{port}->80/tcp" in cli("ps", "--format", "{{.Ports}}").ok().out
    assert cli("port", "web", "80").ok().out == f"0.0.0.0:{port}\n[::]:{port}\n"
    answers(port)
    assert ask(port, ip=outside.host_ip6, path=outside.path) == b"helloend"
    seen = f"hello from {gateway(engine)}".encode()
    assert ask_udp(port) == seen
    assert ask_udp(port, outside.host_ip6, outside.path) == seen
    assert len(relays(engine)) == 1
    status = Path(f"/proc/{relays(engine)[0]}/status").read_text()
    assert "CapEff:\t0000000000000000" in status
    assert "Seccomp:\t2" in status
    assert "Uid:\t61054" in status
    cli("rm", "-f", "web").ok()
    assert not listens(port)
    assert not listens(port, "udp")
    with pytest.raises(ConnectionRefusedError):
        connect(port)


def test_random_ports_are_the_same_of_both_families(engine: Engine) -> None:
    cli = engine.darse
    cli(
        "run", "-d", "--name", "web", "-P", "--expose", "8000", "-p", "80", "-p", "90-91/udp", BUSYBOX, "sleep", "99"
    ).ok()
    for key, bindings in ports_of(engine, "web").items():
        assert [one["HostIp"] for one in bindings] == ["0.0.0.0", "::"], key
        assert len({one["HostPort"] for one in bindings}) == 1


def test_addresses_that_are_named(engine: Engine) -> None:
    cli = engine.darse
    four, six, any_ = free_port(), free_port(), free_port()
    ports = ["-p", f"127.0.0.1:{four}:80", "-p", f"[::1]:{six}:80", "-p", f"[::]:{any_}:80"]
    cli("run", "-d", "--name", "web", *ports, *PYTHON).ok()
    bound = {(one["HostIp"], int(one["HostPort"])) for one in ports_of(engine, "web")["80/tcp"]}
    assert bound == {("127.0.0.1", four), ("::1", six), ("::", any_)}
    answers(six)
    answers(any_)
    for ip, port in (("::1", four), ("127.0.0.1", six), ("127.0.0.1", any_)):
        with pytest.raises(OSError, match="refused"):
            connect(port, ip)


def test_what_has_no_port_at_ipv6_addresses(engine: Engine, new_engine: Callable[..., Engine]) -> None:
    """The switch off, IPv4's own binding of a network, and modes without translation."""
    cli = engine.darse
    other = new_engine("--userland-proxy=false")
    other.darse("run", "-d", "--name", "web", "-p", "80", BUSYBOX, "sleep", "99").ok()
    assert [one["HostIp"] for one in ports_of(other, "web")["80/tcp"]] == ["0.0.0.0"]
    assert "[::]" not in other.darse("ps").ok().out
    # A file of Compose with both loopback addresses starts, as with docker.
    both = ("-p", "127.0.0.1::80", "-p", "[::1]::80")
    other.docker("run", "-d", "--name", "both", *both, BUSYBOX, "sleep", "99").ok()
    assert [one["HostIp"] for one in ports_of(other, "both")["80/tcp"]] == ["127.0.0.1"]
    assert "the userland proxy is off" in other.log()
    assert not relays(other)
    option = "com.docker.network.bridge"
    cli("network", "create", "-o", f"{option}.host_binding_ipv4=127.0.0.1", "local").ok()
    cli("network", "create", "-o", f"{option}.gateway_mode_ipv6=routed", "routed").ok()
    for network in ("local", "routed"):
        cli("run", "-d", "--name", network, "--network", network, "-p", "80", BUSYBOX, "sleep", "99").ok()
        shown = cli("port", network).ok().out
        assert shown.count("\n") == 1
        assert "[::]" not in shown


def test_bytes_arrive_as_they_were_sent(engine: Engine) -> None:
    cli = engine.darse
    port = free_port()
    cli("run", "-d", "-p", f"{port}:80", *PYTHON).ok()
    answers(port)
    data = random.Random(1).randbytes(1 << 20) * 100
    begun = time.monotonic()
    back = ask(port, data)
    print(f"100 MiB each way: {time.monotonic() - begun:.2f} s")
    assert len(back) == len(data) + 3
    assert hashlib.sha256(back).digest() == hashlib.sha256(data + b"end").digest()


def test_many_connections_at_once(engine: Engine) -> None:
    cli = engine.darse
    port = free_port()
    cli("run", "-d", "-p", f"{port}:80", *PYTHON).ok()
    answers(port)
    clients = [connect(port) for _ in range(200)]
    for number, client in enumerate(clients):
        client.sendall(str(number).encode())
    for number, client in enumerate(clients):
        assert client.recv(100) == str(number).encode()
    print(f"the relay with 200 connections: {pss(relays(engine)[0])} KiB")
    for client in clients:
        client.close()
    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(lambda _: ask(port, bytes(100_000))[-3:], range(200))) == {b"end"}


def test_peers_that_do_not_read_disturb_nobody_else(engine: Engine) -> None:
    cli = engine.darse
    port, silent, flood = free_port(), free_port(), free_port()
    cli("run", "-d", "-p", f"{port}:80", "-p", f"{silent}:81", "-p", f"{flood}:82", *PYTHON).ok()
    answers(port)
    before = pss(relays(engine)[0])
    stuck = [connect(silent) for _ in range(20)] + [connect(flood) for _ in range(20)]
    for client in stuck[:20]:
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                client.send(bytes(1 << 20))
    wait_until(lambda: ask(port, bytes(1 << 20))[-3:] == b"end", what="an answer")
    assert pss(relays(engine)[0]) < before + 2048
    seconds = Path(f"/proc/{relays(engine)[0]}/schedstat").read_text().split()[0]
    time.sleep(1)  # nothing happens in it, which is what is looked at
    assert int(Path(f"/proc/{relays(engine)[0]}/schedstat").read_text().split()[0]) - int(seconds) < 200_000_000
    for client in stuck:
        client.close()


def test_a_container_that_starts_again(engine: Engine) -> None:
    cli = engine.darse
    port = free_port()
    cli("run", "-d", "--name", "web", "-p", f"{port}:80", "-p", f"{port}:53/udp", *PYTHON).ok()
    for _ in range(3):
        answers(port)
        assert ask_udp(port).startswith(b"hello")
        cli("restart", "-t", "0", "web").ok()
    answers(port)
    client = connect(port)
    cli("stop", "-t", "0", "web").ok()
    assert not listens(port)
    assert not listens(port, "udp")
    with contextlib.suppress(ConnectionResetError):
        assert client.recv(10) == b""


def test_a_disconnected_container(engine: Engine) -> None:
    """The port follows to another network, and is gone without one."""
    cli = engine.darse
    port = free_port()
    cli("network", "create", "one").ok()
    cli("network", "create", "two").ok()
    cli("run", "-d", "--name", "web", "--network", "one", "-p", f"{port}:80", "-p", f"{port}:53/udp", *PYTHON).ok()
    answers(port)
    cli("network", "connect", "two", "web").ok()
    cli("network", "disconnect", "one", "web").ok()
    answers(port)
    cli("network", "disconnect", "two", "web").ok()
    assert not listens(port)
    assert not listens(port, "udp")


def test_a_container_that_gets_ipv6_needs_no_relay(engine: Engine) -> None:
    cli = engine.darse
    port = free_port()
    cli("network", "create", "--ipv6", "six").ok()
    cli("run", "-d", "--name", "web", "-p", f"{port}:80", "-p", f"{port}:53/udp", *PYTHON).ok()
    answers(port)
    cli("network", "connect", "six", "web").ok()
    both = [{"HostIp": "0.0.0.0", "HostPort": str(port)}, {"HostIp": "::", "HostPort": str(port)}]
    assert ports_of(engine, "web")["80/tcp"] == both
    cli("network", "disconnect", "six", "web").ok()
    answers(port)


def test_a_port_that_is_taken_at_ipv6_addresses_only(engine: Engine) -> None:
    cli = engine.darse
    with socket.create_server(("::", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]
        done = cli("run", "--name", "web", "-p", f"{port}:80", BUSYBOX, "true")
        assert done.status == 125
        assert f"failed to bind host port [::]:{port}/tcp" in done.err
        assert "address already in use" in done.err
        assert cli("inspect", "-f", "{{.State.Status}}", "web").ok().line == "created"
    cli("start", "web").ok()


def test_a_port_that_was_lost_to_a_program_is_named_and_taken_again(new_engine: Callable[..., Engine]) -> None:
    """Engine and relay end, and a program of the host takes the port before the next engine does."""
    engine, port, other = new_engine(), free_port(), free_port()
    cli = engine.darse
    cli("run", "-d", "--name", "web", "-p", f"{port}:80", *PYTHON).ok()
    cli("run", "-d", "--name", "beside", "-p", f"{other}:80", *PYTHON).ok()
    answers(port)
    answers(other)
    engine.stop()
    for relay in relays(engine):
        os.kill(relay, signal.SIGKILL)
    wait_until(lambda: not listens(port), what="the end of the relay's sockets")
    with socket.create_server(("::", port), family=socket.AF_INET6):
        engine.up()
        # Who connects as soon as the engine is there is not refused, but waits for the relay.
        assert ask(other) == b"helloend"
        told = cli("doctor").out
        assert f"port tcp [::]:{port}" in told
        assert "address already in use" in told
    answers(port)
    assert f"[::]:{port}" not in cli("doctor").out


def test_the_relay_goes_on_while_the_engine_is_dead(new_engine: Callable[..., Engine]) -> None:
    engine, port = new_engine(), free_port()
    cli = engine.darse
    cli("run", "-d", "--name", "web", "-p", f"{port}:80", "-p", f"{port}:53/udp", *PYTHON).ok()
    cli("run", "-d", "--name", "brief", "-p", f"{port + 1}:80", *PYTHON).ok()
    answers(port)
    (relay,) = relays(engine)
    client = connect(port)
    pid = engine.api("GET", "/containers/brief/json").json()["State"]["Pid"]
    engine.kill9()
    client.sendall(b"x")
    assert client.recv(10) == b"x"
    assert ask(port) == b"helloend"
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not listens(port + 1), what="the end of the ended container's port")
    engine.up()
    client.sendall(b"y")
    assert client.recv(10) == b"y"
    assert relays(engine) == [relay]
    assert ask_udp(port).startswith(b"hello")
    cli("rm", "-f", "web").ok()
    assert not listens(port)
    assert not listens(port, "udp")
    wait_until(lambda: not relays(engine), 30, "the end of a relay without ports")


def test_a_relay_that_is_killed_is_back_with_its_ports(new_engine: Callable[..., Engine]) -> None:
    engine, port = new_engine(), free_port()
    cli = engine.darse
    cli("run", "-d", "--name", "web", "-p", f"{port}:80", "-p", f"{port}:53/udp", *PYTHON).ok()
    answers(port)
    (relay,) = relays(engine)
    os.kill(relay, signal.SIGKILL)
    begun = time.monotonic()
    assert ask(port) == b"helloend"
    taken = time.monotonic() - begun
    print(f"back after {taken:.2f} s")
    assert taken < BACK_SECONDS
    assert ask_udp(port).startswith(b"hello")
    # Both at once: the sockets are gone, and are made anew.
    engine.kill9()
    os.kill(relays(engine)[0], signal.SIGKILL)
    wait_until(lambda: not listens(port), what="the end of the sockets")
    engine.up()
    answers(port)
    assert ask_udp(port).startswith(b"hello")
    cli("rm", "-f", "web").ok()
    assert not listens(port)
    assert not listens(port, "udp")


def test_a_thousand_ports(new_engine: Callable[..., Engine]) -> None:
    # All sockets of one container are made in one turn of the loop: some 70 microseconds each.
    engine = new_engine("--debug-loop-stalls=500")
    engine.darse("run", "-d", "--name", "web", "-p", "31000-31999:1000-1999", BUSYBOX, "sleep", "999").ok()
    (relay,) = relays(engine)
    wait_until(lambda: len(os.listdir(f"/proc/{relay}/fd")) > 1000, what="the ports")
    print(f"the relay with 1000 ports: {pss(relay)} KiB")
    assert pss(relay) < 16 * 1024
    engine.darse("rm", "-f", "web").ok()
    assert not any(listens(port) for port in (31000, 31500, 31999))


@pytest.mark.parametrize("instants", [FEW_INSTANTS, pytest.param(INSTANTS, marks=pytest.mark.heavy)])
@pytest.mark.parametrize("what", ["run", "rm"])
def test_a_crash_of_the_engine_leaves_no_port(new_engine: Callable[..., Engine], what: str, instants: int) -> None:
    engine, port, seed = new_engine(), free_port(), random.randrange(10**6)
    print(f"seed {seed}")
    moments = random.Random(seed)
    run = ["run", "-d", "--name", "web", "-p", f"{port}:80", "-p", f"{port}:53/udp", BUSYBOX, "sleep", "999"]
    engine.darse(*run).ok()
    for _ in range(instants):
        if what == "run":
            engine.darse("rm", "-f", "web")
        command = engine.darse.popen(*(run if what == "run" else ["rm", "-f", "web"]))
        time.sleep(moments.uniform(0, 0.25))
        engine.kill9()
        command.communicate(timeout=60)
        engine.up()
        known = engine.api("GET", "/containers/json").json()
        wait_until(lambda: listens(port) == bool(known), what=f"sockets of {len(known)} containers")  # noqa: B023
        wait_until(lambda: listens(port, "udp") == bool(known), what="sockets of UDP")  # noqa: B023
        wait_until(lambda: not find_orphans(engine), what="a clean host")
        if not known:
            engine.darse("rm", "-f", "web")
            engine.darse(*run).ok()
    engine.darse("rm", "-f", "web").ok()
    assert not listens(port)
    assert not listens(port, "udp")
    sockets = subprocess.run(["ss", "-H", "-ltu6"], capture_output=True, text=True, check=True).stdout
    assert f":{port} " not in sockets
