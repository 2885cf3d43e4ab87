"""`--userns-remap` where no mount has other ids: copies of layers, owners and capabilities on the disk."""

from __future__ import annotations

import io
import os
import sqlite3
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Client, Engine
from tests.system.security.conftest import COUNT, FIRST, ShiftingEngine, emptied, up

# cap_chown=ep in the second version of the attribute, whose root is the host's; see capabilities(7).
CAPABLE = struct.pack("<5I", 0x02000001, 1 << 0, 0, 0, 0)


@pytest.fixture(scope="module")
def module_engine() -> Iterator[ShiftingEngine]:
    with up(ShiftingEngine("--userns-remap", "nobody:nogroup")) as engine:
        yield engine


@pytest.fixture
def shifting(module_engine: ShiftingEngine) -> Iterator[ShiftingEngine]:
    with emptied(module_engine) as engine:
        yield engine


def copies(engine: Engine) -> set[Path]:
    return set((engine.data_root / "images/shifted").glob("*/*"))


def image(client: Client, name: str, *files: tuple[str, int, int, bytes | None]) -> None:
    """Import a busybox with more of its programs: path, owner, mode, capabilities."""
    stream = io.BytesIO()
    base = client("create", BUSYBOX, "true").ok().line
    archive = io.BytesIO(client("export", base).ok().raw)
    with tarfile.open(fileobj=archive) as source, tarfile.open(fileobj=stream, mode="w") as target:
        for member in source:
            target.addfile(member, source.extractfile(member) if member.isreg() else None)
        program = source.extractfile("bin/busybox")
        assert program is not None
        content = program.read()
        for path, owner, mode, capability in files:
            member = tarfile.TarInfo(path)
            member.uid = member.gid = owner
            member.mode = mode
            member.size = len(content)
            if capability is not None:
                member.pax_headers["SCHILY.xattr.security.capability"] = capability.decode()
            target.addfile(member, io.BytesIO(content))
    client("rm", base).ok()
    client("import", "-", name, input=stream.getvalue()).ok()


def test_a_layer_is_copied_once_counted_and_gone_with_its_image(shifting: ShiftingEngine) -> None:
    darse = shifting.darse
    image(darse, "mine", ("program", 7, 0o4755, None))
    before, size = copies(shifting), shifting.api("GET", "/system/df").json()["LayersSize"]
    darse("create", "--name", "one", "mine", "true").ok()
    (copy,) = copies(shifting) - before
    assert copy.parent.name == f"{FIRST}.{FIRST}"
    assert (copy / "fs/program").stat().st_uid == FIRST + 7
    assert (copy / "fs/program").stat().st_mode & 0o7777 == 0o4755
    assert (copy / "fs/bin").stat().st_uid == FIRST
    assert shifting.api("GET", "/system/df").json()["LayersSize"] >= size + (copy / "fs/bin/busybox").stat().st_size
    made = copy.stat().st_ctime_ns
    darse("run", "--rm", "mine", "true").ok()
    assert copies(shifting) - before == {copy}
    assert copy.stat().st_ctime_ns == made
    darse("rm", "one").ok()
    darse("rmi", "mine").ok()
    assert copies(shifting) == before


def test_capabilities_of_files_are_roots_inside(shifting: ShiftingEngine) -> None:
    darse = shifting.darse
    image(darse, "capable", ("able/chown", 0, 0o755, CAPABLE))
    darse("run", "--name", "cc", "capable", "sh", "-c", "touch /new; echo >> /able/chown").ok()
    (copy,) = [path for path in copies(shifting) if (path / "fs/able").exists()]
    # The third version names whose root may have them.
    on_disk = os.getxattr(copy / "fs/able/chown", "security.capability")
    assert on_disk == struct.pack("<6I", 0x03000001, 1 << 0, 0, 0, 0, FIRST)
    assert darse("diff", "cc").ok().out.splitlines() == ["C /able", "C /able/chown", "A /new"]
    script = "touch /tmp/f; /able/chown 5 /tmp/f && stat -c %u /tmp/f"
    assert darse("run", "--rm", "--user", "1000", "capable", "sh", "-c", script).ok().line == "5"
    darse("rm", "cc").ok()
    darse("rmi", "capable").ok()


def test_a_commit_has_owners_as_in_any_image(shifting: ShiftingEngine) -> None:
    darse = shifting.darse
    darse("run", "--name", "cc", BUSYBOX, "sh", "-c", "touch /new; chown 7:8 /new; rm /etc/group").ok()
    darse("commit", "cc", "committed").ok()
    archive = darse("save", "committed").ok().raw
    owners = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as outer:
        for member in outer:
            if member.isreg() and member.size > 1024:
                content = outer.extractfile(member)
                assert content is not None
                try:
                    with tarfile.open(fileobj=content) as layer:
                        owners.update({one.name: (one.uid, one.gid) for one in layer})
                except tarfile.ReadError:
                    continue  # a document
    assert owners["new"] == (7, 8)
    assert owners["etc"] == (0, 0)
    assert "etc/.wh.group" in owners
    shown = darse("run", "--rm", "committed", "sh", "-c", "stat -c %u:%g /new; ls /etc/group").out
    assert shown == "7:8\n"
    darse("rm", "cc").ok()
    darse("rmi", "committed").ok()


def test_an_owner_without_an_id_is_refused_in_dockers_words(shifting: ShiftingEngine) -> None:
    darse = shifting.darse
    image(darse, "far", ("file", COUNT, 0o644, None))
    refused = darse("create", "far", "true")
    assert refused.status == 1
    assert f"Container ID {COUNT} cannot be mapped to a host ID" in refused.err
    assert darse("ps", "-aq").ok().out == ""
    assert darse("run", "--rm", "--userns", "host", "far", "stat", "-c", "%u", "/file").ok().line == str(COUNT)
    darse("rmi", "far").ok()


def test_volumes_change_owners_once_and_go_back(shifting: ShiftingEngine) -> None:
    darse = shifting.darse
    darse("run", "--rm", "-v", "data:/v", BUSYBOX, "sh", "-c", "touch /v/f; chown 7 /v/f; chmod 4755 /v/f").ok()
    file = shifting.data_root / "volumes/data/_data/f"
    assert file.stat().st_uid == FIRST + 7
    shifting.stop()
    plain = Engine(root=shifting.root)
    plain.up()
    try:
        shown = plain.darse("run", "--rm", "-v", "data:/v", BUSYBOX, "stat", "-c", "%u %a", "/v/f").ok()
        assert shown.line == "7 4755"
    finally:
        plain.stop()
        shifting.up()
    assert darse("run", "--rm", "-v", "data:/v", BUSYBOX, "stat", "-c", "%u %a", "/v/f").ok().line == "7 4755"
    assert file.stat().st_uid == FIRST + 7


def test_copies_without_a_layer_are_dropped_at_the_start(shifting: ShiftingEngine) -> None:
    stray = shifting.data_root / "images/shifted" / f"{FIRST}.{FIRST}" / ("0" * 64)
    shifting.darse("run", "--rm", BUSYBOX, "true").ok()
    stray.mkdir()
    shifting.kill9()
    shifting.up()
    assert not stray.exists()
    shifting.darse("run", "--rm", BUSYBOX, "true").ok()


def test_ids_that_containers_have_inside_are_refused() -> None:
    """What is on the disk could not be told apart."""
    engine = ShiftingEngine("--userns-remap", "nobody:nogroup")
    try:
        for file in (engine.root / "subuid", engine.root / "subgid"):
            file.write_text(f"nobody:1000:{COUNT}\n")
        with pytest.raises(AssertionError, match="choose ids from 100000 on"):
            engine.up()
    finally:
        engine.close()


def test_a_change_of_owners_that_was_interrupted_is_completed(shifting: ShiftingEngine) -> None:
    """As a crash leaves it: begun on record, and some files mapped already."""
    darse = shifting.darse
    darse("run", "--name", "cc", BUSYBOX, "sh", "-c", "touch /one /two; chown 7 /one /two").ok()
    upper = shifting.data_root / "snapshots" / darse("inspect", "-f", "{{.Id}}", "cc").line / "upper"
    shifting.kill9()
    os.chown(upper / "two", 7, 0)
    with sqlite3.connect(shifting.data_root / "state.sqlite") as database:
        database.execute("UPDATE snapshot_owners SET complete = 0")
    database.close()
    shifting.up()
    darse("start", "-a", "cc").ok()
    assert ((upper / "two").stat().st_uid, (upper / "two").stat().st_gid) == (FIRST + 7, FIRST)
