"""`network graph`."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from darse.cli.errors import CliError
from tests.unit.cli.fake import run


def network(name: str, subnet: str = "", **members: Any) -> dict[str, Any]:
    config = [{"Subnet": subnet}] if subnet else None
    return {"Name": name, "Driver": "bridge", "IPAM": {"Config": config}, **members}


def container(name: str, ports: list[dict[str, Any]], **addresses: str) -> dict[str, Any]:
    endpoints = {on: {"IPAddress": address, "GlobalIPv6Address": ""} for on, address in addresses.items()}
    return {"Names": [f"/{name}"], "Ports": ports, "NetworkSettings": {"Networks": endpoints}}


WEB = {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}
ANSWERS = {
    ("GET", "/networks"): [
        network("none", Driver="null"),
        network("back", "10.9.0.0/24", Internal=True),
        network("bridge", "172.17.0.0/16"),
    ],
    ("GET", "/containers/json"): [
        container("web", [WEB, {**WEB, "IP": "::"}, {"PrivatePort": 443, "Type": "tcp"}], bridge="172.17.0.2"),
        container("db<1>", [], back="10.9.0.2", bridge="172.17.0.3"),
    ],
}


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    run(["network", "graph"], ANSWERS)
    assert capsys.readouterr().out == (
        "back (bridge)  10.9.0.0/24  internal\n"
        "└── db<1>  10.9.0.2\n"
        "bridge (bridge)  172.17.0.0/16\n"
        "├── db<1>  172.17.0.3\n"
        "└── web    172.17.0.2  0.0.0.0:8080->80/tcp, [::]:8080->80/tcp\n"
        "none (null)\n"
    )


def test_svg_is_well_formed_whatever_names_are(capsys: pytest.CaptureFixture[str]) -> None:
    run(["network", "graph", "--format", "svg"], ANSWERS)
    drawing = ElementTree.fromstring(capsys.readouterr().out)
    texts = [element.text for element in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert "db<1>" in texts
    assert len(list(drawing.iter("{http://www.w3.org/2000/svg}line"))) == 3


def test_other_formats(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CliError, match="invalid format 'png': text or svg"):
        run(["network", "graph", "--format", "png"], ANSWERS)
