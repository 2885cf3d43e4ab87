"""`login` and `logout` as docker's client has them: words, statuses, what is sent, and the file that both share."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.engine import BIN, Client, docker_program
from tests.support.fake_engine import Answer, Asked, FakeEngine

pytestmark = pytest.mark.skipif(docker_program() is None, reason="docker's client is not installed")


def _auth(asked: Asked) -> Answer:
    """The password `right` is right; `token` is one for which a registry gives an identity token."""
    given = json.loads(asked.body)
    if given["password"] == "right":
        return Answer({"Status": "Login Succeeded", "IdentityToken": ""})
    if given["password"] == "token":
        return Answer({"Status": "Login Succeeded", "IdentityToken": "identity"})
    return Answer({"message": f'Get "https://{given["serveraddress"]}/v2/": unauthorized'}, 401)


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeEngine]:
    """The engine."""
    with FakeEngine(tmp_path) as engine:
        engine.answers["POST", "/auth"] = _auth
        yield engine


def _basic(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


_STORED = {
    "auths": {"host:5000": {"auth": _basic("u:right")}, "https://index.docker.io/v1/": {"auth": _basic("u:bad")}}
}
_CASES: list[tuple[list[str], str | None, dict[str, Any]]] = [
    (["login", "-u", "u", "-p", "right", "host:5000"], None, {}),
    (["login", "-u", "u", "-p", "right", "https://host:5000/v2/"], None, {}),
    (["login", "-u", "u", "-p", "token", "host"], None, {}),
    (["login", "-u", "u", "-p", "wrong", "host"], None, {}),
    (["login", "-u", "u", "-p", "right"], None, {}),
    (["login", "-u", "u", "-p", "right", "docker.io"], None, {"psFormat": "x"}),
    (["login", "-u", "u", "--password-stdin", "host"], "right\n", {}),
    (["login", "-u", "u", "--password-stdin", "host"], "right\r\n", {}),
    (["login", "-u", "u", "--password-stdin", "host"], "", {}),
    (["login", "--password-stdin", "host"], "right", {}),
    (["login", "-u", "u", "-p", "x", "--password-stdin", "host"], "right", {}),
    (["login", "-u", "", "-p", "x", "host"], None, {}),
    (["login", "-u", "u", "-p", "", "host"], None, {}),
    (["login", "host"], None, {}),
    (["login", "-u", "u", "host"], None, {}),
    (["login", "host:5000"], None, _STORED),
    (["login", "http://host:5000"], None, _STORED),
    (["login"], None, _STORED),
    (["login", "a", "b"], None, {}),
    (["logout", "host:5000"], None, _STORED),
    (["logout", "https://host:5000/x"], None, _STORED),
    (["logout"], None, _STORED),
    (["logout", "unknown"], None, _STORED),
    (["logout", "a", "b"], None, {}),
    (["login", "-u", "u", "-p", "right", "host"], None, {"credsStore": "nothing"}),
    (["login", "-u", "u", "-p", "right", "host:5000"], None, _STORED),
]


def _outcome(client: Client, line: list[str], text: str | None, config: dict[str, Any], directory: Path) -> list[Any]:
    directory.mkdir(exist_ok=True)
    path = directory / "config.json"
    path.unlink(missing_ok=True)
    if config:
        path.write_text(json.dumps(config))
    done = client(*line, input=text, env={"DOCKER_CONFIG": str(directory)})
    said = [one.replace("docker", "darse").replace("SRun", "Run") for one in (done.out, done.err)]
    return [done.status, *said, json.loads(path.read_text()) if path.exists() else None]


def _bodies(fake: FakeEngine) -> list[dict[str, Any]]:
    return [json.loads(one.body) for one in fake.requests()]


def test_login_and_logout(fake: FakeEngine, tmp_path: Path) -> None:
    program = docker_program()
    assert program
    config = tmp_path / "config"
    docker, darse = Client(program, fake.host, config), Client(str(BIN / "darse"), fake.host, config)
    different = []
    for line, text, document in _CASES:
        results = [(_outcome(client, line, text, document, config), _bodies(fake)) for client in (docker, darse)]
        if results[0] != results[1]:
            different.append(f"{line}:\n  docker {results[0]}\n  darse  {results[1]}")
    assert not different, f"{len(different)} of {len(_CASES)}:\n" + "\n".join(different)


def test_a_helper_that_fails_is_told_of(fake: FakeEngine, tmp_path: Path) -> None:
    """Where docker's client says nothing: credentials that are not erased, and why it asks for a password again."""
    config = tmp_path / "config"
    darse = Client(str(BIN / "darse"), fake.host, config)
    missing = 'exec: "docker-credential-nothing": executable file not found in $PATH'
    for line in (["logout", "host:5000"], ["login", "host:5000"]):
        status, _, err, document = _outcome(darse, line, None, {**_STORED, "credsStore": "nothing"}, config)
        assert missing.replace("docker", "darse") in err
        assert document == {**_STORED, "credsStore": "nothing"}
        assert status == (1 if line[0] == "login" else 0)


def test_prompts(fake: FakeEngine, tmp_path: Path) -> None:
    """The password is not shown, and the terminal shows what is typed again afterwards."""
    darse = Client(str(BIN / "darse"), fake.host, tmp_path / "config")
    with darse.terminal("login", "host:5000", timeout=60) as terminal:
        terminal.setecho(True)
        terminal.expect("Username: ")
        terminal.sendline("me")
        terminal.expect("Password: ")
        terminal.waitnoecho()
        terminal.sendline("right")
        terminal.expect("Login Succeeded")
        assert b"right" not in terminal.before
        terminal.expect_exact("\r\n")
        assert terminal.getecho()
    [sent] = [one for one in fake.requests() if one.path == "/auth"]
    assert json.loads(sent.body) == {"username": "me", "password": "right", "serveraddress": "host:5000"}


def test_an_interrupted_prompt_leaves_the_terminal_as_it_was(fake: FakeEngine, tmp_path: Path) -> None:
    darse = Client(str(BIN / "darse"), fake.host, tmp_path / "config")
    with darse.terminal("login", "-u", "me", "host:5000", timeout=60) as terminal:
        terminal.setecho(True)
        terminal.expect("Password: ")
        terminal.waitnoecho()
        terminal.sendintr()
        terminal.expect_exact("\r\n")
        assert terminal.getecho()
        terminal.wait()
    assert terminal.exitstatus == 130
    assert fake.requests() == []
