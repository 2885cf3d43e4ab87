"""`--mount type=image`: the files of an image as a directory, read-only, for as long as the container is there."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator

import pytest
from tests.support.crafted import crafted_image, directory, entry, link
from tests.support.engine import BUSYBOX, Client, Engine

LIBRARY, BASE = "library.test/books", "library.test/base"


@pytest.fixture
def library(engine: Engine) -> Iterator[str]:
    """An image of three layers: one file of the lowest is changed, one removed above."""
    lowest = [
        *(entry("kept", b"kept\n"), entry("changed", b"old\n"), entry("removed")),
        *(directory("shelf"), entry("shelf/book", b"a book\n"), link("out", "/etc"), link("up", "../../etc")),
    ]
    engine.darse("load", input=crafted_image(BASE, entries=lowest)).ok()
    engine.darse("create", "--name", "author", BASE, "x").ok()
    for content in ("new", "newest"):
        engine.darse("cp", "-", "author:/", input=tar_of("changed", f"{content}\n")).ok()
        engine.darse("commit", "author", LIBRARY).ok()
        engine.darse("rm", "author").ok()
        engine.darse("create", "--name", "author", LIBRARY, "x").ok()
    engine.darse("rm", "author").ok()
    yield LIBRARY
    engine.remove_all()
    engine.darse("rmi", "-f", LIBRARY, BASE)
    engine.darse("image", "prune", "-f").ok()


def shell(cli: Client, script: str, *options: str) -> str:
    return cli("run", "--rm", *options, BUSYBOX, "sh", "-c", script).ok().out


def test_the_layers_of_an_image_are_shown_as_one_directory_that_nobody_writes(cli: Client, library: str) -> None:
    cli.needs(28, "mounts of images")
    mount = ("--mount", f"type=image,source={library},target=/books")
    assert shell(cli, "cat /books/changed /books/kept /books/shelf/book", *mount) == "newest\nkept\na book\n"
    said = shell(cli, "exec 2>&1; touch /books/mine; echo x >/books/kept; true", *mount)
    assert said.count("Read-only file system") == 2
    one = ("--mount", f"type=image,source={BASE},target=/books")
    assert shell(cli, "cat /books/changed; touch /books/x 2>&1 || true", *one).startswith(
        "old\ntouch: /books/x: Read-only"
    )


def test_two_images_and_two_places(cli: Client, library: str) -> None:
    cli.needs(28, "mounts of images")
    mounts = [f"type=image,src={name},dst=/{place}" for name, place in ((library, "a"), (library, "b"), (BUSYBOX, "c"))]
    script = "cat /a/changed /b/changed; test -x /c/bin/busybox"
    assert shell(cli, script, *(word for mount in mounts for word in ("--mount", mount))) == "newest\nnewest\n"


def test_subpaths_stay_inside_the_image(cli: Client, library: str) -> None:
    cli.needs(28, "mounts of images")

    def mounted(subpath: str) -> tuple[str, ...]:
        return ("--mount", f"type=image,source={library},target=/x,image-subpath={subpath}")

    assert shell(cli, "ls /x", *mounted("shelf")) == "book\n"
    assert shell(cli, "cat /x", *mounted("shelf/book")) == "a book\n"
    for leaving in ("out", "up", "missing", "out/passwd"):
        done = cli("run", "--rm", *mounted(leaving), BUSYBOX, "ls", "/x")
        # docker's client takes what is missing for a missing program.
        assert done.status == 127 if leaving == "missing" else 125
        assert "cannot access path" in done.err
    for wrong in ("/etc", "../etc", "shelf/../../etc"):
        done = cli("run", "--rm", *mounted(wrong), BUSYBOX, "true")
        assert (done.status, "subpath must be a relative path within the volume" in done.err) == (125, True), done.err


def test_a_mounted_image_is_in_use_and_its_layers_stay(cli: Client, engine: Engine, library: str) -> None:
    """Also after it was removed by force, and across a crash of the engine; they go with the container."""
    cli.needs(28, "mounts of images")
    mount = ("--mount", f"type=image,source={library},target=/books")
    cli("create", "--name", "reader", *mount, BUSYBOX, "cat", "/books/changed").ok()
    refused = cli("rmi", library)
    assert refused.status == 1
    assert "must force" in refused.err
    image = cli("image", "inspect", "-f", "{{.Id}}", library).ok().line
    layers = len(list((engine.data_root / "images" / "layers").iterdir()))
    cli("rmi", "-f", image, BASE).ok()
    assert len(list((engine.data_root / "images" / "layers").iterdir())) == layers
    engine.kill9()
    engine.up()
    assert cli("start", "-a", "reader").ok().out == "newest\n"
    assert cli("run", "--rm", "--volumes-from", "reader", BUSYBOX, "cat", "/books/kept").ok().out == "kept\n"
    cli("rm", "reader").ok()
    assert len(list((engine.data_root / "images" / "layers").iterdir())) < layers


def test_a_running_one_cannot_be_forced_away(cli: Client, library: str) -> None:
    cli.needs(28, "mounts of images")
    cli("run", "-d", "--name", "rr", "--mount", f"type=image,source={library},target=/b", BUSYBOX, "sleep", "100").ok()
    image = cli("image", "inspect", "-f", "{{.Id}}", library).ok().line
    refused = cli("rmi", "-f", image)
    assert refused.status == 1
    assert "cannot be forced" in refused.err
    assert "image is being used by running container" in refused.err


def test_inspect_shows_the_mount(cli: Client, engine: Engine, library: str) -> None:
    cli.needs(28, "mounts of images")
    mount = f"type=image,source={library},target=/books,image-subpath=shelf"
    cli("create", "--name", "reader", "--mount", mount, BUSYBOX).ok()
    (shown,) = json.loads(cli("inspect", "reader").ok().out)
    image = engine.api("GET", f"/images/{library}/json").json()["Id"]
    assert shown["Mounts"] == [
        {
            **{"Type": "image", "Name": library, "Source": image, "Destination": "/books", "Mode": "", "RW": False},
            "Propagation": "",
        }
    ]
    (kept,) = shown["HostConfig"]["Mounts"]
    assert kept == {
        **{"Type": "image", "Source": library, "Target": "/books", "ImageOptions": {"Subpath": "shelf"}},
    }
    assert cli("ps", "-a", "--format", "{{.Mounts}}", "--no-trunc").ok().line == library


def test_cp_sees_it(cli: Client, library: str) -> None:
    """Of a container that runs, and of one that does not; nothing can be written."""
    cli.needs(28, "mounts of images")
    mounts = [f"type=image,source={library},target=/a", f"type=image,source={BASE},target=/b"]
    flags = [word for mount in mounts for word in ("--mount", mount)]
    cli("create", "--name", "reader", *flags, BUSYBOX, "sleep", "100").ok()
    for _ in range(2):
        assert b"newest\n" in cli("cp", "reader:/a/changed", "-").ok().raw
        assert b"old\n" in cli("cp", "reader:/b/changed", "-").ok().raw
        assert cli("cp", "-", "reader:/a", input=tar_of("mine", "x")).status == 1
        cli("start", "reader").ok()


def test_what_is_refused(cli: Client, engine: Engine) -> None:
    cli.needs(28, "mounts of images")
    missing = cli("create", "--mount", "type=image,source=no-such:thing,target=/x", "--pull=never", BUSYBOX)
    assert "No such image: no-such:thing" in missing.err
    for mount, said in (
        ({"Type": "image", "Target": "/x"}, "field Source must not be empty"),
        ({"Type": "image", "Target": "/x", "Source": BUSYBOX, "BindOptions": {}}, "field BindOptions must not"),
        ({"Type": "bind", "Target": "/x", "Source": "/tmp", "ImageOptions": {}}, "field ImageOptions must not"),
    ):
        answer = engine.api("POST", "/containers/create", {"Image": BUSYBOX, "HostConfig": {"Mounts": [mount]}})
        assert (answer.status, said in answer.json()["message"]) == (400, True), answer.body


def tar_of(name: str, content: str) -> bytes:
    """An archive of one file."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content.encode()))
    return file.getvalue()
