"""The registry client against Debian's docker-registry: what it writes it reads again, with and without a password."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.registry import Certificates, Registry, needs_registry

from darse.distribution import Credentials, Document, Limits, RegistryClient, RegistrySettings, Repository, Uploads
from darse.distribution.errors import AuthenticationRequired, NotInRegistry, Unreachable
from darse.distribution.repository import begins_at
from darse.image_spec import references
from darse.image_spec.digests import digest_of
from darse.image_spec.media_types import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST

pytestmark = needs_registry


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as started:
        yield started


def repository(client: RegistryClient, registry: Registry, name: str = "team/app") -> Repository:
    """The repository at the endpoint that answers: the last one is plain HTTP."""
    return client.repositories(references.parse(f"{registry.address}/{name}"))[0 if registry.certificates else -1]


def push(target: Repository, layer: bytes, *tags: str) -> Document:
    """Push an image of one layer, in pieces."""
    uploads = Uploads(target)
    config = json.dumps({"architecture": "amd64", "os": "linux"}).encode()
    uploads.put(config, digest_of(config))
    pieces = (layer[start : start + 1000] for start in range(0, len(layer), 1000))
    uploads.stream(pieces, lambda: digest_of(layer))
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": digest_of(config), "size": len(config)},
        "layers": [{"mediaType": OCI_LAYER, "digest": digest_of(layer), "size": len(layer)}],
    }
    content = json.dumps(manifest).encode()
    document = Document(content, OCI_MANIFEST, digest_of(content))
    for tag in tags:
        uploads.put_manifest(tag, document)
    return document


def read(target: Repository, digest: str, offset: int = 0) -> bytes:
    with target.blob(digest, offset) as response:
        assert begins_at(response, offset) == offset
        return b"".join(iter(response.read_some, b""))


def test_what_was_pushed_is_pulled(registry: Registry) -> None:
    target = repository(RegistryClient(RegistrySettings()), registry)
    layer = os.urandom(3_000_000)
    pushed = push(target, layer, "1", "latest")
    assert registry.tags("team/app") == sorted(target.tags()) == ["1", "latest"]
    assert target.manifest("1") == pushed == target.manifest(pushed.digest)
    assert target.head("latest") == pushed.descriptor
    assert target.head("other") is None
    assert read(target, digest_of(layer)) == layer
    assert read(target, digest_of(layer), 2_999_000) == layer[2_999_000:]
    assert target.has_blob(digest_of(layer)).size == len(layer)
    assert target.has_blob(digest_of(b"")) is None
    with pytest.raises(NotInRegistry) as missing:
        target.manifest("other")
    assert missing.value.detail == "manifest unknown: manifest unknown"


def test_a_blob_is_mounted_from_another_repository(registry: Registry) -> None:
    client = RegistryClient(RegistrySettings())
    push(repository(client, registry), b"layer" * 100, "1")
    other = repository(client, registry, "other/app")
    assert Uploads(other).mount(digest_of(b"layer" * 100), "team/app") is True
    assert other.has_blob(digest_of(b"layer" * 100)) is not None
    assert Uploads(other).mount(digest_of(b"nowhere"), "team/app") is False


def test_connections_are_kept(registry: Registry) -> None:
    """Ports of the client's side stand in the registry's log: one is enough for a sequence of requests."""
    target = repository(RegistryClient(RegistrySettings()), registry)
    push(target, b"layer", "1")
    for _ in range(3):
        target.manifest("1")
    ports = {line.partition(" ")[0] for line in registry.log().splitlines() if '"GET /v2/team/app/manifests/1' in line}
    assert len(ports) == 1, ports


def test_passwords() -> None:
    with Registry(users={"ada": "secret"}) as registry:
        settings = RegistrySettings()
        right = RegistryClient(settings, Credentials("ada", "secret"))
        push(repository(right, registry), b"layer", "1")
        assert right.login(registry.address) == ""
        assert right.catalog(registry.address) == ["team/app"]
        with pytest.raises(AuthenticationRequired, match=r"401 Unauthorized|authentication required"):
            RegistryClient(settings, Credentials("ada", "wrong")).login(registry.address)
        with pytest.raises(AuthenticationRequired, match="no basic auth credentials"):
            repository(RegistryClient(settings), registry).manifest("1")


def test_tls_with_a_private_authority(tmp_path: Path) -> None:
    with Registry(certificates=Certificates.make(tmp_path)) as registry:
        trusted = tmp_path / "certs.d" / registry.address
        trusted.mkdir(parents=True)
        (trusted / "ca.crt").write_bytes((tmp_path / "ca.pem").read_bytes())
        client = RegistryClient(RegistrySettings(certificates=(tmp_path / "certs.d",)))
        push(repository(client, registry), b"layer", "1")
        assert registry.tags("team/app") == ["1"]


def test_nobody_listens() -> None:
    client = RegistryClient(RegistrySettings(), limits=Limits(pause=0.001, attempts=2))
    for target in client.repositories(references.parse("127.0.0.1:9/a/b")):
        with pytest.raises(Unreachable, match=r'Get "https?://127.0.0.1:9/v2/a/b/manifests/x": dial tcp: .*refused'):
            target.manifest("x")
