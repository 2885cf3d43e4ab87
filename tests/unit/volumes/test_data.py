"""Archives, copies and snapshots of volumes: what they keep, and that they are there whole or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import os
import stat
import tarfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from darse.core.errors import Conflict, EngineError, InvalidParameter, NotFound
from darse.core.events import EventLog
from darse.core.object_references import ObjectKind, ObjectReference, ObjectReferences
from darse.core.state import State
from darse.engine.engine import SCHEMAS
from darse.plugins import PluginClient
from darse.recovery.startup import Recovery
from darse.volumes.data import SNAPSHOT_LABEL
from darse.volumes.service import VolumeService
from darse.wire.volumes import VolumeCreate

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: owners, and mount namespaces")


class Place:
    """A service that can be opened again, as after a crash."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.opened = contextlib.ExitStack()
        self.open()

    def open(self) -> None:
        self.opened.close()
        self.state = self.opened.enter_context(contextlib.closing(State(self.root / "state.sqlite", SCHEMAS)))
        self.events = EventLog(self.state)
        self.service = VolumeService(self.root, self.state, self.events, plugins=PluginClient((), ()))
        self.service.open(Recovery(self.root, self.state))

    async def create(self, name: str) -> Path:
        await self.service.create(VolumeCreate(Name=name))
        return self.path(name)

    def path(self, name: str) -> Path:
        return self.root / "volumes" / name / "_data"

    async def exported(self, name: str) -> bytes:
        async with self.service.data.export(name) as pieces:
            return b"".join([piece async for piece in pieces])

    async def imported(self, name: str, archive: bytes, *, replace: bool = False) -> None:
        await self.service.data.import_archive(name, _pieces(archive), {"a": "b"}, replace=replace)

    def run(self, container_id: str, volume: str, *, running: bool = True) -> None:
        used = [ObjectReference(ObjectKind.VOLUME, volume)]
        ObjectReferences(self.state).replace_references(container_id, used, running=running)

    @property
    def left(self) -> list[str]:
        return os.listdir(self.service.trash.directory)


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 4096):
        yield data[start : start + 4096]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.opened.close()


def names(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return opened.getnames()


def fill(top: Path) -> None:
    """A tree with all that a copy must keep."""
    top.chmod(0o2750)
    (top / "sub").mkdir(mode=0o711)
    (top / "sub" / "file").write_bytes(b"x" * 70_000)
    os.chown(top / "sub" / "file", 70, 71)
    (top / "sub" / "file").chmod(0o4755)
    os.setxattr(top / "sub" / "file", "user.note", b"kept")
    os.link(top / "sub" / "file", top / "second")
    (top / "link").symlink_to("/etc/passwd")
    os.mkfifo(top / "fifo", 0o620)
    os.mknod(top / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    (top / ".wh.name").write_text("no whiteout")
    with (top / "holes").open("wb") as file:
        file.seek(1 << 30)
        file.write(b"end")
    os.utime(top / "sub", (1_000, 2_000))
    os.chown(top, 5, 6)
    os.utime(top, (3_000, 4_000))


def seen(top: Path) -> dict[str, object]:
    """What is compared of a tree."""
    found: dict[str, object] = {}
    inodes: dict[int, int] = {}
    for path in sorted([top, *top.rglob("*")]):
        status = path.lstat()
        number = inodes.setdefault(status.st_ino, len(inodes))
        kind = stat.S_IFMT(status.st_mode)
        content: object = None
        if stat.S_ISREG(status.st_mode):
            with path.open("rb") as file:
                file.seek(max(0, status.st_size - 70_000))
                content = (status.st_size, file.read(), sorted(os.listxattr(path)))
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        found[str(path.relative_to(top))] = (
            *(kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_rdev, number, content),
            int(status.st_mtime) if not stat.S_ISLNK(status.st_mode) else 0,
        )
    return found


async def test_an_archive_and_a_clone_have_all_that_the_volume_has(place: Place) -> None:
    top = await place.create("data")
    fill(top)
    archive = await place.exported("data")
    assert len(archive) < 1 << 20, "holes take no room"
    await place.imported("again", archive)
    await place.service.data.clone("data", "copy", {})
    assert seen(place.path("again")) == seen(top)
    assert seen(place.path("copy")) == seen(top)
    assert (place.path("copy") / "holes").stat().st_blocks < 1000
    assert place.left == []
    place.open()
    assert (await place.service.inspect("again")).Labels == {"a": "b"}
    assert names(archive)[0] == "."
    assert "./sub/file" in names(archive)


async def test_an_import_replaces_only_when_asked_and_while_nobody_runs(place: Place) -> None:
    top = await place.create("data")
    (top / "old").touch()
    inode = top.stat().st_ino
    other = await place.create("other")
    (other / "new").touch()
    archive = await place.exported("other")
    with pytest.raises(Conflict, match="exists already"):
        await place.imported("data", archive)
    place.run("c" * 64, "data")
    with pytest.raises(Conflict, match="is used by running containers"):
        await place.imported("data", archive, replace=True)
    assert os.listdir(top) == ["old"]
    place.run("c" * 64, "data", running=False)
    await place.imported("data", archive, replace=True)
    assert os.listdir(top) == ["new"]
    assert top.stat().st_ino != inode
    assert place.left == []


@pytest.mark.parametrize(
    "archive", [b"", b"no archive at all" * 100, None], ids=["nothing", "no archive", "one that is cut off"]
)
async def test_what_is_no_whole_archive_leaves_nothing(place: Place, archive: bytes | None) -> None:
    if archive is None:
        top = await place.create("data")
        (top / "file").write_bytes(os.urandom(500_000))
        archive = (await place.exported("data"))[:200_000]
    if archive == b"":
        await place.imported("new", archive)  # as to tar: an archive of nothing
        assert os.listdir(place.path("new")) == []
        return
    with pytest.raises(InvalidParameter, match="import new"):
        await place.imported("new", archive)
    assert place.left == []
    with pytest.raises(NotFound):
        await place.service.inspect("new")
    assert not (place.root / "volumes" / "new").exists()


def hostile(*members: tuple[str, bytes, str]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    return made.getvalue()


@pytest.mark.parametrize(
    "members",
    [
        (("../outside", tarfile.REGTYPE, ""),),
        (("link", tarfile.SYMTYPE, "/"), ("link/outside", tarfile.REGTYPE, "")),
        (("link", tarfile.SYMTYPE, "../.."), ("link/outside", tarfile.REGTYPE, "")),
        (("hard", tarfile.LNKTYPE, "../../state.sqlite"),),
    ],
)
async def test_no_archive_leads_out_of_its_volume(place: Place, members: tuple[tuple[str, bytes, str], ...]) -> None:
    before = {path for path in place.root.rglob("*") if "volumes" not in path.parts}
    with contextlib.suppress(EngineError):
        await place.imported("new", hostile(*members))
    assert {path for path in place.root.rglob("*") if "volumes" not in path.parts} == before
    assert not list(place.root.glob("volumes/*outside"))
    assert not Path("/outside").exists()


async def test_a_snapshot_is_restored_and_is_of_one_volume_only(place: Place) -> None:
    top = await place.create("data")
    (top / "file").write_text("before")
    kept = await place.service.data.snapshot("data", "")
    assert kept.name.startswith("data.2")
    assert kept.labels == {SNAPSHOT_LABEL: "data"}
    (top / "file").write_text("after")
    (top / "more").touch()
    await place.service.data.restore("data", kept.name)
    assert os.listdir(top) == ["file"]
    assert (top / "file").read_text() == "before"
    assert (place.path(kept.name) / "file").read_text() == "before"
    await place.create("other")
    with pytest.raises(InvalidParameter, match="is no snapshot of it"):
        await place.service.data.restore("other", kept.name)
    await place.service.remove_volume("data", force=False)
    await place.service.data.restore("data", kept.name)
    assert (top / "file").read_text() == "before"


@pytest.mark.parametrize("what", ["cancelled", "failed"])
async def test_a_volume_with_new_files_has_its_event(place: Place, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    top = await place.create("data")
    archive = await place.exported("data")
    (top / "later").touch()
    driver = place.service._drivers["local"]
    begun, go_on = asyncio.Event(), threading.Event()
    loop, exchange = asyncio.get_running_loop(), driver.exchange

    def slow(name: str, staged: Path) -> None:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait(10)
        exchange(name, staged)

    def fail(staged: Path) -> None:
        raise OSError(errno.EIO, "a bad disk")

    monkeypatch.setattr(driver, "exchange", slow)
    if what == "failed":
        monkeypatch.setattr(driver, "discard", fail)
    importing = asyncio.create_task(place.imported("data", archive, replace=True))
    await begun.wait()
    if what == "cancelled":
        importing.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError if what == "cancelled" else OSError):
        await importing
    assert os.listdir(top) == []
    assert [event.Action for event in place.events.between(0, 1 << 62)][-1] == "import"


@pytest.mark.parametrize("step", ["prepare", "exchange", "publish"])
async def test_a_crash_leaves_the_old_or_the_new(place: Place, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    top = await place.create("data")
    (top / "old").touch()
    archive = await place.exported("data")
    driver = place.service._drivers["local"]
    original: Callable[..., object] = getattr(driver, step)

    class Crash(BaseException):
        pass

    def crash(*arguments: object) -> object:
        original(*arguments)
        raise Crash

    monkeypatch.setattr(driver, step, crash)
    name = "new" if step == "publish" else "data"
    (top / "later").touch()
    with pytest.raises(Crash):
        await place.imported(name, archive, replace=True)
    place.state.close()
    place.open()
    files = os.listdir(place.path("data"))
    assert sorted(files) == (["old"] if step == "exchange" else ["later", "old"])
    if step == "publish":  # it was whole before it had its name
        assert os.listdir(place.path("new")) == ["old"]


async def test_what_takes_the_room(place: Place) -> None:
    top = await place.create("data")
    (top / "a" / "deep" / "deeper").mkdir(parents=True)
    (top / "a" / "deep" / "deeper" / "big").write_bytes(bytes(100_000))
    (top / "small").write_bytes(b"1")
    os.link(top / "small", top / "same")
    (top / "out").symlink_to("/etc")
    found = await place.service.data.usage("data", "", 1)
    assert next(one.Path for one in found.Parts) == "a"
    assert {one.Path for one in found.Parts} == {"a", "small", "same", "out"}
    assert (found.Files, found.Size) == (3, 100_001 + len("/etc"))
    below = await place.service.data.usage("data", "a/", 2)
    assert [(one.Path, one.Files, one.Size) for one in below.Parts] == [
        ("deep", 1, 100_000),
        ("deep/deeper", 1, 100_000),
    ]
    for path in ("out", "small", "../..", "none"):
        with pytest.raises(InvalidParameter):
            await place.service.data.usage("data", path, 1)


async def test_a_file_system_that_is_mounted_for_an_export_is_unmounted_after_it(place: Place) -> None:
    await place.service.create(
        VolumeCreate(Name="memory", DriverOpts={"type": "tmpfs", "device": "tmpfs", "o": "size=1m"})
    )
    archives = await asyncio.gather(*(place.exported("memory") for _ in range(3)))
    assert {names(one)[0] for one in archives} == {"."}
    await place.service.mounting.close()
    assert not os.path.ismount(place.path("memory"))
