"""Pull from Debian's docker-registry: what is said, what is stored, what fails."""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.engine import Client, Engine
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
    yield cli
    for name in cli("images", "-q").ok().out.split():
        cli("rmi", "-f", name)


def test_pull(images: Client, registry: Registry) -> None:
    made = Made(BASE, tar({"etc/one": b"1"}))
    pushed = made.push(registry.address, "team/one", "latest")
    name = f"{registry.address}/team/one"
    done = images("pull", name).ok()
    assert done.out.splitlines()[0] == "Using default tag: latest"
    assert f"Digest: {pushed.digest}\n" in done.out
    assert f"Status: Downloaded newer image for {name}:latest\n" in done.out
    assert done.out.splitlines()[-1] == f"{name}:latest"
    inspected = json.loads(images("image", "inspect", name).ok().out)[0]
    assert inspected["Id"] == made.id
    assert inspected["RepoTags"] == [f"{name}:latest"]
    assert inspected["RepoDigests"] == [f"{name}@{pushed.digest}"]
    assert inspected["RootFS"]["Layers"] == made.diff_ids
    again = images("pull", name).ok()
    assert f"Status: Image is up to date for {name}:latest\n" in again.out


def test_messages_are_dockers(engine: Engine, registry: Registry) -> None:
    """The stream that a client's bars are drawn from."""
    made = Made(BASE, tar({"etc/messages": b"m" * 300_000}))
    made.push(registry.address, "team/messages", "1")
    path = f"/images/create?fromImage={registry.address}/team/messages&tag=1"
    messages = list(engine.api.stream("POST", path))
    assert messages[0] == {"status": "Pulling from team/messages", "id": "1"}
    for digest in made.layers:
        mine = [one for one in messages if one.get("id") == digest[7:19]]
        assert [one["status"] for one in mine if one["status"] != "Waiting"] == [
            "Pulling fs layer",
            "Downloading",
            "Verifying Checksum",
            "Download complete",
            "Extracting",
            "Pull complete",
        ]
        downloading = next(one for one in mine if one["status"] == "Downloading")
        assert downloading["progressDetail"]["total"] == len(made.blobs[digest])
        assert mine[-1]["progressDetail"] == {}
    assert [one["status"].partition(":")[0] for one in messages[-2:]] == ["Digest", "Status"]
    again = list(engine.api.stream("POST", path))
    assert [one["status"] for one in again[1:3]] == ["Already exists"] * 2 or "Pulling fs layer" not in str(again)
    assert again[-1]["status"] == f"Status: Image is up to date for {registry.address}/team/messages:1"
    assert engine.api("DELETE", f"/images/{registry.address}/team/messages:1").status == 200


def test_layers_that_are_there_are_not_fetched(images: Client, registry: Registry) -> None:
    first, second = Made(BASE, tar({"etc/a": b"a"})), Made(BASE, tar({"etc/b": b"b"}))
    first.push(registry.address, "team/shared", "a")
    second.push(registry.address, "team/shared", "b")
    images("pull", f"{registry.address}/team/shared:a").ok()
    before = len(registry.requests())
    done = images("pull", f"{registry.address}/team/shared:b").ok()
    assert f"{first.layers[0][7:19]}: Already exists" in done.out
    asked = [request for request in registry.requests()[before:] if "/blobs/" in request]
    assert not any(first.layers[0] in request for request in asked), asked
    assert any(second.layers[1] in request for request in asked)


def test_by_digest(images: Client, registry: Registry) -> None:
    made = Made(BASE, tar({"etc/digest": b"d"}))
    digest = made.push(registry.address, "team/digest", "1").digest
    name = f"{registry.address}/team/digest@{digest}"
    done = images("pull", name).ok()
    assert f"Status: Downloaded newer image for {name}" in done.out
    inspected = json.loads(images("image", "inspect", name).ok().out)[0]
    assert inspected["RepoTags"] == []
    assert inspected["RepoDigests"] == [name]
    # A tag beside the digest says nothing.
    images("pull", f"{registry.address}/team/digest:other@{digest}").ok()
    assert images("rmi", name).ok().out.startswith("Untagged: ")


def test_the_last_tag_takes_the_digest_with_it(images: Client, registry: Registry) -> None:
    digest = Made(BASE, tar({"etc/two": b"tags"})).push(registry.address, "team/two", "1").digest
    name = f"{registry.address}/team/two"
    images("pull", f"{name}:1").ok()
    images("tag", f"{name}:1", f"{name}:2").ok()
    images("tag", f"{name}:1", "elsewhere:1").ok()
    assert images("rmi", f"{name}:2").ok().out == f"Untagged: {name}:2\n"
    assert images("rmi", f"{name}:1").ok().out == f"Untagged: {name}:1\nUntagged: {name}@{digest}\n"
    lines = images("rmi", "elsewhere:1").ok().out.splitlines()
    assert lines[0] == "Untagged: elsewhere:1"
    assert all(line.startswith("Deleted: sha256:") for line in lines[1:])


def test_all_tags_and_quiet(images: Client, registry: Registry) -> None:
    for tag in ("1", "2"):
        Made(BASE, tar({"etc/tag": tag.encode()})).push(registry.address, "team/all", tag)
    name = f"{registry.address}/team/all"
    done = images("pull", "-a", name).ok()
    assert done.out.count("Digest: ") == 2
    assert f"Status: Downloaded newer image for {name}\n" in done.out
    assert sorted(images("images", "--format", "{{.Tag}}", name).ok().out.split()) == ["1", "2"]
    assert images("pull", "-q", f"{name}:1").ok().out == f"{name}:1\n"


def test_platforms(images: Client, registry: Registry) -> None:
    here, there = Made(tar({"here": b"1"})), Made(tar({"there": b"1"}), architecture=OTHER)
    index = push_index(registry.address, "team/multi", "1", there, here)
    name = f"{registry.address}/team/multi:1"
    assert f"Digest: {index.digest}" in images("pull", name).ok().out
    assert images("image", "inspect", "--format", "{{.Id}}", name).ok().line == here.id
    images("pull", "--platform", f"linux/{OTHER}", name).ok()
    # Both are there now; what is meant without a platform is this machine's.
    assert images("image", "inspect", "--format", "{{.Id}}", name).ok().line == here.id
    done = images("pull", "--platform", "linux/s390x", name)
    assert done.status == 1
    assert "no matching manifest for linux/s390x in the manifest list entries" in done.err


def test_run_pulls_what_is_missing(images: Client, registry: Registry) -> None:
    name = f"{registry.address}/team/missing:1"
    Made(BASE).push(registry.address, "team/missing", "1")
    done = images("create", name).ok()
    assert f"Unable to find image '{name}' locally" in done.err
    assert f"Status: Downloaded newer image for {name}" in done.err


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "{}/no/such:1",
            "Error response from daemon: manifest for {}/no/such:1 not found: manifest unknown: manifest unknown",
        ),
        ("127.0.0.1:9/a/b", 'Get "http://127.0.0.1:9/v2/'),
        ("{}/UPPER", "invalid reference format: repository name (UPPER) must be lowercase"),
    ],
)
def test_failures(images: Client, registry: Registry, name: str, text: str) -> None:
    done = images("pull", name.format(registry.address))
    assert done.status == 1
    assert text.format(registry.address) in done.err


def test_events(engine: Engine, registry: Registry) -> None:
    Made(BASE, tar({"etc/event": b"e"}), Labels={"who": "me"}).push(registry.address, "team/event", "1")
    name = f"{registry.address}/team/event"
    engine.docker("pull", f"{name}:1").ok()
    now = engine.api("GET", "/info").json()["SystemTime"]
    lines = engine.api("GET", f"/events?since=0&until={now}").body.splitlines()
    found = [one for one in map(json.loads, lines) if (one["Type"], one["Action"]) == ("image", "pull")]
    actors = [one["Actor"] for one in found if one["Actor"]["Attributes"]["name"] == name]
    assert actors == [{"ID": f"{name}:1", "Attributes": {"name": name, "who": "me"}}]
    engine.docker("rmi", f"{name}:1").ok()


def test_explain_tells_of_a_pull(engine: Engine, registry: Registry, tmp_path: Path) -> None:
    made = Made(BASE, tar({"etc/explained": b"e" * 100_000}))
    pushed = made.push(registry.address, "team/explained", "1")
    name = f"{registry.address}/team/explained:1"
    engine.darse("pull", "-q", name).ok()
    told = engine.api("GET", f"/darse/explain/{name}?last=pull").json()
    assert (told["name"], told["subject"], told["outcome"]) == ("pull", pushed.digest, "done")
    summaries = [step["summary"] for step in told["steps"]]
    for beginning in ("find 1 at ", "the image's config", "record the image, 2 layers"):
        assert [one for one in summaries if one.startswith(beginning)], summaries
    for digest in made.layers:
        assert [one for one in summaries if one.startswith(f"fetch layer {digest[7:19]}, ")], summaries
    assert sum(one.startswith("unpack layer") for one in summaries) >= 1, summaries
    # What is shown can be typed (the first try, with TLS, has failed here, too).
    asked = [shlex.join(step["command"]) for step in told["steps"] if step["kind"] == "request" and not step["failed"]]
    subprocess.run(["sh", "-ec", "\n".join(asked)], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    for digest in made.layers:
        content = (tmp_path / f"{digest[7:19]}.layer").read_bytes()
        assert f"sha256:{hashlib.sha256(content).hexdigest()}" == digest
    out = engine.darse("explain", name).ok().out
    assert out.startswith(f"pull {name} ({pushed.digest[7:19]}), ")
    assert [line.split()[1:3] for line in engine.darse("explain", "--last", "pull").ok().out.splitlines()][1:]
    engine.darse("rmi", name).ok()


def test_explain_tells_of_a_pull_that_failed(engine: Engine, registry: Registry) -> None:
    name = f"{registry.address}/team/nothing:1"
    assert engine.darse("pull", name).status == 1
    told = engine.api("GET", f"/darse/explain/{name}").json()
    assert told["outcome"].startswith("failed: ")
    assert any(step["failed"] for step in told["steps"] if step["summary"].startswith("find 1 at "))
    assert "failed: " in engine.darse("explain", name).ok().out
