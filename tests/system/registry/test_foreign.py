"""Layers that are elsewhere than in the registry, and manifests that refer to others."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest
from tests.faults.hostile_registry import Answer, Handler, HostileRegistry
from tests.support.engine import Engine
from tests.support.registry import Registry, needs_registry
from tests.support.small_images import Made, document, repository, tar

from darse.distribution import Document, Uploads
from darse.distribution.referrers import fallback_tag, referrers
from darse.image_spec.media_types import DOCKER_LAYER, OCI_CONFIG, OCI_MANIFEST

pytestmark = needs_registry
FOREIGN = DOCKER_LAYER.replace(".diff", ".foreign.diff") + ".gzip"


def image_with_a_layer_at(*urls: str) -> Made:
    """An image of two layers; the lower one is foreign."""
    made = Made(tar({"etc/foreign": b"f" * 5000}), tar({"etc/own": b"o" * 5000}), docker=True)
    layers = made.manifest["layers"]
    layers[0] |= {"mediaType": FOREIGN, "urls": list(urls)}
    return made


class Elsewhere:
    """A registry that has not got the foreign layer, and the server that has."""

    def __init__(self, registry: HostileRegistry, server: HostileRegistry, made: Made) -> None:
        self.registry, self.server, self.made = registry, server, made
        self.name = f"{registry.address}/windows/app:1"


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    with HostileRegistry(Made(tar({}))) as server:
        made = image_with_a_layer_at("https://127.0.0.1:9/nobody", f"{server.url}/layers/foreign")
        server.replace("elsewhere", Answer(body=made.blobs[made.layers[0]]))
        with HostileRegistry(made) as registry:

            def answer(handler: Handler) -> Answer:
                digest = handler.path.rpartition("/")[2]
                if "Authorization" not in handler.headers:
                    return Answer(401, b"", {"WWW-Authenticate": 'Basic realm="tests"'})
                return Answer(404) if digest == made.layers[0] else Answer(body=made.blobs[digest])

            registry.replace("layer", answer)
            yield Elsewhere(registry, server, made)


def pull(engine: Engine, name: str) -> dict[str, object]:
    """The last message of a pull by somebody who has a password for the registry."""
    secret = json.dumps({"username": "ada", "password": "secret"}).encode()
    headers = {"X-Registry-Auth": base64.urlsafe_b64encode(secret).decode()}
    path = f"/images/create?fromImage={name.rpartition(':')[0]}&tag=1"
    answer = engine.api("POST", path, headers=headers)
    last: dict[str, object] = json.loads(answer.body.splitlines()[-1])
    return last


def test_a_foreign_layer_is_fetched_from_its_url(engine: Engine, elsewhere: Elsewhere) -> None:
    """The registry is asked first, then one URL after the other, and none is shown what is the registry's."""
    assert "Downloaded newer image" in str(pull(engine, elsewhere.name)["status"])
    asked = [headers for _, path, headers in elsewhere.server.requests if path == "/layers/foreign"]
    assert len(asked) == 1
    assert "Authorization" not in asked[0]
    layers = json.loads(engine.docker("image", "inspect", "-f", "{{json .RootFS.Layers}}", elsewhere.name).ok().out)
    assert layers == elsewhere.made.diff_ids
    engine.docker("rmi", elsewhere.name).ok()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (Answer(404), "404"),
        (Answer(body=b"something else"), "was said to have"),
        (Answer(307, headers={"Location": "file:///etc/passwd"}), "no URL of http"),
    ],
)
def test_a_url_that_has_not_got_it_fails_the_pull(
    engine: Engine, elsewhere: Elsewhere, content: Answer, text: str
) -> None:
    elsewhere.server.replace("elsewhere", content)
    assert text in str(pull(engine, elsewhere.name)["error"])
    assert engine.docker("images", "-q", elsewhere.name).ok().out == ""


def test_urls_of_other_kinds_are_refused(engine: Engine) -> None:
    made = image_with_a_layer_at("file:///etc/passwd")
    with HostileRegistry(made) as registry:
        # The other layer is there: it may be asked for first.
        registry.replace("layer", lambda asked: Answer(404) if asked.path.endswith(made.layers[0]) else None)
        last = pull(engine, f"{registry.address}/windows/app:1")
    assert "refers to 'file:///etc/passwd', which is no URL of http or https" in str(last["error"])


def test_a_foreign_layer_is_not_pushed(engine: Engine, elsewhere: Elsewhere) -> None:
    """Its URLs go with the manifest, which keeps its digest; the other layer is sent."""
    pull(engine, elsewhere.name)
    with Registry(foreign_layers=True) as registry:
        name = f"{registry.address}/copy/app:1"
        engine.docker("tag", elsewhere.name, name).ok()
        done = engine.docker("push", name).ok()
        assert done.out.count("Skipped foreign layer") == 1
        assert done.out.count("Pushed") == 1
        there = registry.get("copy/app/manifests/1")
        assert there["layers"][0] == elsewhere.made.manifest["layers"][0]
        engine.docker("rmi", name, elsewhere.name).ok()


def signature(subject: Document, kind: str) -> Document:
    """A manifest that refers to another, as those who sign images make them."""
    config = document({}, "application/vnd.oci.empty.v1+json")
    return document(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": kind,
            "config": {"mediaType": config.media_type, "digest": config.digest, "size": len(config.content)},
            "layers": [],
            "subject": {"mediaType": OCI_MANIFEST, "digest": subject.digest, "size": len(subject.content)},
            "annotations": {"by": kind},
        },
        OCI_MANIFEST,
    )


def test_referrers_are_kept_in_an_index_where_the_registry_knows_none() -> None:
    """Debian's docker-registry has no list of referrers: clients keep it under a tag of the subject's digest."""
    with Registry() as registry:
        image = Made(tar({"etc/signed": b"1"})).push(registry.address, "team/app", "1")
        target = repository(registry.address, "team/app")
        Uploads(target).put(b"{}", document({}, "").digest)
        assert referrers(target, image.digest) == []
        made = [signature(image, kind) for kind in ("application/x.signature", "application/x.attestation")]
        for one in (*made, made[0]):
            Uploads(target).put_manifest(one.digest, one)
        found = referrers(target, image.digest)
        assert [one.digest for one in found] == [one.digest for one in made]
        assert [(one.artifact_type, one.annotations) for one in found] == [
            (kind, {"by": kind}) for kind in ("application/x.signature", "application/x.attestation")
        ]
        assert [one.digest for one in referrers(target, image.digest, "application/x.signature")] == [made[0].digest]
        assert registry.tags("team/app") == sorted(["1", fallback_tag(image.digest)])


def test_a_registry_that_lists_referrers_is_left_to_it() -> None:
    """It says OCI-Subject when it has taken account; then the client keeps no index."""
    image = Made(tar({"etc/signed": b"2"}))
    with HostileRegistry(image) as registry:
        one = signature(image.document, "application/x.signature")
        registry.replace("child", Answer(201, headers={"OCI-Subject": image.document.digest}))
        target = repository(registry.address, "team/app")
        Uploads(target).put_manifest(one.digest, one)
        assert [f"{method} {path}" for method, path, _ in registry.requests] == [
            f"PUT /v2/team/app/manifests/{one.digest}"
        ]
        listed = {"schemaVersion": 2, "manifests": [{"mediaType": OCI_MANIFEST, "digest": one.digest, "size": 1}]}
        registry.replace("elsewhere", Answer(body=json.dumps(listed).encode()))
        assert [found.digest for found in referrers(target, image.document.digest)] == [one.digest]


def test_an_image_with_a_subject_is_pushed_as_one_that_refers(engine: Engine) -> None:
    """By the engine, too: what is pulled with a subject is found by it where it was pushed to."""
    with Registry() as here, Registry() as there:
        subject = Made(tar({"etc/subject": b"3"})).push(here.address, "team/app", "subject")
        image = Made(tar({"etc/refers": b"3"}))
        image.manifest["subject"] = {
            "mediaType": OCI_MANIFEST,
            "digest": subject.digest,
            "size": len(subject.content),
        }
        image.push(here.address, "team/app", "1")
        name, copy = f"{here.address}/team/app:1", f"{there.address}/copy/app:1"
        engine.docker("pull", "-q", name).ok()
        engine.docker("tag", name, copy).ok()
        engine.docker("push", "-q", copy).ok()
        (found,) = referrers(repository(there.address, "copy/app"), subject.digest)
        assert found.artifact_type == OCI_CONFIG
        engine.docker("rmi", name, copy).ok()
