"""An index of two platforms, by both commands: what each command does of it, whole and with --platform."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.engine import Client, Engine
from tests.support.registry import Registry, needs_registry
from tests.support.small_images import HOST, OTHER, Made, push_index, tar

from darse.units import human_size

pytestmark = needs_registry


class Multi:
    """A name whose index has an image for this machine and one for another; pulled by a client that knows platforms."""

    def __init__(self, cli: Client, registry: Registry) -> None:
        self.here = Made(tar({"here": b"1" * 1000}))
        self.there = Made(tar({"there": b"2" * 1000}), architecture=OTHER)
        self.index = push_index(registry.address, "team/multi", "1", self.there, self.here)
        self.cli, self.registry = cli, registry
        self.name = f"{registry.address}/team/multi:1"

    def pull(self, *architectures: str) -> None:
        for architecture in architectures:
            self.cli("pull", "-q", "--platform", f"linux/{architecture}", self.name).ok()

    def id(self, *options: str) -> str:
        return self.cli("image", "inspect", "--format", "{{.Id}}", *options, self.name).ok().line


@pytest.fixture
def multi(cli: Client, engine: Engine) -> Iterator[Multi]:
    cli.needs(28, "--platform of images")
    with Registry() as registry:
        made = Multi(cli, registry)
        yield made
        engine.remove_all()
        cli("rmi", "-f", made.name)


def test_inspect_and_history(multi: Multi) -> None:
    multi.pull(HOST, OTHER)
    assert multi.id() == multi.id("--platform", f"linux/{HOST}") == multi.here.id
    assert multi.id("--platform", f"linux/{OTHER}") == multi.there.id
    missing = multi.cli("image", "inspect", "--platform", "linux/s390x", multi.name)
    assert missing.status == 1
    assert "linux/s390x" in missing.err
    for made, architecture in ((multi.here, HOST), (multi.there, OTHER)):
        which = ("--platform", f"linux/{architecture}")
        first = multi.cli("history", "-q", "--no-trunc", *which, multi.name).ok().out.splitlines()[0]
        assert first == made.id
    assert "linux/s390x" in multi.cli("history", "--platform", "linux/s390x", multi.name).err


def configs(archive: bytes) -> set[str]:
    """The platforms of the images in an archive: every config that is in there."""
    found = set()
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        for member in opened:
            file = opened.extractfile(member)
            content = file.read() if file is not None else b""
            if content.startswith(b"{") and b'"rootfs"' in content:
                found.add(json.loads(content)["architecture"])
    return found


def test_save_and_load(multi: Multi, tmp_path: Path) -> None:
    multi.pull(HOST, OTHER)
    cli = multi.cli
    whole = cli("save", multi.name).ok().raw
    assert configs(whole) == {HOST, OTHER}
    part = cli("save", "--platform", f"linux/{OTHER}", multi.name).ok().raw
    assert configs(part) == {OTHER}
    cli("rmi", multi.name).ok()
    (tmp_path / "whole.tar").write_bytes(whole)
    cli("load", "-i", str(tmp_path / "whole.tar"), "--platform", f"linux/{OTHER}").ok()
    assert multi.id() == multi.there.id
    cli("rmi", multi.name).ok()
    cli("load", "-i", str(tmp_path / "whole.tar")).ok()
    assert (multi.id(), multi.id("--platform", f"linux/{OTHER}")) == (multi.here.id, multi.there.id)
    refused = cli("load", "-i", str(tmp_path / "whole.tar"), "--platform", "linux/s390x")
    assert refused.status == 1
    assert "s390x" in refused.err
    assert cli("save", "--platform", "linux/s390x", multi.name).status == 1


def test_push_of_one_platform(multi: Multi) -> None:
    multi.pull(HOST, OTHER)
    target = f"{multi.registry.address}/team/one:1"
    multi.cli("tag", multi.name, target).ok()
    multi.cli("push", "-q", "--platform", f"linux/{OTHER}", target).ok()
    assert multi.registry.get("team/one/manifests/1")["config"]["digest"] == multi.there.id
    refused = multi.cli("push", "--platform", "linux/s390x", target)
    assert refused.status == 1
    assert "does not provide the specified platform" in refused.err
    # The local name still means both.
    assert multi.cli("image", "inspect", "--format", "{{.Id}}", target).ok().line == multi.here.id
    multi.cli("rmi", target).ok()


def test_create_and_run(multi: Multi) -> None:
    """A platform that is not here is pulled; the image is that of the platform, with docker's warning."""
    cli = multi.cli
    multi.pull(HOST)
    done = cli("create", "--platform", f"linux/{OTHER}", multi.name).ok()
    assert multi.id("--platform", f"linux/{OTHER}") == multi.there.id
    assert cli("inspect", "--format", "{{.Image}}", done.line).ok().line in (
        multi.there.id,
        multi.there.document.digest,
    )
    plain = cli("create", multi.name).ok()
    assert cli("inspect", "--format", "{{.Image}}", plain.line).ok().line == multi.here.id


def test_rmi_of_one_platform(multi: Multi) -> None:
    multi.pull(HOST, OTHER)
    multi.cli("rmi", "--platform", f"linux/{HOST}", multi.name).ok()
    assert multi.id() == multi.there.id
    assert multi.cli("image", "inspect", "--platform", f"linux/{HOST}", multi.name).status == 1


def test_the_tree(multi: Multi) -> None:
    """`image ls --tree`: the index, and a line for each of its platforms; what is not here is told, too."""
    multi.pull(OTHER)
    with multi.cli.terminal("image", "ls", "--tree", columns=120) as terminal:
        terminal.wait()
        shown = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", (terminal.read() or b"").decode())
    lines = [line.split() for line in shown.splitlines()]
    top = next(at for at, words in enumerate(lines) if words[:1] == [multi.name])
    assert lines[top][1] == multi.there.id.removeprefix("sha256:")[:12]
    below = [words for words in lines[top + 1 : top + 3] if words]
    assert {words[1] for words in below} == {f"linux/{HOST}", f"linux/{OTHER}"}
    here = next(words for words in below if words[1] == f"linux/{OTHER}")
    assert here[2] == multi.there.document.digest.removeprefix("sha256:")[:12]
    # Content is what a registry would get, also of archives that are on no disk: manifest, config and layers.
    made = multi.there
    content = sum(map(len, (made.document.content, made.config, *made.blobs.values())))
    assert here[4] == human_size(content, 3)
