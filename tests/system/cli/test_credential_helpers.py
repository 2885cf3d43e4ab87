"""Credential helpers, programs that keep what would stand in config.json; and what registries do to who logged in."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.faults.hostile_registry import Answer, Handler, HostileRegistry
from tests.support.engine import Client, Engine
from tests.support.registry import Registry, needs_registry
from tests.support.small_images import Made, tar

pytestmark = needs_registry
MADE = Made(tar({"etc/private": b"helped"}))
# Secrets are files in $SECRETS, named by what the server's name is without slashes; each call is noted.
HELPER = """#!/bin/sh
input=$(cat)
echo "$1" >>"$SECRETS/calls"
case $1 in
store) name=$(echo "$input" | sed 's/.*"ServerURL": *"\\([^"]*\\)".*/\\1/' | tr / _)
    echo "$input" >"$SECRETS/$name" ;;
get) name=$(echo "$input" | tr / _)
    if [ -f "$SECRETS/$name" ]; then cat "$SECRETS/$name"
    else echo "credentials not found in native keychain"; exit 1; fi ;;
erase) rm -f "$SECRETS/$(echo "$input" | tr / _)" ;;
esac
"""


class Keychain:
    """A client whose helper is in PATH."""

    def __init__(self, cli: Client, directory: Path) -> None:
        self.cli, self._directory = cli, directory
        self.secrets = directory / "secrets"
        self.secrets.mkdir()
        program = directory / "docker-credential-test"
        program.write_text(HELPER)
        program.chmod(0o755)
        cli.environment |= {
            "PATH": f"{directory}:{os.environ['PATH']}",
            "SECRETS": str(self.secrets),
            "DOCKER_CONFIG": str(directory / "config"),
        }

    def configure(self, **members: object) -> None:
        (self._directory / "config").mkdir(exist_ok=True)
        (self._directory / "config" / "config.json").write_text(json.dumps(members))

    @property
    def config(self) -> str:
        return (self._directory / "config" / "config.json").read_text()

    def calls(self) -> list[str]:
        noted = self.secrets / "calls"
        return noted.read_text().split() if noted.exists() else []


@pytest.fixture
def keychain(cli: Client, tmp_path: Path) -> Keychain:
    return Keychain(cli, tmp_path)


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    storage = tmp_path_factory.mktemp("registry") / "storage"
    with Registry(storage) as public:
        MADE.push(public.address, "team/app", "1")
    with Registry(storage, users={"ada": "secret"}) as registry:
        yield registry


@pytest.mark.parametrize("member", ["credsStore", "credHelpers"])
def test_log_in_pull_push_log_out(keychain: Keychain, private: Registry, member: str) -> None:
    cli, name = keychain.cli, f"{private.address}/team/app:1"
    keychain.configure(**{member: "test" if member == "credsStore" else {private.address: "test"}})
    cli("login", "-u", "ada", "--password-stdin", private.address, input="secret").ok()
    assert "secret" not in keychain.config
    assert "store" in keychain.calls()
    cli("pull", "-q", name).ok()
    cli("tag", name, f"{private.address}/{cli.name}/app:1").ok()
    cli("push", "-q", f"{private.address}/{cli.name}/app:1").ok()
    cli("logout", private.address).ok()
    assert "erase" in keychain.calls()
    cli("rmi", name, f"{private.address}/{cli.name}/app:1").ok()
    assert "no basic auth credentials" in cli("pull", name).err


def test_a_helper_is_for_its_registry_only(keychain: Keychain, private: Registry) -> None:
    """Of another registry the helper is not asked, and its credentials are not sent there."""
    keychain.configure(credHelpers={"other.example": "test"})
    assert "no basic auth credentials" in keychain.cli("pull", f"{private.address}/team/app:1").err
    assert keychain.calls() == []


def test_an_identity_token_is_kept_in_place_of_the_password(keychain: Keychain, engine: Engine) -> None:
    """A token server that gives a refresh token at a login is shown that from then on, and the password never again."""
    with HostileRegistry(MADE) as registry:

        def asks(handler: Handler) -> Answer:
            if handler.headers.get("Authorization") == "Bearer good":
                return registry.right(handler.kind(), handler.path)
            realm = f'Bearer realm="{registry.url}/token",service="tests"'
            return Answer(401, b"{}", {"WWW-Authenticate": realm})

        for kind in ("ping", "manifest", "config", "layer"):
            registry.replace(kind, asks)
        registry.replace("token", Answer(body=b'{"token": "good", "refresh_token": "identity"}'))
        keychain.configure(credsStore="test")
        cli = keychain.cli
        cli("login", "-u", "ada", "--password-stdin", registry.address, input="secret").ok()
        kept = json.loads((keychain.secrets / registry.address).read_text())
        assert (kept["Username"], kept["Secret"]) == ("<token>", "identity")
        registry.requests.clear()
        cli("pull", "-q", f"{registry.address}/team/app:1").ok()
        tokens = [(method, headers) for method, path, headers in registry.requests if path.startswith("/token")]
        assert tokens
        for method, headers in tokens:
            assert method == "POST"
            assert "Authorization" not in headers
        cli("rmi", f"{registry.address}/team/app:1").ok()


def test_a_registry_that_is_busy_is_asked_again(cli: Client) -> None:
    """429 with Retry-After: the pull waits and succeeds; the client is told, with what is left of the pause."""
    with HostileRegistry(MADE) as registry:
        busy = Answer(429, b"{}", {"Retry-After": "1"})
        registry.replace("layer", busy, lambda handler: registry.right("layer", handler.path))
        registry.replace("manifest", busy, registry.right("manifest", ""))
        done = cli("pull", f"{registry.address}/team/app:1").ok()
        assert "Status: Downloaded newer image" in done.out
        asked = [path for _, path, _ in registry.requests]
        assert sum("/manifests/1" in path for path in asked) >= 2
        cli("rmi", f"{registry.address}/team/app:1").ok()


def test_storage_behind_a_redirect_is_not_shown_the_password(keychain: Keychain) -> None:
    """Layers lie at another host, as they do behind most registries."""
    with HostileRegistry(MADE) as registry, HostileRegistry(MADE) as storage:

        def wants_password(then: Callable[[Handler], Answer]) -> Callable[[Handler], Answer]:
            def answer(handler: Handler) -> Answer:
                if "Authorization" in handler.headers:
                    return then(handler)
                return Answer(401, b"", {"WWW-Authenticate": 'Basic realm="tests"'})

            return answer

        registry.replace("ping", wants_password(lambda _: Answer()))
        registry.replace("manifest", wants_password(lambda _: registry.right("manifest", "")))
        moved = wants_password(lambda handler: Answer(307, headers={"Location": f"{storage.url}{handler.path}"}))
        registry.replace("layer", moved)
        registry.replace("config", moved)
        cli = keychain.cli
        cli("login", "-u", "ada", "--password-stdin", registry.address, input="secret").ok()
        cli("pull", "-q", f"{registry.address}/team/app:1").ok()
        assert len(storage.requests) == 2
        assert all("Authorization" not in headers for _, _, headers in storage.requests)
        cli("rmi", f"{registry.address}/team/app:1").ok()
