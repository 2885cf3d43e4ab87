"""`port --reachable`."""

from __future__ import annotations

import pytest

from tests.unit.cli.fake import run

PORTS = {
    "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
    "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "5353"}],
    "443/tcp": [{"HostIp": "192.0.2.7", "HostPort": "8443"}],
    "9/tcp": None,
}
ANSWERS = {("GET", "/containers/web/json"): {"NetworkSettings": {"Ports": PORTS}}}


def test_every_port(capsys: pytest.CaptureFixture[str]) -> None:
    run(["port", "--reachable", "web"], ANSWERS)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "9/tcp",
        "53/udp -> 127.0.0.1:5353",
        "80/tcp -> 0.0.0.0:8080",
        "80/tcp -> [::]:8080",
        "443/tcp -> 192.0.2.7:8443",
    ]
    assert "not published" in lines[0]
    assert "from the engine's host only" in lines[1]
    assert "from everywhere" in lines[2]
    assert "host, and ::1" in lines[3]
    assert "from whoever reaches 192.0.2.7" in lines[4]


def test_one_port(capsys: pytest.CaptureFixture[str]) -> None:
    run(["port", "--reachable", "web", "443"], ANSWERS)
    assert capsys.readouterr().out.count("\n") == 1
