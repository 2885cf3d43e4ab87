"""Registries that are not for everybody: passwords, TLS with a private authority, mirrors, `login`, `search`."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.faults.hostile_registry import Answer, HostileRegistry
from tests.support.engine import Client, Engine
from tests.support.http import Response
from tests.support.registry import Certificates, Registry, needs_registry
from tests.support.small_images import Made, tar

pytestmark = needs_registry
MADE = Made(tar({"etc/private": b"private" * 1000}))


def header(**members: str) -> dict[str, str]:
    """Credentials as clients send them."""
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(members).encode()).decode()}


def create(engine: Engine, name: str, **members: str) -> Response:
    """Pull by the API, with credentials."""
    return engine.api("POST", f"/images/create?fromImage={name}&tag=1", headers=header(**members))


def test_passwords(engine: Engine) -> None:
    with Registry(users={"ada": "secret"}) as registry:
        name = f"{registry.address}/private/app"
        engine.docker("run", "--rm", "builtin/busybox", "true").ok()
        engine.docker("tag", "builtin/busybox", f"{name}:1").ok()
        for words, text in (
            ((), "no basic auth credentials"),
            (("ada", "wrong"), "failed with status: 401 Unauthorized"),
        ):
            if words:
                done = engine.docker("login", "-u", words[0], "--password-stdin", registry.address, input=words[1])
                assert done.status == 1
                assert any(one in done.err for one in text.split("|")), done.err
            else:
                done = engine.docker("push", f"{name}:1")
                assert done.status == 1
                assert text in done.err
        login = engine.docker("login", "-u", "ada", "--password-stdin", registry.address, input="secret").ok()
        assert "Login Succeeded" in login.out
        engine.docker("push", f"{name}:1").ok()
        engine.docker("rmi", f"{name}:1").ok()
        engine.docker("pull", f"{name}:1").ok()
        engine.docker("rmi", f"{name}:1").ok()
        engine.docker("logout", registry.address).ok()
        done = engine.docker("pull", f"{name}:1")
        assert done.status == 1
        assert "no basic auth credentials" in done.err
        answer = create(engine, name, username="ada", password="wrong")
        assert answer.status == 500
        assert "unauthorized: authentication required" in answer.message


def test_tokens(engine: Engine) -> None:
    """A server for tokens of its own: user and password, an identity token, a registry token."""
    with HostileRegistry(MADE) as registry:

        def asks(handler: object) -> Answer:
            sent = handler.headers.get("Authorization", "")  # type: ignore[attr-defined]
            if sent == "Bearer good":
                return registry.right(handler.kind(), handler.path)  # type: ignore[attr-defined]
            realm = f'Bearer realm="{registry.url}/token",service="tests"'
            return Answer(401, b"{}", {"WWW-Authenticate": realm})

        for kind in ("ping", "manifest", "config", "layer"):
            registry.replace(kind, asks)
        name = f"{registry.address}/private/token"
        assert create(engine, name, username="ada", password="secret").status == 200
        _, path, headers = next(one for one in registry.requests if one[1].startswith("/token"))
        assert headers["Authorization"] == f"Basic {base64.b64encode(b'ada:secret').decode()}"
        assert "scope=repository%3Aprivate%2Ftoken%3Apull" in path
        assert "service=tests" in path
        engine.docker("rmi", f"{name}:1").ok()
        registry.requests.clear()
        assert create(engine, name, identitytoken="refresh").status == 200
        assert next(one[0] for one in registry.requests if one[1].startswith("/token")) == "POST"
        engine.docker("rmi", f"{name}:1").ok()
        registry.requests.clear()
        assert create(engine, name, registrytoken="good").status == 200
        assert not any(one[1].startswith("/token") for one in registry.requests)
        engine.docker("rmi", f"{name}:1").ok()
        registry.replace("token", Answer(body=b'{"token": "good", "refresh_token": "again"}'))
        body = {"username": "ada", "password": "secret", "serveraddress": registry.address}
        assert engine.api("POST", "/auth", body).json() == {"Status": "Login Succeeded", "IdentityToken": "again"}


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates.make(tmp_path)


def test_tls_with_a_private_authority(
    new_engine: Callable[..., Engine], certificates: Certificates, tmp_path: Path
) -> None:
    """127.0.0.1 goes without trust; a name does not, unless its authority is in certs.d."""
    trusted = tmp_path / "certs.d"
    trusted.mkdir()
    engine = new_engine("--registry-certs", str(trusted))
    with Registry(certificates=certificates) as registry:
        name = f"{registry.address}/tls/app"
        engine.docker("run", "--rm", "builtin/busybox", "true").ok()
        engine.docker("tag", "builtin/busybox", f"{name}:1").ok()
        engine.docker("push", f"{name}:1").ok()
        assert registry.tags("tls/app") == ["1"]
        assert registry.requests()[0].startswith("GET /v2/")


def test_mirror_first_then_the_next(new_engine: Callable[..., Engine]) -> None:
    with Registry() as first, Registry() as second:
        engine = new_engine("--registry-mirror", first.url, "--registry-mirror", second.url)
        MADE.push(first.address, "library/both", "1")
        MADE.push(second.address, "library/both", "1")
        MADE.push(second.address, "library/second", "1")
        engine.docker("pull", "both:1").ok()
        assert not [one for one in second.requests() if "GET" in one and "/library/both" in one]
        done = engine.docker("pull", "second:1").ok()
        assert "Status: Downloaded newer image for second:1" in done.out
        assert done.out.splitlines()[-1] == "docker.io/library/second:1"
        listed = engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}").ok().out.split()
        # One image, two names.
        assert sorted(listed) == ["both:1", "second:1"]
        done = engine.docker("pull", "neither:1")
        assert done.status == 1
        assert "manifest for neither:1 not found: manifest unknown: manifest unknown" in done.err
        first.stop()
        engine.docker("rmi", "second:1").ok()
        engine.docker("pull", "second:1").ok()
        mirrors = json.loads(engine.docker("info", "--format", "{{json .RegistryConfig.Mirrors}}").ok().out)
        assert mirrors == [f"{first.url}/", f"{second.url}/"]


def test_a_mirror_is_not_shown_what_is_hubs(new_engine: Callable[..., Engine]) -> None:
    with HostileRegistry(MADE) as mirror:
        engine = new_engine("--registry-mirror", mirror.url)
        assert create(engine, "library/app", username="ada", password="secret").status == 200
        assert all("Authorization" not in headers for _, _, headers in mirror.requests)


def test_a_mirror_has_credentials_of_its_own(new_engine: Callable[..., Engine]) -> None:
    with Registry(users={"eve": "mirror"}) as mirror:
        with Registry(mirror.storage) as plain:
            MADE.push(plain.address, "library/app", "1")
        engine = new_engine("--registry-mirror", mirror.url)
        given = {mirror.url: {"username": "eve", "password": "mirror"}}
        headers = {"X-Registry-Config": base64.urlsafe_b64encode(json.dumps(given).encode()).decode()}
        answer = engine.api("POST", "/images/create?fromImage=app&tag=1", headers=headers)
        assert answer.status == 200, answer
        assert engine.docker("images", "-q", "app:1").ok().out


def test_search_of_a_catalog(engine: Engine, cli: Client) -> None:
    """A registry without a search is looked through; what is found can be pulled under its name."""
    with Registry() as registry:
        for name in ("team/redis", "team/other", "library/redis", "redis"):
            MADE.push(registry.address, name, "1")
        found = engine.api("GET", f"/images/search?term={registry.address}/redis").json()
        names = [f"{registry.address}/{name}" for name in ("redis", "library/redis", "team/redis")]
        assert [one["name"] for one in found] == names
        assert set(found[0]) == {"name", "description", "star_count", "is_official", "is_automated"}
        for name in names:
            cli("pull", "-q", f"{name}:1").ok()
            cli("rmi", f"{name}:1").ok()
        done = cli("search", f"{registry.address}/redis", "--limit", "1").ok()
        assert [line.split() for line in done.out.splitlines()] == [
            ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"],
            [names[0], *"(the catalog tells names only) 0".split()],
        ]
        assert cli("search", f"{registry.address}/none").ok().out.split() == "NAME DESCRIPTION STARS OFFICIAL".split()


def test_search_of_a_mirrors_catalog(new_engine: Callable[..., Engine]) -> None:
    """In Hub's place, its official images have their short names."""
    with Registry() as mirror, HostileRegistry(MADE) as nobody:
        for name in ("library/redis", "team/redis"):
            MADE.push(mirror.address, name, "1")
        # Hub itself is out of reach: the proxy that leads to it is no proxy.
        engine = new_engine("--registry-mirror", mirror.url, "--https-proxy", nobody.url)
        found = engine.api("GET", "/images/search?term=redis").json()
        assert [(one["name"], one["is_official"]) for one in found] == [("redis", True), ("team/redis", False)]


def test_search_of_version_1(cli: Client) -> None:
    """Registries with Hub's search: the table with stars, what is official, and descriptions cut to 45 characters."""
    description = "An open source server of data structures that lies in memory"
    results = [
        {"name": "redis", "description": description, "star_count": 12, "is_official": True, "is_automated": False},
        {"name": "team/redis", "description": None, "star_count": 3, "is_official": False},
    ]
    with HostileRegistry(MADE) as registry:
        registry.replace("elsewhere", Answer(body=json.dumps({"num_results": 2, "results": results}).encode()))
        name = f"{registry.address}/redis"
        header, first, second = cli("search", name).ok().out.splitlines()
        assert first.split() == [name, *f"{description[:44]}…".split(), "12", "[OK]"]
        assert second.split() == [f"{registry.address}/team/redis", "3"]
        assert header.index("STARS") == first.rindex(" 12 ") + 1
        assert description in cli("search", "--no-trunc", name).ok().out
        shown = ("--format", "{{.Name}} {{.StarCount}} {{.IsOfficial}}")
        assert cli("search", *shown, "--filter", "stars=5", name).ok().out == f"{name} 12 [OK]\n"
        assert cli("search", *shown, "--filter", "is-official=false", name).ok().out.split()[1:] == ["3"]
        asked = [path for _, path, _ in registry.requests if path.startswith("/v1/search")]
        assert asked[0] == "/v1/search?q=redis&n=25"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--limit", "101", "x"], "limit 101 is outside the range of [1, 100]"),
        (["--filter", "nope=1", "x"], "invalid filter 'nope'"),
        (["http://a/b"], 'invalid repository name (ex: "registry.domain.tld/myrepos"): http://a/b'),
        (["127.0.0.1:9/x"], "dial tcp: connect: connection refused"),
    ],
)
def test_searches_that_fail(cli: Client, arguments: list[str], text: str) -> None:
    done = cli("search", *arguments)
    assert done.status == 1
    assert done.err.startswith("Error response from daemon: ")
    assert text in done.err


def test_looking_without_pulling(engine: Engine) -> None:
    with Registry() as registry:
        pushed = MADE.push(registry.address, "team/look", "1")
        answer = engine.api("GET", f"/distribution/{registry.address}/team/look:1/json").json()
        assert answer["Descriptor"] == {
            "mediaType": pushed.media_type,
            "digest": pushed.digest,
            "size": len(pushed.content),
        }
        assert answer["Platforms"] == [{"architecture": MADE.architecture, "os": "linux"}]
        missing = engine.api("GET", f"/distribution/{registry.address}/team/look:2/json")
        assert missing.status == 404


def test_import_from_a_url(engine: Engine, cli: Client) -> None:
    archive = tar({"bin/something": b"#!"})
    with HostileRegistry(MADE) as server:
        server.replace("elsewhere", Answer(body=archive))
        done = cli("import", f"{server.url}/root.tar", "test/from-url:1").ok()
        assert done.out.strip().splitlines()[-1].startswith("sha256:")
        inspected = json.loads(cli("image", "inspect", "test/from-url:1").ok().out)[0]
        assert inspected["Comment"] == f"Imported from {server.url}/root.tar"
        cli("rmi", "test/from-url:1").ok()
        server.replace("elsewhere", Answer(404))
        done = cli("import", f"{server.url}/root.tar")
        assert done.status == 1
        assert "404" in done.err
