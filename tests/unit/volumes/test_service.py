from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from darse.core.documents import NewerDocument
from darse.core.errors import Conflict, InvalidParameter, NoSpace, NotFound
from darse.core.events import EventLog
from darse.core.filters import Filters
from darse.core.object_references import ObjectKind, ObjectReference, ObjectReferences
from darse.core.state import State
from darse.engine.engine import SCHEMAS
from darse.plugins import PluginClient
from darse.recovery.orphans import Orphans
from darse.recovery.startup import Recovery
from darse.runtime.oci.mounts import BindMount, TmpfsMount
from darse.volumes import drivers
from darse.volumes.drivers import TRASH
from darse.volumes.model import VolumeRecord
from darse.volumes.mounts import MountPlan, parse_bind, parse_mount
from darse.volumes.service import VolumeService
from darse.wire.host_config import Mount
from darse.wire.volumes import VolumeCreate


class Bench:
    """A service that can be opened again, as after a crash."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.open()

    def open(self, before: Callable[[VolumeService], None] = lambda _: None) -> None:
        self.state = State(self.root / "state.sqlite", SCHEMAS)
        self.events = EventLog(self.state)
        self.service = VolumeService(self.root, self.state, self.events, plugins=PluginClient((), ()))
        before(self.service)
        self.recovery = Recovery(self.root, self.state)
        self.service.open(self.recovery)

    def crash(self, before: Callable[[VolumeService], None] = lambda _: None) -> None:
        self.state.close()
        self.open(before)

    def use(self, container_id: str, *volumes: str) -> None:
        """Have a container use these volumes, and no others."""
        used = [ObjectReference(ObjectKind.VOLUME, name) for name in volumes]
        ObjectReferences(self.state).replace_references(container_id, used, running=False)

    async def names(self, **filters: str) -> list[str]:
        listed = await self.service.list_volumes(Filters({key: [one] for key, one in filters.items()}))
        return [volume.Name for volume in listed.Volumes]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.state.close()


async def test_create_is_idempotent_and_shows_what_was_asked(bench: Bench) -> None:
    volume = await bench.service.create(VolumeCreate("data", Labels={"a": "1"}))
    assert (volume.Name, volume.Driver, volume.Labels, volume.Scope) == ("data", "local", {"a": "1"}, "local")
    assert volume.Mountpoint == str(bench.root / "volumes/data/_data")
    (Path(volume.Mountpoint) / "file").write_text("x")
    again = await bench.service.create(VolumeCreate("data", Labels={"b": "2"}))
    assert again == volume
    assert (Path(volume.Mountpoint) / "file").exists()


async def test_without_a_name_it_is_anonymous(bench: Bench) -> None:
    volume = await bench.service.create(VolumeCreate())
    assert len(volume.Name) == 64
    assert volume.Labels == {"com.docker.volume.anonymous": ""}


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        (VolumeCreate("../x"), InvalidParameter, 'create ../x: "../x" includes invalid characters for a local volume'),
        (VolumeCreate("x" * 300), InvalidParameter, "longer than 255"),
        (VolumeCreate("vol", "nix"), NotFound, 'error looking up volume plugin nix: plugin "nix" not found'),
        (VolumeCreate("pool/vol", "nix"), NotFound, "create pool/vol: error looking up volume plugin nix"),
        (VolumeCreate("pool/vol"), InvalidParameter, "includes invalid characters for a local volume name"),
        (VolumeCreate("vol", DriverOpts={"a": "b"}), InvalidParameter, 'create vol: invalid option: "a"'),
        (VolumeCreate("vol", ClusterVolumeSpec={"x": 1}), InvalidParameter, "swarm"),
    ],
)
async def test_create_refused(bench: Bench, request_: VolumeCreate, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        await bench.service.create(request_)
    assert message in str(raised.value)
    assert await bench.names() == []
    assert [path.name for path in (bench.root / "volumes").iterdir()] == [TRASH]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "./a:/b",
            'create ./a: "./a" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path',
        ),
        ("v:/b", "create v: volume name is too short, names should be at least two alphanumeric characters"),
    ],
)
async def test_names_that_the_local_driver_refuses(bench: Bench, text: str, message: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        await bench.service.ensure_volumes([parse_bind(text)])
    assert str(raised.value) == message
    assert await bench.names() == []


async def test_a_name_belongs_to_one_driver(bench: Bench) -> None:
    await bench.service.create(VolumeCreate("data"))
    with pytest.raises(Conflict, match="volume name must be unique"):
        await bench.service.create(VolumeCreate("data", "nfs"))


async def test_remove(bench: Bench) -> None:
    await bench.service.create(VolumeCreate("data"))
    bench.use("c1", "data")
    bench.use("c2", "data")
    with pytest.raises(Conflict) as raised:
        await bench.service.remove_volume("data", force=True)
    assert str(raised.value) == "remove data: volume is in use - [c1, c2]"
    bench.use("c1")
    bench.use("c2")
    await bench.service.remove_volume("data", force=False)
    assert not (bench.root / "volumes/data").exists()
    with pytest.raises(NotFound, match=r"^get data: no such volume$"):
        await bench.service.remove_volume("data", force=False)
    await bench.service.remove_volume("data", force=True)
    with pytest.raises(NotFound, match=r"^get data: no such volume$"):
        await bench.service.inspect("data")


async def test_filters(bench: Bench) -> None:
    await bench.service.create(VolumeCreate("alpha", Labels={"env": "prod", "x": ""}))
    await bench.service.create(VolumeCreate("beta", Labels={"env": "test"}))
    bench.use("c1", "beta")
    assert await bench.names() == ["alpha", "beta"]
    assert await bench.names(name="alp") == ["alpha"]
    assert await bench.names(label="env") == ["alpha", "beta"]
    assert await bench.names(label="env=test") == ["beta"]
    assert await bench.names(dangling="true") == ["alpha"]
    assert await bench.names(dangling="false") == ["beta"]
    assert await bench.names(driver="local") == ["alpha", "beta"]
    assert await bench.names(driver="nfs") == []


async def test_prune_takes_anonymous_volumes_and_with_all_every_unused_one(bench: Bench) -> None:
    anonymous = (await bench.service.create(VolumeCreate())).Name
    await bench.service.create(VolumeCreate("named"))
    await bench.service.create(VolumeCreate("used"))
    bench.use("c1", "used")
    (bench.root / "volumes" / anonymous / "_data/file").write_bytes(b"x" * 7)
    pruned = await bench.service.prune(Filters())
    assert (pruned.VolumesDeleted, pruned.SpaceReclaimed) == ([anonymous], 7)
    pruned = await bench.service.prune(Filters({"all": ["true"]}))
    assert pruned.VolumesDeleted == ["named"]
    assert await bench.names() == ["used"]


async def test_a_container_s_volumes_are_made_and_named(bench: Bench) -> None:
    await bench.service.create(VolumeCreate("old"))
    plans = [parse_bind("old:/a"), parse_bind("new:/b"), parse_mount(Mount("/c", "", "volume")), parse_bind("/h:/d")]
    await bench.service.ensure_volumes(plans)
    assert [plan.name for plan in plans[:2]] == ["old", "new"]
    assert plans[1].source == str(bench.root / "volumes/new/_data")
    assert (await bench.service.inspect(plans[2].name)).Labels == {"com.docker.volume.anonymous": ""}
    assert (await bench.service.inspect("new")).Labels is None
    await bench.service.delete_volume_data(bench.service.discard_anonymous(plans))
    assert await bench.names() == ["new", "old"]


async def test_a_discarded_volume_takes_nothing_of_the_next_one_of_its_name(bench: Bench) -> None:
    old = await bench.service.create(VolumeCreate())
    (Path(old.Mountpoint) / "old").touch()
    discarded = bench.service.discard_anonymous(
        [MountPlan(type="volume", destination="/a", name=old.Name, anonymous=True)]
    )
    new = await bench.service.create(VolumeCreate(old.Name))
    assert list(Path(new.Mountpoint).iterdir()) == []
    (Path(new.Mountpoint) / "new").touch()
    await bench.service.delete_volume_data(discarded)
    assert [path.name for path in Path(new.Mountpoint).iterdir()] == ["new"]


async def test_restart_keeps_volumes_and_sweeps_what_was_being_removed(bench: Bench) -> None:
    for name in ("data", "gone"):
        await bench.service.create(VolumeCreate(name))
        (bench.root / f"volumes/{name}/_data/file").write_text("x")
    (bench.root / "volumes/.removed-1234/_data").mkdir(parents=True)
    with bench.state.transaction() as connection:  # the first half of a removal
        connection.execute("DELETE FROM volumes WHERE name = 'gone'")
    bench.crash()
    assert await bench.names() == ["data"]
    assert [path.name for path in (bench.root / "volumes").iterdir() if path.name != TRASH] == ["data"]
    assert (bench.root / "volumes/data/_data/file").exists()


async def test_a_volume_whose_directory_the_power_has_taken_is_there_and_empty(bench: Bench) -> None:
    await bench.service.create(VolumeCreate("data"))
    (record,) = bench.service.records
    record.owners = "100000:100000:65536"
    bench.service.mounting.save(record)
    shutil.rmtree(bench.root / "volumes/data")
    bench.crash()
    assert await bench.names() == ["data"]
    assert list((bench.root / "volumes/data/_data").iterdir()) == []
    bench.crash()
    (record,) = bench.service.records
    assert record.owners == "", "the new directory is root's until a container is to have it"


async def test_a_directory_without_a_record_is_a_volume_again(bench: Bench) -> None:
    (bench.root / "volumes/found/_data").mkdir(parents=True)
    (bench.root / "volumes/found/_data/file").write_text("x")
    (bench.root / "volumes/labelled/_data").mkdir(parents=True)
    copy = bench.root / "records/volumes/labelled.json"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(msgspec.json.encode(VolumeRecord("labelled", "local", {}, {"a": "1"}, 7)))
    (bench.root / "volumes/unlikely/other").mkdir(parents=True)
    (bench.root / "volumes/begun").mkdir()
    bench.crash()
    assert await bench.names() == ["found", "labelled"]
    assert (await bench.service.inspect("labelled")).Labels == {"a": "1"}
    assert (bench.root / "volumes/found/_data/file").read_text() == "x"
    assert not (bench.root / "volumes/begun").exists(), "it holds nothing: a creation that was cut short"
    (orphan,) = Orphans(bench.root).all()
    assert (orphan.kind, orphan.name, Path(orphan.path).is_dir()) == ("volumes", "unlikely", True)


async def test_a_damaged_record_keeps_only_its_volume_down(bench: Bench) -> None:
    for name in ("data", "hurt"):
        await bench.service.create(VolumeCreate(name))
        (bench.root / f"volumes/{name}/_data/file").write_text("x")
    with bench.state.transaction() as connection:
        connection.execute("UPDATE volumes SET document = ? WHERE name = 'hurt'", (b"\xffgarbage",))
    bench.crash()
    assert await bench.names() == ["data"]
    assert bench.state.damaged_in("volumes") == {"hurt"}
    assert (bench.root / "volumes/hurt/_data/file").read_text() == "x"
    with pytest.raises(Conflict, match="record of this volume is damaged"):
        await bench.service.create(VolumeCreate("hurt"))


@pytest.mark.parametrize("is_stray", [False, True])
async def test_no_volume_is_removed_while_a_container_s_record_is_damaged_or_lost(
    bench: Bench, *, is_stray: bool
) -> None:
    await bench.service.create(VolumeCreate("data"))
    plans = [MountPlan(type="volume", destination="/a", anonymous=True)]
    await bench.service.ensure_volumes(plans)
    if is_stray:
        bench.recovery.strays = {"c1"}
    else:
        bench.state.is_damaged("containers", "c1", "cut off")
    for removal in (bench.service.remove_volume("data", force=False), bench.service.remove_volume("data", force=True)):
        with pytest.raises(Conflict, match=r"^remove data: the record of a container is damaged or lost"):
            await removal
    with pytest.raises(Conflict, match="record of a container is damaged or lost"):
        await bench.service.prune(Filters({"all": ["true"]}))
    assert bench.service.discard_anonymous(plans) == [], "c1 may have it by --volumes-from"
    assert len(await bench.names()) == 2
    assert await bench.names(dangling="true") == []


async def test_a_container_s_record_of_a_newer_engine_keeps_every_volume_too(bench: Bench) -> None:
    await bench.service.create(VolumeCreate("data"))
    bench.state.is_damaged("containers", "c1", NewerDocument("was written by a newer darse"))
    with pytest.raises(
        Conflict, match=r"^remove data: the record of a container was written by a newer .*upgrade darse$"
    ):
        await bench.service.remove_volume("data", force=True)


async def test_anonymous_volumes_of_an_unfinished_create_go_at_start(bench: Bench) -> None:
    plans = [MountPlan(type="volume", destination="/a", anonymous=True), parse_bind("named:/b")]
    await bench.service.ensure_volumes(plans)
    bench.crash(lambda service: service.discard_anonymous(plans))
    assert await bench.names() == ["named"]
    assert [path.name for path in (bench.root / "volumes").iterdir() if path.name != TRASH] == ["named"]


async def test_ready_mounts_say_what_the_spec_needs(bench: Bench, tmp_path: Path) -> None:
    service = bench.service
    plan, memory = parse_bind("data:/a:ro"), parse_mount(Mount("/t", "", "tmpfs"))
    await service.ensure_volumes([plan])
    begun: list[MountPlan] = []
    mount, other = await service.mounting.prepare_mounts([plan, memory], "c1", begun)
    assert begun == [plan, memory]
    assert isinstance(mount, BindMount)
    assert (mount.source, mount.writable, mount.propagation) == (plan.source, False, "rprivate")
    assert other == TmpfsMount("/t", ["noexec", "nosuid", "nodev", "rprivate"])
    missing = tmp_path / "made/on/demand"
    await service.mounting.prepare_mounts([parse_bind(f"{missing}:/x")], "c1", [])
    assert missing.is_dir()
    begun, absent = [], parse_mount(Mount("/x", "/no/such", "bind"))
    with pytest.raises(InvalidParameter, match="bind source path does not exist: /no/such"):
        await service.mounting.prepare_mounts([plan, absent, memory], "c1", begun)
    assert begun == [plan, absent]
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidParameter, match=r"error while creating mount source path '.*/file/below': mkdir .*"):
        await service.mounting.prepare_mounts([parse_bind(f"{tmp_path}/file/below:/x")], "c1", [])


def _anonymous(count: int) -> list[MountPlan]:
    return [
        MountPlan(type="volume", destination=f"/v{number}", driver="local", anonymous=True) for number in range(count)
    ]


async def test_many_anonymous_volumes_take_few_transactions(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of its own each, with its flushes, made the creation of a container with a thousand take 12 s."""
    depth, outermost = 0, 0
    transaction = bench.state.transaction

    @contextmanager
    def counted(*, durable: bool = True) -> Iterator[sqlite3.Connection]:
        nonlocal depth, outermost
        outermost += not depth
        depth += 1
        with transaction(durable=durable) as connection:
            yield connection
        depth -= 1

    monkeypatch.setattr(bench.state, "transaction", counted)
    plans = _anonymous(250)
    await bench.service.ensure_volumes(plans)
    assert outermost <= 3
    assert sorted(await bench.names()) == sorted(plan.name for plan in plans)
    assert all(Path(plan.source).is_dir() for plan in plans)
    assert (await bench.service.inspect(plans[0].name)).Labels == {"com.docker.volume.anonymous": ""}
    bench.crash()
    assert len(await bench.names()) == 250


async def test_of_volumes_that_cannot_all_be_made_none_is_left(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(drivers, "sync_directory", full)
    with pytest.raises(NoSpace):
        await bench.service.ensure_volumes(_anonymous(3))
    assert await bench.names() == []
    assert [path.name for path in (bench.root / "volumes").iterdir()] == [TRASH]


async def test_an_empty_volume_is_removed_without_waiting_for_the_disk(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The power may bring it back: as it was, with nothing in it. One with data is deleted only after a flush."""
    await bench.service.create(VolumeCreate("empty", Labels={"a": "1"}))
    full = await bench.service.create(VolumeCreate("full"))
    (Path(full.Mountpoint) / "file").write_text("x")
    await bench.state.flush()
    before = {path: path.read_bytes() for path in bench.root.glob("state.sqlite*")}
    flushed: list[bool] = []
    monkeypatch.setattr(os, "fdatasync", lambda _: flushed.append(Path(full.Mountpoint, "file").exists()))
    await bench.service.remove_volume("empty", force=False)
    await bench.state.flush()
    assert flushed == []
    assert not (bench.root / "volumes/empty").exists()
    await bench.service.remove_volume("full", force=False)
    assert flushed == [True]
    bench.state.close()
    for path, content in before.items():
        path.write_bytes(content)
    (bench.root / "volumes/full/_data").mkdir(parents=True)
    bench.open()
    found = await bench.service.inspect("empty")
    assert found.Labels == {"a": "1"}
    assert list(Path(found.Mountpoint).iterdir()) == []
