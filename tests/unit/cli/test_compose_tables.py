"""The tables of a project's containers: as docker compose prints them, and fitted to a terminal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from _pytest.capture import CaptureIO

from darse.cli import entry
from tests.support.fake_engine import FakeEngine

_ID = "1" * 64
_IMAGE = "sha256:" + "2" * 64
_LABELS = {
    "com.docker.compose.project": "shop",
    "com.docker.compose.service": "web",
    "com.docker.compose.container-number": "1",
    "com.docker.compose.oneoff": "False",
}
_WEB = {
    "Id": _ID,
    "Names": ["/shop-web-1"],
    "Image": "nginx:alpine",
    "ImageID": _IMAGE,
    "Command": "sh -c 'echo a command that is rather long'",
    "Created": 0,
    "Ports": [{"IP": "127.0.0.1", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}],
    "Labels": _LABELS,
    "State": "running",
    "Status": "Up 2 hours (health: starting)",
}
_ANSWERS: dict[tuple[str, str], Any] = {
    ("GET", "/containers/json"): [_WEB],
    ("GET", f"/containers/{_ID}/top"): {"Titles": ["UID", "PID", "CMD"], "Processes": [["root", "1", "sleep " * 30]]},
    ("GET", f"/images/{_IMAGE}/json"): {
        "RepoTags": ["nginx:alpine"],
        "Os": "linux",
        "Architecture": "amd64",
        "Size": 1982525,
        "Created": "",
    },
}


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DARSE_HOST", f"unix://{tmp_path}/fake.sock")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    Path("compose.yaml").write_text("name: shop\nservices: {web: {image: nginx}}\n")
    with FakeEngine(tmp_path) as engine:
        engine.answers |= _ANSWERS
        yield engine


def test_lists(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    def printed(*words: str) -> str:
        assert entry.run(["compose", *words]) == 0
        return capsys.readouterr().out

    assert printed("ps", "--format", "{{.Name}} {{.Service}} {{.Project}} {{.Health}} {{.ExitCode}}") == (
        "shop-web-1 web shop starting 0\n"
    )
    assert printed("ps").splitlines()[0].split() == "NAME IMAGE COMMAND SERVICE CREATED STATUS PORTS".split()
    assert printed("ps", "-q") == f"{_ID}\n"
    assert printed("ps", "--services", "--status", "running") == "web\n"
    assert printed("port", "web", "80") == "127.0.0.1:8080\n"
    assert printed("images").splitlines()[1].split()[:5] == [
        "shop-web-1",
        "nginx",
        "alpine",
        "linux/amd64",
        "222222222222",
    ]
    assert printed("top").splitlines()[0].split() == ["SERVICE", "#", "UID", "PID", "CMD"]
    assert engine.asked


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("word", ["ps", "images", "top"])
def test_on_a_terminal_they_fit(
    word: str, columns: int, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(CaptureIO, "isatty", lambda _: True)  # what capsys puts in standard output's place
    monkeypatch.setattr(CaptureIO, "fileno", lambda _: 1)
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((columns, 24)))
    assert entry.run(["compose", word]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns, lines
    assert engine.asked
