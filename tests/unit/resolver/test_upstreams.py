"""Queries on their way: servers that answer, refuse or are not there, and what is left when they are over."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from darse.linux.loop import Loop
from darse.resolver import message
from darse.resolver import upstreams as upstreams_module
from darse.resolver.upstreams import QueryOrigin, Server, SharedSocket, Upstreams
from tests.support.dnspython import dns


class NameServer:
    """One of this host, whose answer is a code of DNS."""

    def __init__(self, loop: Loop, code: int) -> None:
        self._loop = loop
        self._code = code
        self.asked = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(("127.0.0.1", 0))
        loop.add(self.socket.fileno(), self._answer)

    @property
    def address(self) -> Server:
        return socket.AF_INET, self.socket.getsockname()

    def _answer(self, _: int) -> None:
        data, client = self.socket.recvfrom(512)
        self.asked += 1
        response = dns.message.make_response(dns.message.from_wire(data))
        response.set_rcode(dns.rcode.Rcode(self._code))
        self.socket.sendto(response.to_wire(), client)

    def close(self) -> None:
        self._loop.remove(self.socket.fileno())
        self.socket.close()


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def servers(loop: Loop) -> Iterator[list[NameServer]]:
    """One that refuses, and one that knows no such name."""
    made = [NameServer(loop, message.REFUSED), NameServer(loop, message.NXDOMAIN)]
    yield made
    for one in made:
        one.close()


def _ask(loop: Loop, origin: QueryOrigin, servers: list[Server]) -> dns.message.Message:
    query = dns.message.make_query("name.test", "A")
    packet = query.to_wire()
    answers: list[bytes] = []

    def answer(data: bytes) -> None:
        answers.append(data)
        loop.stop()

    upstreams = Upstreams(loop)
    upstreams.forward(origin, message.parse(packet), packet, servers, answer, over_tcp=False)
    loop.run()
    assert upstreams.in_flight == origin.in_flight == 0
    found = dns.message.from_wire(answers[0])
    assert found.id == query.id
    return found


def _nobody() -> Server:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        return socket.AF_INET, unused.getsockname()


def test_the_next_server_is_asked_when_one_refuses_or_is_not_there(loop: Loop, servers: list[NameServer]) -> None:
    found = _ask(loop, QueryOrigin(), [_nobody(), *(one.address for one in servers)])
    assert found.rcode() == dns.rcode.NXDOMAIN
    assert [one.asked for one in servers] == [1, 1]


def test_without_a_server_that_answers_it_fails(loop: Loop, servers: list[NameServer]) -> None:
    assert _ask(loop, QueryOrigin(), [servers[0].address]).rcode() == dns.rcode.SERVFAIL


def test_a_shared_socket_knows_no_query_that_is_over(
    loop: Loop, servers: list[NameServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = servers[1].address
    monkeypatch.setattr(upstreams_module, "_PORT", server[1][1])
    shared = SharedSocket(loop, socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
    monkeypatch.setattr(upstreams_module, "_new_id", lambda: 77)
    found = _ask(loop, QueryOrigin(udp=[shared]), [server])
    assert found.rcode() == dns.rcode.NXDOMAIN
    assert not shared.has_asked(77, server[1])
    shared.close()
