"""The ways to a registry: proxies, names that are not loopback, private authorities, clients' certificates."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.engine import Engine
from tests.support.proxy import Proxy
from tests.support.registry import Certificates, Registry, needs_registry
from tests.support.small_images import Made, tar

pytestmark = needs_registry
MADE = Made(tar({"etc/way": b"way" * 1000}))
NAME = "registry.example"
NewEngine = Callable[..., Engine]


@pytest.fixture
def registry() -> Iterator[Registry]:
    """A registry without TLS, with an image."""
    with Registry() as started:
        MADE.push(started.address, "team/app", "1")
        yield started


@pytest.mark.parametrize("given", ["environment", "options", "daemon.json"])
def test_a_proxy_knows_the_way(new_engine: NewEngine, registry: Registry, tmp_path: Path, given: str) -> None:
    """The registry's name is known to the proxy alone; it is asked for TLS, and then without."""
    with Proxy({NAME: registry.address}) as proxy:
        flags, environment = [f"--insecure-registry={NAME}"], {}
        if given == "environment":
            environment = {"HTTP_PROXY": proxy.url, "HTTPS_PROXY": proxy.url}
        elif given == "options":
            flags += [f"--http-proxy={proxy.url}", f"--https-proxy={proxy.url}"]
        else:
            file = tmp_path / "daemon.json"
            file.write_text(json.dumps({"proxies": {"http-proxy": proxy.url, "https-proxy": proxy.url}}))
            flags.append(f"--config-file={file}")
        engine = new_engine(*flags, environment=environment)
        engine.docker("pull", f"{NAME}/team/app:1").ok()
        assert proxy.requests[0] == f"CONNECT {NAME}:443"
        assert f"GET http://{NAME}/v2/team/app/manifests/1" in proxy.requests
        # What is pushed goes the same way.
        engine.docker("tag", f"{NAME}/team/app:1", f"{NAME}/other/app:2").ok()
        engine.docker("push", f"{NAME}/other/app:2").ok()
        assert registry.tags("other/app") == ["2"]
        shown = json.loads(engine.docker("info", "--format", "{{json .HTTPProxy}}").ok().out)
        assert shown == proxy.url


def test_a_proxy_with_a_password(new_engine: NewEngine, registry: Registry) -> None:
    with Proxy({NAME: registry.address}, user="ada", password="p@ss") as proxy:
        right = proxy.url.replace("p@ss", "p%40ss")
        engine = new_engine(f"--insecure-registry={NAME}", f"--http-proxy={right}", f"--https-proxy={right}")
        engine.docker("pull", f"{NAME}/team/app:1").ok()
        # The password is nobody's to read who asks for the configuration.
        assert "p%40ss" not in engine.docker("info").ok().out
        wrong = right.replace("ada", "eve")
        other = new_engine(f"--insecure-registry={NAME}", f"--http-proxy={wrong}", f"--https-proxy={wrong}")
        done = other.docker("pull", f"{NAME}/team/app:1")
        assert done.status == 1
        assert "407" in done.err


def test_what_needs_no_proxy_goes_without(new_engine: NewEngine, registry: Registry) -> None:
    """Loopback never goes through it, nor what is told to be left out: here, a name that nobody else knows."""
    with Proxy({NAME: registry.address}) as proxy:
        environment = {"HTTP_PROXY": proxy.url, "HTTPS_PROXY": proxy.url, "NO_PROXY": f".corp,{NAME}"}
        engine = new_engine(f"--insecure-registry={NAME}", environment=environment)
        engine.docker("pull", f"{registry.address}/team/app:1").ok()
        done = engine.docker("pull", f"{NAME}/team/app:1")
        assert done.status == 1
        assert "no such host" in done.err
        assert done.err.rstrip().endswith("builtin/busybox needs no registry")
        assert proxy.requests == []


def test_tls_through_a_proxy(new_engine: NewEngine, tmp_path: Path) -> None:
    """The proxy sees a name and a port; the certificate is the registry's."""
    certificates = Certificates.make(tmp_path, NAME)
    trusted = tmp_path / "certs.d" / NAME
    trusted.mkdir(parents=True)
    with Registry(certificates=certificates) as registry, Proxy({NAME: registry.address}) as proxy:
        engine = new_engine(f"--registry-certs={trusted.parent}", f"--https-proxy={proxy.url}")
        engine.docker("run", "--rm", "builtin/busybox", "true").ok()
        engine.docker("tag", "builtin/busybox", f"{NAME}/team/app:1").ok()
        done = engine.docker("push", f"{NAME}/team/app:1")
        assert done.status == 1
        assert "x509: certificate signed by unknown authority" in done.err
        shutil.copy(certificates.authority, trusted / "ca.crt")
        engine.docker("push", f"{NAME}/team/app:1").ok()
        assert registry.tags("team/app") == ["1"]
        assert set(proxy.requests) == {f"CONNECT {NAME}:443"}


class Island:
    """A network and a mount namespace: an address that is not loopback, and an /etc/hosts that has a name for it."""

    ADDRESS = "192.0.2.10"  # TEST-NET-1: nobody's

    def __init__(self, hosts: Path) -> None:
        hosts.write_text(f"127.0.0.1 localhost\n{self.ADDRESS} {NAME}\n")
        script = (
            f"ip link set lo up && ip address add {self.ADDRESS}/32 dev lo && "
            f"mount --bind {hosts} /etc/hosts && echo there && exec cat"
        )
        self._process = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"there\n"
        spaces = f"/proc/{self._process.pid}/ns"
        self.command = ("nsenter", f"--net={spaces}/net", f"--mount={spaces}/mnt")

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture
def island(tmp_path: Path) -> Iterator[Island]:
    made = Island(tmp_path / "hosts")
    yield made
    made.close()


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates.make(tmp_path, NAME, Island.ADDRESS)


def test_a_private_authority_by_name(
    island: Island, new_engine: NewEngine, certificates: Certificates, tmp_path: Path
) -> None:
    """A name that leads to no loopback address is not trusted, until its authority is in certs.d."""
    with Registry(certificates=certificates, host=Island.ADDRESS, namespace=island.command) as registry:
        port = registry.address.rpartition(":")[2]
        name = f"{NAME}:{port}/team/app:1"
        (tmp_path / "certs.d").mkdir()
        engine = new_engine(f"--registry-certs={tmp_path / 'certs.d'}", within=island.command)
        engine.docker("create", "builtin/busybox").ok()
        engine.docker("tag", "builtin/busybox", name).ok()
        done = engine.docker("push", name)
        assert done.status == 1
        assert "tls: failed to verify certificate: x509: certificate signed by unknown authority" in done.err
        # For another port of the same host it is not trusted either.
        for directory in ("1", port):
            trusted = tmp_path / "certs.d" / f"{NAME}:{directory}"
            trusted.mkdir()
            shutil.copy(certificates.authority, trusted / "ca.crt")
            assert engine.docker("push", name).status == (0 if directory == port else 1)
        engine.docker("rmi", name).ok()
        engine.docker("pull", name).ok()


def test_a_certificate_for_another_name_is_refused(island: Island, new_engine: NewEngine, tmp_path: Path) -> None:
    certificates = Certificates.make(tmp_path, "other.example")
    with Registry(certificates=certificates, host=Island.ADDRESS, namespace=island.command) as registry:
        authority = f"{NAME}:{registry.address.rpartition(':')[2]}"
        trusted = tmp_path / "certs.d" / authority
        trusted.mkdir(parents=True)
        shutil.copy(certificates.authority, trusted / "ca.crt")
        engine = new_engine(f"--registry-certs={trusted.parent}", within=island.command)
        done = engine.docker("pull", f"{authority}/team/app:1")
        assert done.status == 1
        assert "x509: " in done.err
        assert NAME in done.err


def test_a_registry_that_wants_a_clients_certificate(
    island: Island, new_engine: NewEngine, certificates: Certificates, tmp_path: Path
) -> None:
    with Registry(
        certificates=certificates, host=Island.ADDRESS, namespace=island.command, asks_clients=True
    ) as registry:
        authority = f"{NAME}:{registry.address.rpartition(':')[2]}"
        trusted = tmp_path / "certs.d" / authority
        trusted.mkdir(parents=True)
        shutil.copy(certificates.authority, trusted / "ca.crt")
        engine = new_engine(f"--registry-certs={trusted.parent}", within=island.command)
        engine.docker("create", "builtin/busybox").ok()
        engine.docker("tag", "builtin/busybox", f"{authority}/team/app:1").ok()
        done = engine.docker("push", f"{authority}/team/app:1")
        assert done.status == 1
        assert "remote error: tls: " in done.err
        certificate, key = certificates.client("ada")
        shutil.copy(certificate, trusted / "ada.cert")
        done = engine.docker("push", f"{authority}/team/app:1")
        assert done.status == 1
        assert "missing key ada.key for client certificate ada.cert" in done.err
        shutil.copy(key, trusted / "ada.key")
        engine.docker("push", f"{authority}/team/app:1").ok()
        engine.docker("rmi", f"{authority}/team/app:1").ok()
        engine.docker("pull", f"{authority}/team/app:1").ok()
