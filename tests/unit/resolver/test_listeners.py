"""Sockets and forwarding: a listener on the host's loopback, and upstream servers that answer as they should not."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from darse.linux.loop import Loop
from darse.resolver import upstreams
from darse.resolver.listeners import Counters, Listener
from darse.resolver.upstreams import Upstreams
from darse.resolver.zone import Zone
from tests.support.dnspython import dns

Behaviour = Callable[[dns.message.Message], dns.message.Message | bytes | None]


def answer(
    query: dns.message.Message, address: str = "1.2.3.4", *, code: int = 0, count: int = 1
) -> dns.message.Message:
    made = dns.message.make_response(query, recursion_available=True)
    made.set_rcode(dns.rcode.Rcode(code))
    if count and not code:
        texts = [address] if count == 1 else [f"10.0.{n // 250}.{n % 250}" for n in range(count)]
        made.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "A", *texts))
    return made


def _both(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Sockets for UDP and TCP on one port; which is chosen anew when others have it for TCP, unless it is given."""
    while True:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind((address, port))
            return udp, socket.create_server(udp.getsockname())
        except OSError:
            udp.close()
            if port:
                raise


class Upstream:
    """A server at one address of the loopback, over UDP and TCP, that behaves as one says."""

    def __init__(self, address: str, port: int, behaviour: Behaviour) -> None:
        self.address = address
        self.behaviour = behaviour
        self.over_udp = self.over_tcp = 0
        self.ports: set[int] = set()
        self._udp, self._tcp = _both(address, port)
        self.port = self._udp.getsockname()[1]
        for work in (self._datagrams, self._streams):
            threading.Thread(target=work, daemon=True).start()

    def _datagrams(self) -> None:
        while True:
            try:
                data, client = self._udp.recvfrom(65535)
            except OSError:
                return
            if not data:
                return
            self.over_udp += 1
            self.ports.add(client[1])
            reply = self.behaviour(dns.message.from_wire(data))
            if reply is not None:
                self._udp.sendto(reply if isinstance(reply, bytes) else reply.to_wire(), client)

    def _streams(self) -> None:
        while True:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            with connection:
                self.over_tcp += 1
                length = int.from_bytes(connection.recv(2), "big")
                reply = self.behaviour(dns.message.from_wire(connection.recv(length)))
                if reply is not None:
                    data = reply if isinstance(reply, bytes) else reply.to_wire()
                    data = len(data).to_bytes(2, "big") + data
                    connection.sendall(data[:5])
                    time.sleep(0.01)
                    connection.sendall(data[5:])

    def close(self) -> None:
        for sock in (self._udp, self._tcp):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


class Bench:
    """A listener in a loop in a thread, and its upstream servers."""

    def __init__(self) -> None:
        self.upstreams: list[Upstream] = []
        self.loop = Loop()
        self.forwarder = Upstreams(self.loop)
        self.counters = Counters()
        self._process = subprocess.Popen(["sleep", "100"])
        self.listener: Listener | None = None
        self._thread = threading.Thread(target=self.loop.run)

    def upstream(self, behaviour: Behaviour = answer) -> Upstream:
        port = self.upstreams[0].port if self.upstreams else 0
        made = Upstream(f"127.0.77.{len(self.upstreams) + 1}", port, behaviour)
        self.upstreams.append(made)
        return made

    def serve(self, *, own: bool = False, forward: bool = True, servers: list[str] | None = None) -> Bench:
        """Start; with `own` the servers are the sandbox's, asked from sockets that were handed over."""
        addresses = servers if servers is not None else [one.address for one in self.upstreams]
        zone = Zone()
        names = {"network": "n", "name": "front", "names": ["web"], "addresses": ["172.18.0.2"], "links": {}}
        sandbox = zone.replace(
            {
                "id": "web",
                "endpoints": [names],
                "servers": addresses if own else None,
                "forward": forward,
                "ndots": False,
            }
        )
        if not own:
            self.forwarder.servers = [upstreams.server(text) for text in addresses]
        udp, tcp = _both("127.0.0.1", 0)
        self.address = udp.getsockname()
        sockets = [udp, tcp]
        if own:
            sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sockets += [socket.socket() for _ in range(2)]
        descriptors = [os.pidfd_open(self._process.pid), *(one.detach() for one in sockets)]
        self.listener = Listener(self.loop, self.forwarder, self.counters, sandbox, descriptors, self._ended)
        self._thread.start()
        return self

    def _ended(self, listener: Listener) -> None:
        listener.close()

    def ask(self, name: str = "example.com", *, tcp: bool = False, seconds: float = 5, **options: Any) -> Any:
        query = dns.message.make_query(name, "A", **options)
        ask = dns.query.tcp if tcp else dns.query.udp
        return ask(query, self.address[0], seconds, self.address[1], **({} if tcp else {"ignore_unexpected": True}))

    def end_process(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.end_process()
        if self.listener is not None:
            deadline = time.monotonic() + 5
            while self.listener._udp.fileno() >= 0:
                assert time.monotonic() < deadline, "the end of the process was not noticed"
                time.sleep(0.01)
            # It may be waiting for nothing at all.
            woken = os.eventfd(1)
            self.loop.add(woken, lambda _: self.loop.stop())
            self._thread.join()
            os.close(woken)
        for one in self.upstreams:
            one.close()
        self.loop.close()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench()
    serve = made.serve

    def with_port(**options: Any) -> Bench:
        if made.upstreams:
            monkeypatch.setattr(upstreams, "_PORT", made.upstreams[0].port)
        return serve(**options)

    monkeypatch.setattr(made, "serve", with_port)
    yield made
    made.close()


def silent(_: dns.message.Message) -> None:
    """Answer nothing."""


def failing(code: int) -> Behaviour:
    return lambda query: answer(query, code=code)


def texts(reply: dns.message.Message) -> list[str]:
    return [str(one) for found in reply.answer for one in found]


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("tcp", [False, True])
def test_a_query_is_forwarded_as_it_came(bench: Bench, own: bool, tcp: bool) -> None:
    upstream = bench.upstream()
    bench.serve(own=own)
    for _ in range(5):
        assert texts(bench.ask(tcp=tcp)) == ["1.2.3.4"]
    assert (upstream.over_udp, upstream.over_tcp) == ((0, 5) if tcp else (5, 0))
    if not tcp:
        assert len(upstream.ports) > 1  # a port for each
    assert texts(bench.ask("web", tcp=tcp)) == ["172.18.0.2"]
    assert (bench.counters.answered, bench.counters.forwarded) == (1, 5)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("code", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
@pytest.mark.parametrize("tcp", [False, True])
def test_the_next_server_is_asked_after_a_failure(bench: Bench, own: bool, code: int, tcp: bool) -> None:
    bench.upstream(failing(code))
    bench.upstream(lambda query: answer(query, "5.6.7.8"))
    bench.serve(own=own)
    assert texts(bench.ask(tcp=tcp)) == ["5.6.7.8"]


@pytest.mark.parametrize("own", [False, True])
def test_nxdomain_is_an_answer(bench: Bench, own: bool) -> None:
    bench.upstream(failing(dns.rcode.NXDOMAIN))
    second = bench.upstream()
    bench.serve(own=own)
    assert bench.ask().rcode() == dns.rcode.NXDOMAIN
    assert second.over_udp == 0


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("tcp", [False, True])
def test_a_server_that_is_not_there_takes_no_time(bench: Bench, own: bool, tcp: bool) -> None:
    upstream = bench.upstream()
    bench.serve(own=own, servers=["127.0.99.1", "127.0.99.2", upstream.address])
    begin = time.monotonic()
    assert texts(bench.ask(tcp=tcp)) == ["1.2.3.4"]
    assert time.monotonic() - begin < upstreams.SECONDS


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("tcp", [False, True])
def test_a_silent_server_is_left_after_its_time(
    bench: Bench, own: bool, tcp: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstreams, "SECONDS", 0.2)
    bench.upstream(silent)
    bench.upstream()
    bench.serve(own=own)
    begin = time.monotonic()
    assert texts(bench.ask(tcp=tcp)) == ["1.2.3.4"]
    assert tcp or 0.2 <= time.monotonic() - begin < 1


@pytest.mark.parametrize("own", [False, True])
def test_three_servers_are_asked_and_then_it_fails(bench: Bench, own: bool) -> None:
    servers = [bench.upstream(failing(dns.rcode.SERVFAIL)) for _ in range(4)]
    bench.serve(own=own)
    assert bench.ask().rcode() == dns.rcode.SERVFAIL
    assert [one.over_udp for one in servers] == [1, 1, 1, 0]


def test_no_servers(bench: Bench) -> None:
    bench.serve()
    assert bench.ask().rcode() == dns.rcode.SERVFAIL


def test_nothing_is_forwarded_to_the_hosts_servers_for_an_internal_network(bench: Bench) -> None:
    upstream = bench.upstream()
    bench.serve(forward=False)
    for tcp in (False, True):
        assert bench.ask(tcp=tcp).rcode() == dns.rcode.SERVFAIL
    assert texts(bench.ask("web")) == ["172.18.0.2"]
    assert upstream.over_udp == upstream.over_tcp == 0


@pytest.mark.parametrize("own", [False, True])
def test_what_is_not_the_answer_is_not_taken(bench: Bench, own: bool) -> None:
    def liar(query: dns.message.Message) -> None:
        wrong = answer(query, "6.6.6.6")
        for change in ("id", "name", "query"):
            sent = dns.message.from_wire(wrong.to_wire())
            if change == "id":
                sent.id = (sent.id + 1) % 65536
            elif change == "name":
                sent.question[0].name = dns.name.from_text("example.org")
            else:
                sent.flags &= ~dns.flags.QR
            bench.upstreams[0]._udp.sendto(sent.to_wire(), (("127.0.0.1", port()) if own else client()))

    def client() -> tuple[str, int]:
        return "127.0.0.1", port()

    def port() -> int:
        return max(bench.upstreams[0].ports)

    def behave(query: dns.message.Message) -> dns.message.Message:
        liar(query)
        return answer(query, "1.2.3.4")

    bench.upstream(behave)
    bench.serve(own=own)
    assert texts(bench.ask()) == ["1.2.3.4"]


@pytest.mark.parametrize("own", [False, True])
def test_an_answer_that_is_too_long_is_truncated_and_whole_over_tcp(bench: Bench, own: bool) -> None:
    bench.upstream(lambda query: answer(query, count=200))
    bench.serve(own=own)
    plain = bench.ask()
    assert plain.flags & dns.flags.TC
    assert len(plain.to_wire()) <= 512
    assert len(texts(bench.ask(use_edns=0, payload=4096))) == 200
    assert len(texts(bench.ask(tcp=True))) == 200


@pytest.mark.parametrize("own", [False, True])
def test_many_at_a_time(bench: Bench, own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit they are refused, and none is left in the end."""
    monkeypatch.setattr(upstreams, "MOST_OF_SANDBOX", 50)
    monkeypatch.setattr(upstreams, "SECONDS", 1.5)
    bench.upstream(silent)
    bench.serve(own=own)
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(5)
    for number in range(80):
        client.sendto(dns.message.make_query("example.com", "A", id=number).to_wire(), bench.address)
    codes = [dns.message.from_wire(client.recv(4096)).rcode() for _ in range(80)]
    client.close()
    assert (codes.count(dns.rcode.REFUSED), codes.count(dns.rcode.SERVFAIL)) == (30, 50)
    assert bench.forwarder.in_flight == 0


@pytest.mark.parametrize("own", [False, True])
def test_queries_on_their_way_have_ids_of_their_own(bench: Bench, own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a thousand on their way, one in sixty would meet another's."""
    monkeypatch.setattr(upstreams, "SECONDS", 1.5)
    numbers = itertools.chain([7, 7, 7, 8, 7], itertools.count(100))
    monkeypatch.setattr(upstreams.os, "urandom", lambda length: next(numbers).to_bytes(length, "big"))
    upstream = bench.upstream(silent)
    bench.serve(own=own)
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(10)
    begun = time.monotonic()
    for number in range(3):
        client.sendto(dns.message.make_query("example.com", "A", id=number).to_wire(), bench.address)
    for _ in range(3):
        assert dns.message.from_wire(client.recv(4096)).rcode() == dns.rcode.SERVFAIL
        assert time.monotonic() - begun >= 1.5
    client.close()
    assert upstream.over_udp == 3


def test_the_end_of_a_sandbox_with_queries_on_their_way(bench: Bench) -> None:
    bench.upstream(silent)
    bench.serve(own=True)
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for number in range(10):
        client.sendto(dns.message.make_query("example.com", "A", id=number).to_wire(), bench.address)
    client.close()
    while bench.forwarder.in_flight < 10:
        time.sleep(0.01)
    bench.end_process()
    deadline = time.monotonic() + 5
    while bench.forwarder.in_flight:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_malformed_packets_over_tcp_end_the_connection_or_are_answered(bench: Bench) -> None:
    bench.serve()
    for packet, expected in (
        (b"\0\3abc", b""),
        (b"\0\x0c" + struct.pack("!6H", 7, 0x100, 0, 0, 0, 0), b"\0\x0c\0\7\x81\x81"),
    ):
        with socket.create_connection(bench.address) as connection:
            connection.settimeout(5)
            connection.sendall(packet)
            assert connection.recv(100)[:6] == expected
    assert bench.counters.malformed == 2


def test_connections_are_few(bench: Bench) -> None:
    bench.serve()
    connections = [socket.create_connection(bench.address) for _ in range(70)]
    for connection in connections:
        connection.settimeout(8)  # the server closes those that ask nothing after ten
    assert connections[-1].recv(1) == b""
    for connection in connections:
        connection.close()
    assert texts(_asked_until_there_is_room(bench, "web")) == ["172.18.0.2"]


def _asked_until_there_is_room(bench: Bench, name: str) -> dns.message.Message:
    """The answer by TCP, once the server has seen that connections are closed."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return bench.ask(name, tcp=True)
        except (ConnectionError, EOFError):
            assert time.monotonic() < deadline
