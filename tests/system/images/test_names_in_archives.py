"""Names of images, and archives that bring them: what docker takes, refuses and keeps."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.faults.hostile_registry import Answer, HostileRegistry
from tests.support.engine import BUSYBOX, Client, Engine
from tests.support.http import Response
from tests.support.registry import Registry, needs_registry
from tests.support.small_images import Made

MADE = Made(b"")


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def packed(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def archive(*names: str, layers: tuple[bytes, ...] = (bytes(1024),), **config: Any) -> bytes:
    """A docker archive of one image."""
    diff_ids = [digest(layer) for layer in layers]
    document = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}, **config}
    members = {f"{number}.tar": layer for number, layer in enumerate(layers)}
    table = [{"Config": "config.json", "RepoTags": list(names), "Layers": list(members)}]
    return packed(
        {"config.json": json.dumps(document).encode(), **members, "manifest.json": json.dumps(table).encode()}
    )


def load(engine: Engine, content: bytes) -> list[dict[str, Any]]:
    answer = engine.api("POST", "/images/load", content, headers={"Content-Type": "application/x-tar"})
    assert answer.status == 200, answer.body
    return [json.loads(line) for line in answer.body.splitlines() if line]


def failure(messages: list[dict[str, Any]]) -> str:
    return str(messages[-1]["errorDetail"]["message"])


def image(engine: Engine, name: str) -> Response:
    return engine.api("GET", f"/images/{name}/json")


@pytest.fixture
def base(engine: Engine) -> Iterator[Engine]:
    """The engine, with busybox; the images that a test makes go at its end."""
    engine.docker("run", "--rm", BUSYBOX, "true").ok()
    before = {one["Id"]: one["RepoTags"] for one in engine.api("GET", "/images/json").json()}
    yield engine
    engine.remove_all()
    for one in engine.api("GET", "/images/json?all=1").json():
        for name in set(one["RepoTags"]) - set(before.get(one["Id"], ())):
            engine.api("DELETE", f"/images/{name}?force=1")
    for one in engine.api("GET", "/images/json?all=1").json():
        if one["Id"] not in before:
            engine.api("DELETE", f"/images/{one['Id']}?force=1")


def saved_names(content: bytes) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(content)) as opened:
        table = json.load(opened.extractfile("manifest.json"))  # type: ignore[arg-type]
    return {name for entry in table for name in entry["RepoTags"]}


def test_save_of_a_repository_saves_all_its_tags(base: Engine) -> None:
    for tag in ("r/x:v1", "r/x:v2", "r/xy:v1"):
        base.docker("tag", BUSYBOX, tag).ok()
    wanted = {"r/x:v1", "r/x:v2"}
    for path in ("/images/r/x/get", "/images/get?names=r/x", "/images/get?names=docker.io/r/x"):
        assert saved_names(base.api("GET", path).body) == wanted
    assert saved_names(base.docker("save", "r/x", "r/xy:v1").ok().raw) == {*wanted, "r/xy:v1"}
    assert saved_names(base.darse("save", "r/x").ok().raw) == wanted
    assert saved_names(base.api("GET", "/images/r/x:v2/get").body) == {"r/x:v2"}
    assert base.api("GET", "/images/r/z/get").message == "No such image: r/z:latest"


def test_since_and_before_go_by_nanoseconds(base: Engine) -> None:
    base.docker("create", "--name", "made", BUSYBOX).ok()
    for number in range(1, 6):
        assert base.api("POST", f"/commit?container=made&repo=times&tag={number}").status == 201
    filters = ("--filter", "since=times:1", "--filter", "before=times:5", "--format", "{{.Tag}}")
    assert base.docker("images", *filters).ok().out.split() == ["4", "3", "2"]
    made = image(base, "times:3").json()["Created"]
    later = ("--filter", "until=9999-01-01", "--filter", f"until={made}", "--filter", "reference=times")
    assert base.docker("images", *later, "--format", "{{.Tag}}").ok().out.split() == ["2", "1"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("docker.io/library/many", {"many:1", "many:2"}),
        ("docker.io/library/many:*", {"many:1", "many:2"}),
        ("docker.io/library/*:2", {"many:2"}),
        ("docker.io/team/app", {"team/app:1"}),
        ("team/*", {"team/app:1"}),
        ("*/app:1", {"team/app:1"}),
        ("many:1", {"many:1"}),
        ("library/many", set()),
        ("many:[^2]", {"many:1"}),
        ("man\\y:?", {"many:1", "many:2"}),
    ],
)
def test_reference_filters_match_familiar_and_full_names(base: Engine, pattern: str, found: set[str]) -> None:
    for name in ("many:1", "many:2", "team/app:1"):
        base.docker("tag", BUSYBOX, name).ok()
    listed = base.api("GET", "/images/json", query={"filters": {"reference": [pattern]}}).json()
    assert {name for one in listed for name in one["RepoTags"]} == found


def test_a_reference_filter_that_is_no_pattern_is_refused(base: Engine) -> None:
    answer = base.api("GET", "/images/json", query={"filters": {"reference": ["many:["]}})
    assert (answer.status, answer.message) == (400, "invalid filter 'reference': syntax error in pattern")


def test_a_digest_algorithm_is_no_repository(base: Engine) -> None:
    said = "refusing to create an ambiguous tag using digest algorithm as name"
    base.docker("create", "--name", "made", BUSYBOX).ok()
    for answer in (
        base.api("POST", f"/images/{BUSYBOX}/tag?repo=sha256&tag=x"),
        base.api("POST", "/commit?container=made&repo=sha256&tag=x"),
        base.api("POST", "/images/create?fromSrc=-&repo=sha256&tag=x", packed({"a": b"b"})),
        base.api("POST", "/images/create?fromImage=sha256&tag=x"),
    ):
        assert (answer.status, answer.message) == (400, said)
    assert failure(load(base, archive("sha256:x"))) == said


@pytest.mark.parametrize("name", [f"nm@sha256:{'a' * 64}", f"docker.io/library/nm@sha256:{'b' * 64}"])
def test_archives_bring_no_names_with_digests(base: Engine, name: str) -> None:
    assert failure(load(base, archive(name))).startswith(f'invalid tag "{name}"')
    assert base.api("GET", "/images/json", query={"filters": {"reference": ["nm"]}}).json() == []


def test_of_a_tag_and_a_digest_in_an_archive_the_tag_counts(base: Engine) -> None:
    messages = load(base, archive(f"nm:t@sha256:{'b' * 64}"))
    assert messages[-1] == {"stream": "Loaded image: nm:t\n"}
    assert image(base, "nm:t").json()["RepoTags"] == ["nm:t"]


def test_names_of_an_oci_index_are_held_against_its_images(base: Engine) -> None:
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
    kind = "application/vnd.oci.image.{}.v1+json"
    described = {"mediaType": kind.format("config"), "digest": digest(config), "size": len(config)}
    manifest = json.dumps(
        {"schemaVersion": 2, "mediaType": kind.format("manifest"), "config": described, "layers": []}
    ).encode()
    said = []
    for name in (f"docker.io/library/nm@sha256:{'c' * 64}", f"docker.io/library/nm@{digest(manifest)}"):
        entry = {
            "mediaType": kind.format("manifest"),
            "digest": digest(manifest),
            "size": len(manifest),
            "annotations": {"io.containerd.image.name": name},
        }
        index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
        blobs = {f"blobs/sha256/{digest(one)[7:]}": one for one in (config, manifest)}
        said.append(load(base, packed({"oci-layout": b"{}", "index.json": index, **blobs})))
    assert failure(said[0]).startswith("invalid tag ")
    assert said[1][-1] == {"stream": f"Loaded image: nm@{digest(manifest)}\n"}
    assert image(base, f"nm@{digest(manifest)}").json()["Id"] == digest(config)


def test_a_name_that_is_there_keeps_its_time(base: Engine) -> None:
    base.docker("tag", BUSYBOX, "kept:1").ok()
    before = image(base, "kept:1").json()["Metadata"]["LastTagTime"]
    content = base.docker("save", "kept:1").ok().raw
    load(base, content)
    assert image(base, "kept:1").json()["Metadata"]["LastTagTime"] == before
    base.docker("rmi", "kept:1").ok()
    load(base, content)
    assert image(base, "kept:1").json()["Metadata"]["LastTagTime"] > before


def test_parents_come_back(base: Engine) -> None:
    base.docker("create", "--name", "made", BUSYBOX).ok()
    parent = base.docker("commit", "made", "family:parent").ok().line
    base.docker("create", "--name", "next", "family:parent").ok()
    child = base.docker("commit", "--change", "LABEL a=b", "next", "family:child").ok().line
    content = base.docker("save", "family").ok().raw
    alone = base.docker("save", "family:child").ok().raw
    base.docker("rm", "made", "next").ok()
    base.docker("rmi", "family:child").ok()
    load(base, content)
    assert image(base, child).json()["Parent"] == parent
    base.docker("rmi", "family:child").ok()
    load(base, alone)
    assert image(base, child).json()["Parent"] == ""
    # An image that an archive calls a parent, and is none, does not become one.
    with tarfile.open(fileobj=io.BytesIO(archive("false:1"))) as opened:
        members = {one.name: opened.extractfile(one).read() for one in opened.getmembers()}  # type: ignore[union-attr]
    table = json.loads(members["manifest.json"])
    table[0]["Parent"] = parent
    load(base, packed({**members, "manifest.json": json.dumps(table).encode()}))
    assert image(base, "false:1").json()["Parent"] == ""


def test_other_operating_systems_are_refused(base: Engine) -> None:
    assert failure(load(base, archive("w:1", os="windows"))).startswith("cannot load windows image on linux")
    assert image(base, "w:1").status == 404
    for platform in ("windows", "windows/amd64"):
        answer = base.api("POST", f"/images/create?fromSrc=-&platform={platform}", packed({"a": b"b"}))
        assert (answer.status, answer.message.partition(":")[0]) == (400, "operating system is not supported")


def test_a_layer_of_no_bytes_is_empty(base: Engine) -> None:
    content = archive("empty:1", layers=(b"", packed({"file": b"x"}), b""), config={"Cmd": ["true"]})
    assert load(base, content)[-1] == {"stream": "Loaded image: empty:1\n"}
    assert len(image(base, "empty:1").json()["RootFS"]["Layers"]) == 3


@pytest.mark.parametrize("kept", [512 + 3, 512 + 6, 512 + 511, 1024 + 100, 1024 + 512 + 1])
def test_an_archive_that_breaks_off_is_not_imported(base: Engine, kept: int) -> None:
    content = packed({"file": b"hello"})[:kept]
    answer = base.api("POST", "/images/create?fromSrc=-", content)
    assert (answer.status, "unexpected EOF" in answer.message or "ends" in answer.message) == (400, True), (
        answer.message
    )


@pytest.mark.parametrize("kept", [512 + 5 + 507, 1024 + 512, 1024 + 1024])
def test_archives_may_end_without_their_end_marker(base: Engine, kept: int) -> None:
    assert base.api("POST", "/images/create?fromSrc=-&repo=tail", packed({"file": b"hello"})[:kept]).status == 200


def test_what_is_no_archive_is_told_in_the_stream(base: Engine) -> None:
    assert failure(load(base, b"this is no archive " * 100))
    assert failure(load(base, b""))
    done = base.docker("load", input=b"garbage " * 100)
    assert done.status == 1


def test_import_from_a_url(base: Engine) -> None:
    with HostileRegistry(MADE) as server:
        server.replace("elsewhere", Answer(body=packed({"file": b"hello"})))
        source = server.url.partition("://")[2]
        assert base.api("POST", f"/images/create?fromSrc={source}/x.tar&repo=fetched").status == 200
        server.replace("elsewhere", Answer(404, body=b"no"))
        answer = base.api("POST", f"/images/create?fromSrc={server.url}/y.tar")
        assert (answer.status, "404" in answer.message) == (404, True)


@pytest.mark.parametrize("platform", ["foobar", "linux/amd64/v8/x", "a b"])
def test_a_platform_that_is_none_is_refused_at_once(base: Engine, platform: str) -> None:
    with HostileRegistry(MADE) as registry:
        name = f"{registry.url.partition('://')[2]}/app"
        path = f"/images/create?fromImage={name}&tag=1&platform={platform.replace(' ', '%20')}"
        assert base.api("POST", path).status == 400
        assert registry.requests == []


@pytest.mark.parametrize("header", ["{}", "plain text", "bm8ganNvbg==", "e30=", '"x"', "WzFd"])
@pytest.mark.parametrize("name", ["X-Registry-Auth", "X-Registry-Config"])
def test_credentials_that_cannot_be_read_are_none(base: Engine, header: str, name: str) -> None:
    headers = {name: header}
    pulled = base.api("POST", "/images/create?fromImage=127.0.0.1:9/x&tag=1", headers=headers)
    pushed = base.api("POST", "/images/nosuch/push?tag=1", headers=headers)
    looked = base.api("GET", "/distribution/127.0.0.1:9/x/json", headers=headers)
    assert [one.status for one in (pulled, pushed, looked)] == [500, 404, 500]
    assert "connection refused" in pulled.message


def test_lists_and_disk_usage_agree_on_sizes(base: Engine) -> None:
    base.docker("tag", BUSYBOX, "sized:1").ok()
    listed = {one["Id"]: one["Size"] for one in base.api("GET", "/images/json").json()}
    used = {one["Id"]: one["Size"] for one in base.api("GET", "/system/df").json()["Images"]}
    assert used == listed
    assert image(base, "sized:1").json()["Size"] in listed.values()


@needs_registry
def test_an_unreachable_hub_is_named(new_engine: Callable[..., Engine]) -> None:
    """A mirror that has nothing of the kind does not speak for the Hub."""
    with Registry() as mirror:
        # The proxy that leads to it does not listen.
        engine = new_engine("--registry-mirror", mirror.url, "--https-proxy", "http://127.0.0.1:9")
        searched = engine.api("GET", "/images/search?term=postgres")
        assert (searched.status, "index.docker.io" in searched.message) == (500, True)
        pulled = engine.api("POST", "/images/create?fromImage=nosuchimage&tag=1")
        assert (pulled.status, "registry-1.docker.io" in pulled.message) == (404, True), pulled.message


def test_commands_pull_and_tell(cli: Client, base: Engine) -> None:
    done = cli("pull", "--platform", "foobar", "busybox")
    assert (done.status, "foobar" in done.err) == (1, True)
