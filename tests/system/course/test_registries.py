"""A Docker course's chapters on images, registries of one's own: push, login, search, TLS, mirrors.

The registries are Debian's docker-registry, started by each test; the commands are `docker` and `darse`.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.engine import Client, Engine, docker_program
from tests.support.hub import Hub
from tests.support.registry import Certificates, Registry
from tests.system.course.support import images, inspect

HUB = "docker.io/library"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
pytestmark = pytest.mark.usefixtures("no_images")


@pytest.fixture
def registry() -> Iterator[Registry]:
    """A registry for everybody."""
    with Registry() as started:
        yield started


@pytest.fixture
def private() -> Iterator[Registry]:
    """A registry that asks who one is."""
    if shutil.which("htpasswd") is None:
        pytest.skip("htpasswd is not installed (Debian package apache2-utils)")
    with Registry(users={"training": "s3cret"}) as started:
        yield started


def test_push_and_pull_from_a_registry_of_ones_own(hub_cli: Client, registry: Registry) -> None:
    hub_cli("pull", "-q", "nginx").ok()
    mine = f"{registry.address}/training/web"
    hub_cli("tag", "nginx", f"{mine}:v1").ok()
    said = hub_cli("push", f"{mine}:v1").ok().out
    assert f"The push refers to repository [{mine}]" in said
    layers = len(inspect(hub_cli, "nginx")["RootFS"]["Layers"])
    assert len(re.findall(r"^[0-9a-f]{12}: Pushed$", said, re.MULTILINE)) == layers
    assert re.search(rf"^v1: digest: {DIGEST.pattern} size: \d+$", said, re.MULTILINE)
    assert registry.tags("training/web") == ["v1"]
    hub_cli("tag", "nginx", f"{mine}:v2").ok()
    assert hub_cli("push", f"{mine}:v2").ok().out.count(": Layer already exists") == layers
    identity = inspect(hub_cli, "nginx")["Id"]
    hub_cli("rmi", f"{mine}:v1", f"{mine}:v2", "nginx").ok()
    hub_cli("pull", f"{mine}:v1").ok()
    assert inspect(hub_cli, f"{mine}:v1")["Id"] == identity
    page = hub_cli("run", "--rm", f"{mine}:v1", "cat", "/usr/share/nginx/html/index.html").ok().out
    assert "Welcome to nginx!" in page


def test_push_takes_layers_from_another_repository(hub_cli: Client, registry: Registry) -> None:
    hub_cli("pull", "-q", "hello-world").ok()
    for name in ("first", "second"):
        hub_cli("tag", "hello-world", f"{registry.address}/{name}/hello").ok()
    hub_cli("push", f"{registry.address}/first/hello").ok()
    said = hub_cli("push", f"{registry.address}/second/hello").ok().out
    assert ": Mounted from first/hello" in said
    assert ": Pushed" not in said


def test_push_all_tags(hub_cli: Client, registry: Registry) -> None:
    hub_cli("pull", "-q", "hello-world").ok()
    for tag in ("a", "b", "c"):
        hub_cli("tag", "hello-world", f"{registry.address}/all/hello:{tag}").ok()
    hub_cli("push", "-a", f"{registry.address}/all/hello").ok()
    assert registry.tags("all/hello") == ["a", "b", "c"]
    hub_cli("rmi", *(f"{registry.address}/all/hello:{tag}" for tag in "abc")).ok()
    hub_cli("pull", "-a", f"{registry.address}/all/hello").ok()
    assert len(images(hub_cli, f"{registry.address}/all/hello")) == 3


def test_skopeo_reads_what_was_pushed(hub_cli: Client, registry: Registry, tmp_path: Path) -> None:
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed (Debian package)")
    hub_cli("pull", "-q", "nginx:alpine").ok()
    hub_cli("tag", "nginx:alpine", f"{registry.address}/skopeo/web").ok()
    hub_cli("push", f"{registry.address}/skopeo/web").ok()
    source = f"docker://{registry.address}/skopeo/web"
    # skopeo verifies every digest that it copies.
    copied = ["skopeo", "copy", "-q", "--src-tls-verify=false", source, f"oci:{tmp_path}/copy:web"]
    subprocess.run(copied, check=True, timeout=60)
    seen = subprocess.check_output(["skopeo", "inspect", "--config", f"oci:{tmp_path}/copy:web"])
    assert json.loads(seen)["rootfs"]["diff_ids"] == inspect(hub_cli, "nginx:alpine")["RootFS"]["Layers"]


def test_login_push_pull_logout(hub_cli: Client, private: Registry) -> None:
    hub_cli("pull", "-q", "hello-world").ok()
    mine = f"{private.address}/private/hello"
    hub_cli("tag", "hello-world", mine).ok()
    refused = hub_cli("push", mine)
    assert refused.status == 1
    assert "no basic auth credentials" in refused.err
    said = hub_cli("login", "-u", "training", "--password-stdin", private.address, input="s3cret").ok()
    assert "Login Succeeded" in said.out
    hub_cli("push", mine).ok()
    assert private.tags("private/hello") == ["latest"]
    hub_cli("rmi", mine).ok()
    hub_cli("pull", mine).ok()
    hub_cli("rmi", mine).ok()
    assert hub_cli("logout", private.address).ok().line == f"Removing login credentials for {private.address}"
    assert hub_cli("pull", mine).status == 1


def test_login_with_a_wrong_password(hub_cli: Client, private: Registry) -> None:
    done = hub_cli("login", "-u", "training", "--password-stdin", private.address, input="guess")
    assert done.status == 1
    assert "unauthorized" in done.err.lower()
    assert "Login Succeeded" not in done.out
    assert hub_cli("pull", f"{private.address}/private/hello").status == 1


def test_search(hub_cli: Client, registry: Registry) -> None:
    hub_cli("pull", "-q", "hello-world").ok()
    for name in ("redis", "tools/redis-exporter", "postgres"):
        hub_cli("tag", "hello-world", f"{registry.address}/{name}").ok()
        hub_cli("push", "-q", f"{registry.address}/{name}").ok()
    header, *rows = hub_cli("search", f"{registry.address}/redis").ok().out.splitlines()
    assert header.split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]
    found = {row.split()[0].removeprefix(f"{registry.address}/") for row in rows}
    assert found == {"redis", "tools/redis-exporter"}


def test_manifest_inspect(hub_cli: Client, registry: Registry) -> None:
    hub_cli("pull", "-q", "hello-world").ok()
    mine = f"{registry.address}/manifest/hello"
    hub_cli("tag", "hello-world", mine).ok()
    hub_cli("push", mine).ok()
    seen = json.loads(hub_cli("manifest", "inspect", "--insecure", mine).ok().out)
    assert seen["schemaVersion"] == 2


class OwnEngine:
    """Starts engines with flags of a test's own, and gives one of the two commands for each."""

    def __init__(self, name: str, start: Callable[..., Engine]) -> None:
        self._name, self._start = name, start

    def __call__(self, *flags: str) -> Client:
        engine = self._start(*flags)
        return engine.docker if self._name == "docker" else engine.darse


@pytest.fixture(params=["docker", "darse"])
def own_engine(request: pytest.FixtureRequest, new_engine: Callable[..., Engine]) -> OwnEngine:
    if request.param == "docker" and docker_program() is None:
        pytest.skip("docker's client is not installed")
    return OwnEngine(request.param, new_engine)


def test_the_next_mirror_is_asked_when_one_fails(own_engine: OwnEngine, hub: Hub, registry: Registry) -> None:
    """One mirror is away, one has nothing, the third has the image."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        mirrors = [f"--registry-mirror={url}" for url in (away, registry.url, hub.registry.url)]
        cli = own_engine(*mirrors)
        assert "Status: Downloaded newer image for hello-world:latest" in cli("pull", "hello-world").ok().out
    assert any("/v2/library/hello-world/manifests/latest" in request for request in registry.requests())


def test_a_private_authority(own_engine: OwnEngine, hub: Hub, tmp_path: Path) -> None:
    """A registry with TLS away from loopback: refused, until its authority is in certs.d."""
    address = own_address()
    certificates = Certificates.make(tmp_path, address)
    trusted = tmp_path / "certs.d"
    trusted.mkdir()
    with Registry(certificates=certificates, host=address) as registry:
        cli = own_engine("--registry-certs", str(trusted), "--registry-mirror", hub.registry.url)
        cli("pull", "-q", "hello-world").ok()
        mine = f"{registry.address}/secure/hello"
        cli("tag", "hello-world", mine).ok()
        refused = cli("push", mine)
        assert refused.status == 1
        assert "certificate" in refused.err
        (trusted / registry.address).mkdir()
        shutil.copy(certificates.authority, trusted / registry.address / "ca.crt")
        cli("push", mine).ok()
        assert registry.tags("secure/hello") == ["latest"]
        cli("rmi", mine, "hello-world").ok()
        cli("pull", mine).ok()
        cli("run", "--rm", mine).ok()


def own_address() -> str:
    """An address of this machine that others reach it by; the test is skipped without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
        except OSError:
            pytest.skip("this machine has no address but that of loopback")
        return str(probe.getsockname()[0])
