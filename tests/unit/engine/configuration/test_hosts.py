"""Addresses to listen on."""

from __future__ import annotations

from pathlib import Path

import pytest

from darse.core.errors import InvalidParameter
from darse.engine.configuration.hosts import Host, parse_host

DEFAULT = Path("/run/darse/darse.sock")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unix://", Host("unix", path=DEFAULT)),
        ("unix:///run/x.sock", Host("unix", path=Path("/run/x.sock"))),
        ("fd://", Host("fd")),
        ("tcp://", Host("tcp", name="localhost", port=2375)),
        ("tcp://:1", Host("tcp", port=1)),
        ("tcp://10.0.0.1", Host("tcp", name="10.0.0.1", port=2375)),
        ("10.0.0.1:99/", Host("tcp", name="10.0.0.1", port=99)),
        ("tcp://[::1]:99", Host("tcp", name="::1", port=99)),
        ("tcp://[::]", Host("tcp", name="::", port=2375)),
    ],
)
def test_addresses(text: str, expected: Host) -> None:
    assert parse_host(text, default_socket=DEFAULT, tls=False) == expected


def test_the_port_depends_on_tls() -> None:
    assert parse_host("tcp://x", default_socket=DEFAULT, tls=True).port == 2376


@pytest.mark.parametrize(
    "text",
    [
        "npipe:////./pipe/x",
        "unix://relative",
        "unix:///" + "x" * 108,
        "tcp://x:port",
        "tcp://x:99999",
        "tcp://::1",
        "tcp://x/y",
        "tcp://u@x",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid bind address"):
        parse_host(text, default_socket=DEFAULT, tls=False)
