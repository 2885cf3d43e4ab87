"""Where plugins are found."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from darse.core.errors import InvalidParameter
from darse.plugins.discovery import PluginAddress, PluginTLS, find_plugin, plugin_names


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    folder = tmp_path / "etc"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", ["net.sock", "net/net.sock"])
def test_a_socket_in_the_run_folder(run: Path, etc: Path, name: str) -> None:
    path = run / name
    path.parent.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert find_plugin("net", [run], [etc]) == PluginAddress(socket=str(path))
        assert find_plugin("net:latest", [run], [etc]) == PluginAddress(socket=str(path))
    assert find_plugin("other", [run], [etc]) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("unix:///run/x.sock\n", PluginAddress(socket="/run/x.sock")),
        ("tcp://127.0.0.1:8080/", PluginAddress(url="127.0.0.1:8080")),
    ],
)
def test_a_spec_file(run: Path, etc: Path, text: str, found: PluginAddress) -> None:
    (etc / "net.spec").write_text(text)
    assert find_plugin("net", [run], [etc]) == found


def test_a_json_file(run: Path, etc: Path) -> None:
    (etc / "net.json").write_text('{"Name": "net", "Addr": "https://h:1", "TLSConfig": {"CAFile": "/ca.pem"}}')
    assert find_plugin("net", [run], [etc]) == PluginAddress(url="h:1", tls=PluginTLS(CAFile="/ca.pem"))


@pytest.mark.parametrize(("name", "text"), [("net.spec", "nonsense"), ("net.json", "{"), ("net.json", '{"Addr": 3}')])
def test_files_that_cannot_be_read(run: Path, etc: Path, name: str, text: str) -> None:
    (etc / name).write_text(text)
    with pytest.raises(InvalidParameter, match="the plugin's file"):
        find_plugin("net", [run], [etc])


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "a b"])
def test_names_that_no_plugin_has(run: Path, etc: Path, name: str) -> None:
    assert find_plugin(name, [run], [etc]) is None


def test_all_names(run: Path, etc: Path) -> None:
    (etc / "spec.spec").write_text("unix:///x")
    (etc / "inside").mkdir()
    (etc / "inside/inside.json").write_text("{}")
    (etc / "other.txt").write_text("x")
    (run / "no socket.sock").write_text("x")
    (run / "deep").mkdir()
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
        one.bind(str(run / "net.sock"))
        two.bind(str(run / "deep/deep.sock"))
        assert plugin_names([run, run / "missing"], [etc]) == {"spec", "inside", "net", "deep"}
