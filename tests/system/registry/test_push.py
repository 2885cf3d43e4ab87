"""Push to Debian's docker-registry: what is said, what the registry has afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.support.engine import BUSYBOX, Client, Engine
from tests.support.registry import Registry, needs_registry
from tests.support.small_images import OTHER, Made, push_index, tar

pytestmark = needs_registry
BASE = tar({"etc/base": b"base" * 1000})


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with Registry() as started:
        yield started


@pytest.fixture
def images(cli: Client) -> Iterator[Client]:
    """The client; images of registries are gone afterwards."""
    cli("run", "--rm", BUSYBOX, "true").ok()
    yield cli
    for name in cli("images", "--format", "{{.Repository}}:{{.Tag}}").ok().out.split():
        if "/" in name and not name.startswith("builtin/"):
            cli("rmi", "-f", name)


def push(engine: Engine, name: str, tag: str) -> list[dict[str, object]]:
    return list(engine.api.stream("POST", f"/images/{name}/push?tag={tag}", timeout=60))


@pytest.fixture
def empty() -> Iterator[Registry]:
    with Registry() as started:
        yield started


def test_a_local_image_is_pushed_and_pulled_again(images: Client, empty: Registry) -> None:
    name = f"{empty.address}/team/app"
    images("tag", BUSYBOX, f"{name}:1").ok()
    done = images("push", f"{name}:1").ok()
    assert done.out.splitlines()[0] == f"The push refers to repository [{name}]"
    assert ": Pushed\n" in done.out
    manifest = empty.get("team/app/manifests/1")
    identity = images("image", "inspect", "--format", "{{.Id}}", BUSYBOX).ok().line
    assert manifest["config"]["digest"] == identity
    digest = done.out.partition("1: digest: ")[2].split()[0]
    assert digest.startswith("sha256:")
    assert f"{name}@{digest}" in images("image", "inspect", "--format", "{{.RepoDigests}}", f"{name}:1").ok().out
    again = images("push", f"{name}:1").ok()
    assert ": Layer already exists\n" in again.out
    assert f"1: digest: {digest} size: " in again.out
    images("rmi", f"{name}:1").ok()
    images("pull", f"{name}:1").ok()
    assert images("run", "--rm", f"{name}:1", "echo", "works").ok().out == "works\n"


def test_messages_are_dockers(engine: Engine, registry: Registry) -> None:
    made = Made(BASE, tar({"etc/messages": b"m" * 300_000}))
    made.push(registry.address, "from/here", "1")
    source, name = f"{registry.address}/from/here:1", f"{registry.address}/to/there"
    engine.docker("pull", source).ok()
    engine.docker("tag", source, f"{name}:1").ok()
    messages = push(engine, name, "1")
    assert messages[0] == {"status": f"The push refers to repository [{name}]"}
    for diff_id in made.diff_ids:
        mine = [one for one in messages if one.get("id") == diff_id[7:19]]
        assert [one["status"] for one in mine] == ["Preparing", "Mounted from from/here"]
    size = len(made.document.content)
    # Mounted archives keep the manifest as it is.
    assert messages[-2:] == [
        {"status": f"1: digest: {made.document.digest} size: {size}"},
        {"progressDetail": {}, "aux": {"Tag": "1", "Digest": made.document.digest, "Size": size}},
    ]
    again = push(engine, name, "1")
    assert [one["status"] for one in again if one.get("id") == made.diff_ids[0][7:19]] == [
        "Preparing",
        "Layer already exists",
    ]
    engine.docker("rmi", source, f"{name}:1").ok()


def test_layers_are_sent_where_nothing_is_known(engine: Engine, registry: Registry) -> None:
    """Another registry: the layers are compressed anew, the same way every time."""
    made = Made(BASE, tar({"etc/sent": b"s" * 3_000_000}))
    made.push(registry.address, "from/here", "2")
    source = f"{registry.address}/from/here:2"
    engine.docker("pull", source).ok()
    with Registry() as other:
        name = f"{other.address}/sent"
        engine.docker("tag", source, f"{name}:1").ok()
        messages = push(engine, name, "1")
        mine = [one for one in messages if one.get("id") == made.diff_ids[1][7:19]]
        assert [one["status"] for one in mine if one["status"] != "Pushing"] == ["Preparing", "Pushed"]
        total = next(one["progressDetail"]["total"] for one in mine if one["status"] == "Pushing")
        assert total == len(tar({"etc/sent": b"s" * 3_000_000}))
        first = other.get("sent/manifests/1")
        assert first["config"]["digest"] == made.id
        engine.docker("rmi", f"{name}:1").ok()
        engine.docker("pull", f"{name}:1").ok()
        inspected = json.loads(engine.docker("image", "inspect", f"{name}:1").ok().out)[0]
        assert inspected["RootFS"]["Layers"] == made.diff_ids
        engine.docker("rmi", source, f"{name}:1").ok()


def test_all_tags(images: Client, registry: Registry) -> None:
    name = f"{registry.address}/all/{images.name}"
    for tag in ("1", "2"):
        images("tag", BUSYBOX, f"{name}:{tag}").ok()
    done = images("push", "-a", name).ok()
    assert "1: digest: sha256:" in done.out
    assert "2: digest: sha256:" in done.out
    assert registry.tags(f"all/{images.name}") == ["1", "2"]


def test_indexes(engine: Engine, registry: Registry) -> None:
    """A whole index goes as it is; of one that is not all here nor there, this machine's manifest goes."""
    here, there = Made(tar({"here": b"push"})), Made(tar({"there": b"push"}), architecture=OTHER)
    index = push_index(registry.address, "from/index", "1", there, here)
    source = f"{registry.address}/from/index:1"
    name = f"{registry.address}/to/index"
    engine.docker("pull", source).ok()
    engine.docker("tag", source, f"{name}:part").ok()
    aux = push(engine, name, "part")[-1]["aux"]
    assert aux["manifestPushedInsteadOfIndex"] is True
    assert aux["originalIndex"]["digest"] == index.digest
    assert registry.get("to/index/manifests/part")["config"]["digest"] == here.id
    engine.docker("pull", "--platform", f"linux/{OTHER}", source).ok()
    engine.docker("tag", source, f"{name}:whole").ok()
    assert push(engine, name, "whole")[-1]["aux"]["Digest"] == index.digest
    assert [one["digest"] for one in registry.get("to/index/manifests/whole")["manifests"]] == [
        there.document.digest,
        here.document.digest,
    ]
    engine.docker("rmi", source, f"{name}:whole", f"{name}:part").ok()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("{}/no/such:1", "An image does not exist locally with the tag: {}/no/such"),
        ("127.0.0.1:9/busybox:2", "tag does not exist: 127.0.0.1:9/busybox:2"),
        ("127.0.0.1:9/busybox:1", 'Get "http://127.0.0.1:9/v2/": dial tcp'),
    ],
)
def test_failures(images: Client, registry: Registry, name: str, text: str) -> None:
    images("tag", BUSYBOX, "127.0.0.1:9/busybox:1").ok()
    done = images("push", name.format(registry.address))
    assert done.status == 1
    assert text.format(registry.address) in done.err


def test_a_digest_cannot_be_pushed(engine: Engine) -> None:
    answer = engine.api("POST", f"/images/some/name@sha256:{'0' * 64}/push")
    assert (answer.status, answer.message) == (400, "cannot push a digest reference")


def test_the_event(engine: Engine, registry: Registry) -> None:
    name = f"{registry.address}/team/event"
    engine.docker("run", "--rm", BUSYBOX, "true").ok()
    engine.docker("tag", BUSYBOX, f"{name}:1").ok()
    engine.docker("push", f"{name}:1").ok()
    now = engine.api("GET", "/info").json()["SystemTime"]
    lines = engine.api("GET", f"/events?since=0&until={now}").body.splitlines()
    found = [one for one in map(json.loads, lines) if (one["Type"], one["Action"]) == ("image", "push")]
    assert found[-1]["Actor"] == {"ID": f"{name}:1", "Attributes": {"name": name}}
    engine.docker("rmi", f"{name}:1").ok()
