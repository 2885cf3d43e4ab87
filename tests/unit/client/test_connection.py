"""Addresses of engines: what they mean, and what is no address."""

from __future__ import annotations

import pytest

from darse.cli.errors import CliError, ConnectionFailed
from darse.cli.settings.config import Settings
from darse.client import DEFAULT_HOST, EngineEndpoint
from darse.client.connection import connect, tcp_address


@pytest.mark.parametrize(
    ("address", "meant"),
    [
        ("10.0.0.1:1", ("10.0.0.1", 1)),
        ("engine", ("engine", 2375)),
        ("", ("127.0.0.1", 2375)),
        (":1", ("127.0.0.1", 1)),
        ("[::1]:1/", ("::1", 1)),
        ("[::1]", ("::1", 2375)),
    ],
)
def test_addresses_are_completed(address: str, meant: tuple[str, int]) -> None:
    assert tcp_address(address) == meant


@pytest.mark.parametrize("host", ["a:b", "tcp://a:99999", "tcp://[::1", "tcp://a:1/path", "/run/a.sock", "http://a:b"])
def test_what_is_no_address_is_refused_in_one_sentence(host: str) -> None:
    with pytest.raises(CliError, match=r"^unable to parse docker host `.*`: it is tcp://HOST\[:PORT\]"):
        connect(EngineEndpoint(host))


def test_an_address_without_a_port_is_tried() -> None:
    with pytest.raises(ConnectionFailed, match=r"at name\.invalid\. Is darsed running\?"):
        connect(EngineEndpoint("name.invalid"))


def test_a_unix_address_without_a_path_is_the_default_socket() -> None:
    settings = Settings()
    settings.host = "unix://"
    endpoint = settings.endpoint()
    assert (endpoint.host, endpoint.is_default) == (DEFAULT_HOST, True)
