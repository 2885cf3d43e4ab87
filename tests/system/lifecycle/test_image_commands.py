"""load, save, import, history, tag, rmi, images: images without a registry."""

from __future__ import annotations

import gzip
import io
import json
import tarfile

import pytest
from tests.support.engine import BUSYBOX, Client


@pytest.fixture
def images(cli: Client) -> Client:
    """The client, with builtin/busybox there, and nothing of a test's own left afterwards."""
    cli("run", "--rm", BUSYBOX, "true").ok()
    yield cli
    for name in cli("images", "--format", "{{.Repository}}:{{.Tag}}").ok().out.split():
        if name.startswith("test/"):
            cli("rmi", "-f", name)


def archive(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            made.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def test_images(images: Client) -> None:
    header, *rows = images("images").ok().out.splitlines()
    assert header.split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert any(row.split()[:2] == ["builtin/busybox", "latest"] for row in rows)
    assert images("images", "-q", "--filter", "reference=builtin/busy*").ok().line
    assert images("images", "-q", "no/such").ok().line == ""


def test_images_of_one_repository_are_shown_without_their_other_names(images: Client) -> None:
    images("tag", BUSYBOX, "test/other:v1").ok()
    assert images("images", "--format", "{{.Repository}}:{{.Tag}}", "test/other").ok().line == "test/other:v1"


def test_tag_and_rmi(images: Client) -> None:
    images("tag", BUSYBOX, "test/other:v1").ok()
    identity = images("images", "-q", "--no-trunc", "test/other:v1").ok().line
    assert identity == images("images", "-q", "--no-trunc", BUSYBOX).ok().line
    assert images("rmi", "test/other:v1").ok().line == "Untagged: test/other:v1"
    assert images("images", "-q", "test/other").ok().line == ""
    done = images("rmi", "test/other:v1")
    assert done.status == 1
    assert "No such image: test/other:v1" in done.err
    done = images("tag", "no/such", "test/x")
    assert done.status == 1
    assert "No such image: no/such:latest" in done.err


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_save_and_load(images: Client, packed: bool) -> None:
    images("tag", BUSYBOX, "test/saved:1").ok()
    data = images("save", "test/saved:1").ok().raw
    identity = images("images", "-q", "--no-trunc", "test/saved:1").ok().line
    images("rmi", "test/saved:1").ok()
    done = images("load", input=gzip.compress(data, 1) if packed else data).ok()
    assert "Loaded image: test/saved:1" in done.out
    assert images("images", "-q", "--no-trunc", "test/saved:1").ok().line == identity


def test_load_of_nonsense(images: Client) -> None:
    done = images("load", input=b"this is no archive" * 1000)
    assert done.status == 1
    assert done.err


def test_import_and_run(images: Client) -> None:
    done = images(
        "import", "-c", 'CMD ["cat", "/hello"]', "-m", "made", "-", "test/imported:1", input=archive({"hello": "hi"})
    ).ok()
    assert done.line.startswith("sha256:")
    config = json.loads(images("inspect", "-f", "{{json .Config}}", "test/imported:1").ok().out)
    assert config["Cmd"] == ["cat", "/hello"]
    assert "made" in images("history", "test/imported:1").ok().out


def test_history(images: Client) -> None:
    header, *rows = images("history", "--no-trunc", BUSYBOX).ok().out.splitlines()
    assert header.split()[0] == "IMAGE"
    assert rows


def test_inspect(images: Client) -> None:
    (image,) = json.loads(images("image", "inspect", BUSYBOX).ok().out)
    assert image["Id"].startswith("sha256:")
    assert image["Os"] == "linux"
    assert image["RootFS"]["Layers"]
    assert "builtin/busybox:latest" in image["RepoTags"]


def test_rmi_of_an_image_in_use(images: Client) -> None:
    images("import", "-", "test/used:1", input=archive({"f": "x"})).ok()
    images("create", "--name", "user", "test/used:1", "/f").ok()
    done = images("rmi", "test/used:1")
    assert done.status == 1
    assert "conflict: unable to remove repository reference" in done.err or "conflict" in done.err
    images("rm", "user").ok()
    assert "Deleted: sha256:" in images("rmi", "test/used:1").ok().out


def test_image_prune(images: Client) -> None:
    images("import", "-", input=archive({"dangling": "x"})).ok()
    assert images("images", "-q", "--filter", "dangling=true").ok().line
    assert "Total reclaimed space" in images("image", "prune", "-f").ok().out
    assert images("images", "-q", "--filter", "dangling=true").ok().line == ""


def test_archive_that_climbs_out(images: Client, tmp_path) -> None:
    """Members with .. or absolute names, and links that lead out, stay inside the image."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        link = tarfile.TarInfo("out")
        link.type = tarfile.SYMTYPE
        link.linkname = str(tmp_path)
        made.addfile(link)
        for name in ("out/through-link", f"../../../../../../..{tmp_path}/dotdot", f"{tmp_path}/absolute"):
            member = tarfile.TarInfo(name)
            member.size = 4
            made.addfile(member, io.BytesIO(b"evil"))
    images("import", "-", "test/climber:1", input=buffer.getvalue())
    assert list(tmp_path.iterdir()) == []
