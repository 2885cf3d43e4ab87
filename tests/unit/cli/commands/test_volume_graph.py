"""`volume graph`, and the table of `volume du`."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from darse.cli.errors import CliError
from tests.unit.cli.fake import run


def container(name: str, state: str, *mounts: tuple[str, str, bool]) -> dict[str, Any]:
    found = [{"Type": "volume", "Name": name, "Destination": at, "RW": rw} for name, at, rw in mounts]
    bind = {"Type": "bind", "Source": "/srv", "Destination": "/srv", "RW": True}
    return {"Names": [f"/{name}"], "State": state, "Mounts": [*found, bind]}


ANSWERS: dict[tuple[str, str], Any] = {
    ("GET", "/volumes"): {
        "Volumes": [{"Name": name, "Driver": "local"} for name in ("logs<", "data", "old")],
        "Warnings": None,
    },
    ("GET", "/containers/json"): [
        container("web", "running", ("data", "/srv/data", False), ("logs<", "/var/log", True)),
        container("db", "exited", ("data", "/var/lib", True)),
    ],
}
USAGE = {
    "OnDisk": 12288,
    "Size": 5,
    "Files": 2,
    "Parts": [
        {"Path": "log", "OnDisk": 8192, "Size": 4, "Files": 1},
        {"Path": "a\x1b[31m", "OnDisk": 4096, "Size": 1, "Files": 1},
    ],
}


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    run(["volume", "graph"], ANSWERS)
    assert capsys.readouterr().out == (
        "data (local)\n"
        "├── db   /var/lib  rw  exited\n"
        "└── web  /srv/data  ro  running\n"
        "logs< (local)\n"
        "└── web  /var/log  rw  running\n"
        "old (local)  unused\n"
    )


def test_svg_is_well_formed_whatever_names_are(capsys: pytest.CaptureFixture[str]) -> None:
    run(["volume", "graph", "--format", "svg"], ANSWERS)
    drawing = ElementTree.fromstring(capsys.readouterr().out)
    texts = [element.text for element in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert {"logs<", "/srv/data ro", "exited"} <= set(texts)
    assert len(list(drawing.iter("{http://www.w3.org/2000/svg}line"))) == 3
    with pytest.raises(CliError, match="invalid format 'png': text or svg"):
        run(["volume", "graph", "--format", "png"], ANSWERS)


def test_usage_shows_no_terminal_commands(capsys: pytest.CaptureFixture[str]) -> None:
    run(["volume", "du", "data"], {("GET", "/darse/volumes/data/usage"): USAGE})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == [
        ["8.192kB", "4B", "1", "log"],
        ["4.096kB", "1B", "1", "a\\x1b[31m"],
        ["12.29kB", "5B", "2", "(all)"],
    ]
