"""No command lies, hangs or traces back when the engine goes away under it: all of them, from the table of commands.

`tests/system/cli/test_engine_goes_away.py` does it to a real engine.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from darse.cli import entry
from darse.cli.command_line import index
from tests.support.fake_engine import Answer, Death, FakeEngine

# What asks no engine anything, by its nature. A command that is in no list here is one that asks.
_ON_ITS_OWN = {path for path in index.COMMANDS if path.startswith(("context ", "manifest "))} | {
    "completion",
    "compose alpha viz",
    "compose config",
    "compose graph",
    "compose version",
    "logout",
    *(f"system {word}" for word in "backup disable enable restore takeover".split()),
    *("system tls client", "system tls init"),
    "system restart",  # connects, to learn who is there
}
# Where as many words as the command takes at least are no good.
_ARGUMENTS = {
    "builder build": ["{}"],
    "image build": ["{}"],
    "compose alpha dry-run": ["ls"],
    "compose cp": ["x:/x", "{}/copied"],
    "compose port": ["x", "80"],
    "compose scale": ["x=2"],
    "container cp": ["c:/x", "{}/copied"],
    "container export": ["-o", "{}/exported", "c"],
    "container update": ["--cpus", "1", "c"],
    "image import": ["{}/archive"],
    "image load": ["-i", "{}/archive"],
    "image save": ["-o", "{}/saved", "i"],
    "plugin create": ["p", "{}/plugin"],
    "plugin install": ["--grant-all-permissions", "p"],
    "volume export": ["-o", "{}/exported", "v"],
    "volume import": ["v", "{}/archive"],
    # What changes the system does so below another root.
    **{f"system {word}": ["--root", "{}/root"] for word in ("enable", "disable", "takeover")},
    "system tls init": ["--directory", "{}/tls"],
    "system tls client": ["--directory", "{}/tls", "x"],
    "system backup": ["--data-root", "{}/data", "--exec-root", "{}/exec", "{}/saved"],
    "system restore": ["--data-root", "{}/data", "--exec-root", "{}/exec", "{}/archive"],
    "login": ["-u", "user", "-p", "secret", "localhost:1"],
}
_DEATHS = {
    "before an answer": Death(after=0),
    "in its head": Death(after=30),
    "in its body": Death(after=-1),
    "in order": Death(after=-1, orderly=True),
}


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DARSE_HOST", f"unix://{tmp_path}/fake.sock")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("DARSE_RECONNECT", "0.1")
    (tmp_path / "plugin" / "rootfs").mkdir(parents=True)
    (tmp_path / "plugin" / "config.json").write_text("{}")
    (tmp_path / "archive").write_bytes(bytes(10240))
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    built = "b: {image: b, build: ., develop: {watch: [{path: ., action: rebuild}]}}"
    (tmp_path / "compose.yaml").write_text(f"name: p\nservices: {{x: {{image: i}}, {built}}}\n")
    monkeypatch.chdir(tmp_path)
    with FakeEngine(tmp_path) as engine:
        yield engine


def _line(path: str, directory: Path) -> list[str]:
    command, _ = importlib.import_module(index.COMMANDS[path].module).COMMANDS[path]
    words = [word.replace("{}", str(directory)) for word in _ARGUMENTS.get(path, ["x"] * command.minimum)]
    force = ["--force"] if path.endswith("prune") else []
    return [*path.split(), *force, *words]


@pytest.mark.parametrize("death", _DEATHS.values(), ids=_DEATHS.keys())
@pytest.mark.parametrize("path", sorted(set(index.COMMANDS) - _ON_ITS_OWN - {"system dial-stdio"}))
def test_a_command_whose_engine_goes_away_fails(
    path: str, death: Death, engine: FakeEngine, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    engine.dies = death
    status = entry.run(_line(path, tmp_path))
    out, err = capfd.readouterr()
    assert engine.asked, f"{path} asks the engine nothing: it belongs into _ON_ITS_OWN"
    assert status in (1, 125), (status, out, err)
    assert "Traceback" not in err
    assert "engine" in out + err or path == "login", err  # a login asks the registry itself then
    assert not [name for name in ("exported", "saved", "copied") if (tmp_path / name).exists()]


@pytest.mark.parametrize("path", sorted(_ON_ITS_OWN))
def test_what_asks_no_engine_is_listed_rightly(path: str, engine: FakeEngine, tmp_path: Path) -> None:
    entry.run(_line(path, tmp_path))
    assert not engine.asked


# In the middle of what lasts: the answers that lead there, the request it happens to, and what must have been shown.
_CONTAINER: dict[str, Any] = {
    "Id": "c" * 64,
    "Config": {"Tty": False, "OpenStdin": True},
    "State": {"Running": True, "Paused": False},
    "HostConfig": {"AutoRemove": False},
}
_EVENT = {"Type": "container", "Action": "start", "Actor": {"ID": "c"}, "time": 1, "timeNano": 1_000_000_001}
_STAMPED = b"\1\0\0\0\0\0\0\x23" + b"2026-01-02T03:04:05.000000001Z line" + b"\1\0\0\0\0\0\0\1\n"
_STREAM = Answer(b"\1\0\0\0\0\0\0\5line\n", 101, "application/vnd.docker.multiplexed-stream")
_WAIT = ("POST", "/containers/c/wait")
_CREATE = ("POST", "/images/create")
_ATTACH = ("POST", "/containers/c/attach")
_PULLING = [{"status": "Pulling", "id": "a", "progressDetail": {}}] * 20
_INSPECTED = {("GET", "/containers/c/json"): _CONTAINER}
_ATTACHED = {
    **_INSPECTED,
    _WAIT: Answer(held=True),
    _ATTACH: _STREAM,
    ("POST", "/containers/c/start"): Answer(b"", 204),
}
_LASTING: dict[str, tuple[dict[tuple[str, str], Any], tuple[str, str], str, str]] = {
    "pull -q x": ({("POST", "/images/create"): Answer(_PULLING, chunked=True)}, ("POST", "/images/create"), "", ""),
    "pull x": (
        {("POST", "/images/create"): Answer(_PULLING, chunked=True)},
        ("POST", "/images/create"),
        "a: Pulling",
        "",
    ),
    "push -q x": ({("POST", "/images/x/push"): Answer(_PULLING, chunked=True)}, ("POST", "/images/x/push"), "", ""),
    "logs c": (
        {**_INSPECTED, ("GET", "/containers/c/logs"): Answer(_STREAM.body, chunked=True)},
        ("GET", "/containers/c/logs"),
        "line",
        "",
    ),
    "logs -f c": (
        {**_INSPECTED, ("GET", "/containers/c/logs"): Answer(_STAMPED, chunked=True)},
        ("GET", "/containers/c/logs"),
        "line",
        "c runs on: `darse logs -f c`",
    ),
    "events": (
        {("GET", "/events"): Answer([_EVENT], chunked=True)},
        ("GET", "/events"),
        "container start c",
        "`darse events --since 1.000000001`",
    ),
    "wait c": ({_WAIT: Answer({"StatusCode": 0}, chunked=True)}, _WAIT, "", "c runs on: `darse wait c`"),
    "attach c": (_ATTACHED, _ATTACH, "line", "c runs on: `darse attach c`"),
    "start -a c": (_ATTACHED, ("POST", "/containers/c/start"), "line", "c runs on: `darse attach c`"),
    "stats --no-stream c": (
        {("GET", "/containers/c/stats"): Answer([{}], chunked=True)},
        ("GET", "/containers/c/stats"),
        "",
        "",
    ),
    "exec c true": (
        {
            ("POST", "/containers/c/exec"): Answer({"Id": "e"}, 201),
            ("POST", "/exec/e/start"): _STREAM,
            ("GET", "/exec/e/json"): {"Running": False, "ExitCode": 0},
        },
        ("GET", "/exec/e/json"),
        "line",
        "the process runs on in c: `darse top c`",
    ),
    "save i": ({("GET", "/images/get"): Answer(b"archive\n" * 9, chunked=True)}, ("GET", "/images/get"), "archive", ""),
    "system check": (
        {("GET", "/darse/check"): Answer([{"doing": "looking"}], chunked=True)},
        ("GET", "/darse/check"),
        "",
        "",
    ),
}


@pytest.mark.parametrize("orderly", [False, True], ids=["killed", "in order"])
@pytest.mark.parametrize("line", _LASTING)
def test_what_lasts_fails_when_the_engine_goes_away(
    line: str, orderly: bool, engine: FakeEngine, capfd: pytest.CaptureFixture[str]
) -> None:
    answers, (method, path), shown, said = _LASTING[line]
    engine.answers |= answers
    # What is cut off is the end of a chunked body: without it nothing is missing but the word that it is whole.
    cut = {"GET /exec/e/json": -1, "POST /containers/c/attach": 1 << 20, "POST /containers/c/start": 1 << 20}
    engine.dies = Death(method, path, cut.get(f"{method} {path}", -len(b"0\r\n\r\n")), orderly=orderly)
    status = entry.run(line.split())
    out, err = capfd.readouterr()
    assert (status, "Traceback" in err) == (1, False), (out, err)
    assert shown in out
    assert said in err
    assert err.strip().count("\n") == 0, err
    assert not out.endswith("docker.io/library/x:latest\n")
