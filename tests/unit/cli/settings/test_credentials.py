"""Credentials: where they are found, how they are kept, and what else is in config.json."""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from darse.cli.errors import CliError
from darse.cli.settings import config_file, credentials
from darse.cli.settings.config import Settings

_HELPER = """#!/bin/sh
# A credential helper: secrets are files beside it, by the last part of the server's name.
directory=$(dirname "$0")
input=$(cat)
case $1 in
store) printf '%s' "$input" > "$directory/stored" ;;
erase) rm -f "$directory/stored" ;;
get) if [ -f "$directory/stored" ]; then cat "$directory/stored"
     elif [ "$input" = broken ]; then echo "locked"; exit 3
     elif [ "$input" = odd ]; then echo "no json"
     else echo "credentials not found in native keychain"; exit 1; fi ;;
esac
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose directory is empty, and a helper `docker-credential-test` in PATH."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "docker-credential-test").write_text(_HELPER)
    (programs / "docker-credential-test").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.delenv("DOCKER_AUTH_CONFIG", raising=False)
    found = Settings()
    found.directory = str(tmp_path / "config")
    return found


def _write(settings: Settings, document: dict[str, Any]) -> Path:
    path = Path(settings.directory) / "config.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document))
    settings._file = None
    return path


def _basic(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("domain", "found"),
    [
        ("docker.io", {"username": "hub", "password": "a:b", "serveraddress": "https://index.docker.io/v1/"}),
        ("host:5000", {"username": "plain", "password": "p", "serveraddress": "host:5000"}),
        ("gcr.io", {"username": "old", "password": "x", "serveraddress": "https://gcr.io/v1/"}),
        ("token.io", {"identitytoken": "t", "serveraddress": "token.io"}),
        ("empty.io", {}),
        ("unknown.io", {}),
    ],
)
def test_found_in_the_file(settings: Settings, domain: str, found: dict[str, str]) -> None:
    auths = {
        "https://index.docker.io/v1/": {"auth": _basic("hub:a:b")},
        "host:5000": {"username": "plain", "password": "p", "email": "e"},
        "https://gcr.io/v1/": {"auth": _basic("old:x\0\0")},
        "token.io": {"identitytoken": "t"},
        "empty.io": {},
    }
    _write(settings, {"auths": auths})
    assert credentials.get(settings, credentials.key_of(domain)) == found
    sent = credentials.registry_auth(settings, domain)
    assert json.loads(base64.urlsafe_b64decode(sent)) == found


@pytest.mark.parametrize("entry", [{"auth": "%"}, {"auth": _basic("nocolon")}, {"auth": _basic(":x")}, "text"])
def test_a_damaged_entry_is_named(settings: Settings, entry: object) -> None:
    _write(settings, {"auths": {"bad.io": entry}})
    with pytest.raises(CliError, match=r"config\.json.*bad\.io"):
        credentials.get(settings, "bad.io")


def test_a_file_that_is_no_json_is_named(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    path = _write(settings, {})
    path.write_text("{")
    assert credentials.get(settings, "x") == {}
    assert str(path) in capsys.readouterr().err


def test_storing_keeps_what_is_not_known(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    before = {"psFormat": "x", "unknown": [1, {"ä": None}], "auths": {"a.io": {"auth": _basic("u:p"), "email": "e"}}}
    path = _write(settings, before)
    path.chmod(0o644)
    credentials.store(settings, {"username": "new", "password": "pw", "serveraddress": "a.io"})
    after = json.loads(path.read_text())
    assert after == {**before, "auths": {"a.io": {"email": "e", "auth": _basic("new:pw")}}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["config.json"]
    assert f"stored unencrypted in '{path}'" in capsys.readouterr().err
    assert credentials.get(settings, "a.io")["username"] == "new"
    credentials.erase(settings, "a.io")
    assert json.loads(path.read_text()) == {**before, "auths": {}}
    assert credentials.get(settings, "a.io") == {}


def test_an_identity_token_replaces_the_password(settings: Settings) -> None:
    credentials.store(settings, {"username": "u", "password": "", "identitytoken": "t", "serveraddress": "a.io"})
    path = Path(settings.directory) / "config.json"
    assert json.loads(path.read_text()) == {"auths": {"a.io": {"identitytoken": "t", "auth": _basic("u:")}}}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_symbolic_link_stays_one(settings: Settings, tmp_path: Path) -> None:
    real = tmp_path / "real.json"
    real.write_text("{}")
    directory = Path(settings.directory)
    directory.mkdir()
    (directory / "config.json").symlink_to(real)
    config_file.change(settings.directory, lambda document: document.update(a=1))
    assert (directory / "config.json").is_symlink()
    assert json.loads(real.read_text()) == {"a": 1}


def test_a_failed_edit_changes_nothing(settings: Settings) -> None:
    path = _write(settings, {"a": 1})

    def fail(document: dict[str, Any]) -> None:
        document["a"] = 2
        raise CliError("no")

    with pytest.raises(CliError, match="no"):
        config_file.change(settings.directory, fail)
    assert json.loads(path.read_text()) == {"a": 1}


@pytest.mark.parametrize("document", [{"credsStore": "test"}, {"credHelpers": {"a.io": "test"}, "credsStore": "none"}])
def test_helpers_keep_secrets_out_of_the_file(
    settings: Settings, document: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = _write(settings, document)
    given = {"username": "u", "password": "secret", "serveraddress": "a.io"}
    credentials.store(settings, given)
    assert json.loads(path.read_text()) == {**document, "auths": {"a.io": {}}}
    assert json.loads((tmp_path / "bin" / "stored").read_text()) == {
        "ServerURL": "a.io",
        "Username": "u",
        "Secret": "secret",
    }
    assert credentials.get(settings, "a.io") == given
    credentials.erase(settings, "a.io")
    assert credentials.get(settings, "a.io") == {}
    assert capsys.readouterr().err == ""


def test_helpers_keep_identity_tokens(settings: Settings) -> None:
    _write(settings, {"credsStore": "test"})
    credentials.store(settings, {"username": "u", "identitytoken": "t", "serveraddress": "a.io"})
    assert credentials.get(settings, "a.io") == {"identitytoken": "t", "serveraddress": "a.io"}


@pytest.mark.parametrize(
    ("helper", "server", "message"),
    [
        ("test", "broken", "error getting credentials - err: exit status 3, out: `locked`"),
        ("test", "odd", "answered what is no credentials"),
        ("none", "a.io", 'exec: "docker-credential-none": executable file not found'),
        ("../test", "a.io", "has no slash"),
    ],
)
def test_what_helpers_fail_with(settings: Settings, helper: str, server: str, message: str) -> None:
    _write(settings, {"credsStore": helper})
    with pytest.raises(CliError, match=message):
        credentials.get(settings, server)


def test_an_installed_helper_is_used_where_nothing_is_kept_yet(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "bin" / "docker-credential-test").rename(tmp_path / "bin" / "docker-credential-secretservice")
    credentials.store(settings, {"username": "u", "password": "p", "serveraddress": "a.io"})
    assert (tmp_path / "bin" / "stored").exists()


def test_the_variable_goes_first(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _write(settings, {"auths": {"a.io": {"auth": _basic("file:p")}, "b.io": {"auth": _basic("file:p")}}})
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {"a.io": {"auth": _basic("variable:p")}}}))
    assert credentials.get(settings, "a.io")["username"] == "variable"
    assert credentials.get(settings, "b.io")["username"] == "file"
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", "{")
    assert credentials.get(settings, "a.io")["username"] == "file"
    assert "DOCKER_AUTH_CONFIG" in capsys.readouterr().err


@pytest.mark.parametrize(
    "document", [{"credsStore": "missing"}, {"credHelpers": {"a.io": "test"}}, {"auths": {"a.io": {"auth": "%"}}}]
)
def test_what_cannot_be_read_stops_no_pull(
    document: dict[str, object], settings: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    program = tmp_path / "bin" / "docker-credential-test"
    program.write_text("#!/bin/sh\necho what\n")
    _write(settings, document)
    sent = credentials.registry_auth(settings, "a.io")
    assert json.loads(base64.urlsafe_b64decode(sent)) == {}
    said = capsys.readouterr().err
    assert said.startswith("WARNING: ")
    assert said.endswith("; going on without credentials for a.io\n")


@pytest.mark.parametrize("content", ["", " \n"])
def test_an_empty_file_says_nothing(content: str, settings: Settings) -> None:
    _write(settings, {}).write_text(content)
    assert settings.file == {}
    assert credentials.get(settings, "a.io") == {}
