"""What users have in config.json besides credentials: it works, or is passed over."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from darse.cli.creating.environment import with_proxies
from darse.cli.errors import CliError
from darse.cli.settings.config import Settings
from darse.cli.settings.config_file import change
from darse.client import EngineEndpoint
from darse.client.blocking import Client
from darse.client.requests import system
from tests.support.fake_engine import FakeEngine
from tests.unit.cli.fake import run

_ONE = {"httpProxy": "http://p:1", "httpsProxy": "http://s:1", "noProxy": "a,b"}
_ALL = {**_ONE, "ftpProxy": "f", "allProxy": "l"}
_HOST = "unix:///run/darse/darse.sock"
_SET = ["HTTP_PROXY=http://p:1", "http_proxy=http://p:1", "HTTPS_PROXY=http://s:1", "https_proxy=http://s:1"]
_NO = ["NO_PROXY=a,b", "no_proxy=a,b"]


@pytest.mark.parametrize(
    ("proxies", "given", "wanted"),
    [
        ({"default": _ONE}, [], [*_SET, *_NO]),
        ({"default": _ALL}, [], [*_SET, *_NO, "FTP_PROXY=f", "ftp_proxy=f", "ALL_PROXY=l", "all_proxy=l"]),
        ({"default": _ONE, _HOST: {"noProxy": "n"}}, [], ["NO_PROXY=n", "no_proxy=n"]),
        ({"default": _ONE, _HOST: {}}, [], []),
        ({"tcp://other:1": _ONE}, [], []),
        ({"default": {"noProxy": "n"}}, ["NO_PROXY=mine", "A=b"], ["NO_PROXY=mine", "A=b", "no_proxy=n"]),
        ({"default": {"noProxy": "n"}}, ["no_proxy"], ["no_proxy", "NO_PROXY=n"]),
        ({"default": "text"}, [], []),
        ("text", [], []),
        (None, ["A=b"], ["A=b"]),
    ],
)
def test_proxies(proxies: Any, given: list[str], wanted: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DARSE_HOST", raising=False)
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    settings = Settings()
    settings._file = {"proxies": proxies}
    assert with_proxies(given, settings) == wanted


@pytest.mark.parametrize("variable", ["DARSE_HOST", "DOCKER_HOST", "flag", ""])
def test_the_default_socket_starts_an_engine_however_it_is_named(
    variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("DARSE_HOST", "DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    settings = Settings()
    if variable == "flag":
        settings.host = _HOST
    elif variable:
        monkeypatch.setenv(variable, _HOST)
    assert settings.endpoint().is_default
    settings.host = "unix:///other.sock"
    assert not settings.endpoint().is_default


def test_every_request_has_the_users_headers(tmp_path: Path) -> None:
    with FakeEngine(tmp_path) as engine, closing(Client(EngineEndpoint(engine.host), {"X-Team": "blue"})) as client:
        engine.answers["GET", "/version"] = {}
        client.do(system.version())
        assert engine.asked[-1].headers["x-team"] == "blue"


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ([], {"label": ["a=b"], "label!": ["keep"]}),
        (["--filter", "label=keep"], {"label": ["keep", "a=b"]}),
        (["--filter", "label!=a=b"], {"label!": ["a=b", "keep"]}),
    ],
)
def test_prune_filters(line: list[str], wanted: dict[str, list[str]]) -> None:
    config = {"pruneFilters": ["label=a=b", "label!=keep", "nonsense"]}
    answers = {("POST", "/containers/prune"): {"ContainersDeleted": None, "SpaceReclaimed": 0}}
    client = run(["container", "prune", "-f", *line], answers, config)
    assert client.asked[0][2]["filters"] == wanted


# Members of docker's client that mean nothing to darse, and members of a wrong type: nothing fails of them.
_OF_NO_USE: dict[str, Any] = {
    "pluginsFormat": "x",
    "servicesFormat": "x",
    "stackOrchestrator": "swarm",
    "kubernetes": {},
    "experimental": "enabled",
    "features": {"buildkit": "true"},
    "plugins": {"-x-cli-hints": {"enabled": "true"}},
    "aliases": {"builder": "buildx"},
    "credentialSpecOpts": None,
    "detachKeys": 5,
    "psFormat": [],
    "HttpHeaders": None,
    "pruneFilters": "x",
    "proxies": [],
    "auths": None,
}


@pytest.mark.parametrize("line", [["ps"], ["images"], ["volume", "ls"], ["network", "ls"]])
def test_other_members_are_passed_over(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    lists = ("/containers/json", "/images/json", "/networks")
    answers: dict[tuple[str, str], Any] = {("GET", path): [] for path in lists}
    run(line, {**answers, ("GET", "/volumes"): {"Volumes": []}}, _OF_NO_USE)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("line", ["pull x", "push x", "run x", "create x"])
@pytest.mark.parametrize("by", ["flag", "variable"])
def test_signatures_that_are_asked_for_are_no_silent_wish(line: str, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command, image = line.split()
    flags = ["--disable-content-trust=false"] if by == "flag" else []
    if by == "variable":
        monkeypatch.setenv("DOCKER_CONTENT_TRUST", "1")
    with pytest.raises(CliError, match=r"Docker Content Trust \(Notary\) is not there.*unsigned"):
        run([command, *flags, image], {})


def test_signatures_are_not_asked_for_digests_and_with_the_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONTENT_TRUST", "1")
    answers = {("POST", "/images/create"): [{"status": "x"}]}
    assert run(["pull", "x@sha256:" + "a" * 64], answers).asked
    assert run(["pull", "--disable-content-trust", "x"], answers).asked
    monkeypatch.setenv("DOCKER_CONTENT_TRUST", "0")
    assert run(["pull", "x"], answers).asked


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "no JSON at line 1, column 2"),
        (b"[]", "a JSON object is required"),
        (b'{"a":"\xff"}', "byte 6 is no UTF-8"),
    ],
)
def test_a_damaged_file_is_a_warning_and_is_not_written_over(
    content: bytes, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    path = tmp_path / "config.json"
    path.write_bytes(content)
    assert Settings().file == {}
    assert capsys.readouterr().err.startswith(f"WARNING: Error loading config file: {path}: {reason}")
    with pytest.raises(CliError, match=reason):
        change(str(tmp_path), lambda document: document.update(a="b"))
    assert path.read_bytes() == content
