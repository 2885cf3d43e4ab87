"""Volumes with a size: their projects, found again, freed and kept through copies."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from darse.core.errors import InvalidParameter, SystemFault
from darse.core.events import EventLog
from darse.core.state import State
from darse.engine.engine import SCHEMAS
from darse.linux.fs.project_quotas import Quota
from darse.plugins import PluginClient
from darse.recovery.startup import Recovery
from darse.volumes import quotas
from darse.volumes.drivers import LocalDriver
from darse.volumes.quotas import VolumeQuotas
from darse.volumes.service import VolumeService
from darse.wire.volumes import VolumeCreate
from tests.unit.volumes.fake_quotas import FakeQuotas

MIB = 1 << 20
SIZE = {"size": "1m"}


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> FakeQuotas:
    return FakeQuotas(monkeypatch)


@pytest.fixture
def driver(tmp_path: Path, kernel: FakeQuotas) -> LocalDriver:
    made = LocalDriver(tmp_path)
    made.open()
    return made


def test_a_volume_with_a_size_is_a_project_of_its_own(driver: LocalDriver, kernel: FakeQuotas, tmp_path: Path) -> None:
    driver.create("one", options=SIZE)
    driver.create("two", options={"size": "1.5k"})
    driver.create("three", options={"size": "0"})
    one, two = kernel.of(tmp_path / "one"), kernel.of(tmp_path / "two")
    assert one[1]
    assert two[1]
    assert kernel.of(tmp_path / "one/_data") == one
    assert kernel.of(tmp_path / "three") == (0, False)
    assert kernel.limits == {one[0]: MIB, two[0]: 1536}
    assert min(kernel.limits) >= 1 << 30, "small numbers are those of people"


def test_it_is_the_same_project_for_ever(driver: LocalDriver, kernel: FakeQuotas, tmp_path: Path) -> None:
    driver.create("one", options=SIZE)
    project, _ = kernel.of(tmp_path / "one")
    again = LocalDriver(tmp_path)
    again.create("one", options=SIZE)
    again.mount("one", SIZE)
    assert kernel.limits == {project: MIB}
    kernel.limits.clear()  # quotacheck(8) of a damaged file system
    again.mount("one", SIZE)
    assert kernel.limits == {project: MIB}
    assert again.size("one") == MIB
    assert again.size("two") == 0


def test_what_is_in_a_directory_already_counts(driver: LocalDriver, kernel: FakeQuotas, tmp_path: Path) -> None:
    deep = tmp_path / "one/_data/deep"
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")
    (deep / "link").symlink_to("/etc/passwd")
    os.mkfifo(deep / "pipe")
    driver.mount("one", SIZE)
    project, _ = kernel.of(tmp_path / "one")
    assert project
    assert kernel.of(deep) == (project, True)
    assert kernel.of(deep / "file") == (project, False)
    assert len(kernel.projects) == 4


def test_a_number_that_others_have_is_not_taken(
    driver: LocalDriver, kernel: FakeQuotas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter([1, 2, 3, 4])
    monkeypatch.setattr(quotas.secrets, "randbelow", lambda _: next(drawn))
    first = 1 << 30
    kernel.beside = {first + 1: Quota(0, 0, 7), first + 2: Quota(5, 0, 0)}
    driver.create("one", options=SIZE)
    assert kernel.of(tmp_path / "one") == (first + 3, True)


def test_a_removal_frees_the_number(driver: LocalDriver, kernel: FakeQuotas) -> None:
    for name in ("empty", "full"):
        driver.create(name, options=SIZE)
    (driver.path("full") / "file").write_text("x")
    assert len(kernel.limits) == 2
    assert driver.remove("empty") is None
    assert driver.remove("full") is not None
    assert kernel.limits == {}
    driver.create("undone", options=SIZE)
    driver.take_back("undone")
    assert kernel.limits == {}


def test_what_a_crash_leaves_in_the_trash_has_no_limit(driver: LocalDriver, kernel: FakeQuotas, tmp_path: Path) -> None:
    staged = driver.trash.directory / "staged-1"
    staged.mkdir()
    driver.prepare(staged, SIZE)
    assert len(kernel.limits) == 1
    LocalDriver(tmp_path).open()
    assert kernel.limits == {}


def test_without_quotas_a_size_is_refused_in_dockers_words(driver: LocalDriver, kernel: FakeQuotas) -> None:
    kernel.is_enforced = False
    with pytest.raises(InvalidParameter, match=r"\Aquota size requested but no quota support\Z"):
        driver.check(SIZE)
    driver.check({"size": "0"})
    driver.create("one")
    with pytest.raises(SystemFault, match="size quota requested for volume but no quota support"):
        driver.mount("one", SIZE)


def test_a_directory_that_is_in_a_project_has_no_room_for_others(kernel: FakeQuotas, tmp_path: Path) -> None:
    """An administrator has given the data root a quota: every volume would be in that project, and change its limit."""
    kernel.projects[tmp_path.stat().st_dev, tmp_path.stat().st_ino] = (5, True)
    assert not VolumeQuotas(tmp_path).enforced
    assert VolumeQuotas(tmp_path).project(tmp_path) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": "much"}, "invalid size: 'much'"),
        ({"size": "-1"}, "invalid size: '-1'"),
        ({"size": ""}, "invalid size: ''"),
        ({"size": "999999999999999999p"}, "invalid size: .* more than a file system has"),
        ({"size": "1g", "type": "tmpfs"}, 'missing required option: "device"'),
        ({"size": "1g", "type": "tmpfs", "device": "tmpfs"}, 'option "size" is of a directory'),
    ],
)
def test_sizes_that_are_none(driver: LocalDriver, options: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        driver.check(options)


class Place:
    """A service that can be opened again, as after a crash."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.open()

    def open(self) -> None:
        self.state = State(self.root / "state.sqlite", SCHEMAS)
        self.service = VolumeService(self.root, self.state, EventLog(self.state), plugins=PluginClient((), ()))
        self.service.open(Recovery(self.root, self.state))

    def path(self, name: str) -> Path:
        return self.root / "volumes" / name / "_data"

    async def options(self, name: str) -> dict[str, str] | None:
        return (await self.service.inspect(name)).Options


@pytest.fixture
def place(tmp_path: Path, kernel: FakeQuotas) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.state.close()


async def test_copies_have_the_size_and_projects_of_their_own(place: Place, kernel: FakeQuotas) -> None:
    created = await place.service.create(VolumeCreate("one", DriverOpts=SIZE))
    assert created.Options == SIZE
    (place.path("one") / "file").write_text("old")
    await place.service.data.clone("one", "two", {})
    await place.service.data.snapshot("one", "shot")
    assert len(kernel.limits) == 3
    assert set(kernel.limits.values()) == {MIB}
    (place.path("one") / "file").write_text("new")
    await place.service.data.restore("one", "shot")
    assert (place.path("one") / "file").read_text() == "old"
    assert len(kernel.limits) == 3, "that of the data before is free"
    assert kernel.of(place.path("one").parent)[0] in kernel.limits
    await place.service.remove_volume("one", force=False)
    await place.service.data.restore("one", "shot")
    assert [await place.options(name) for name in ("one", "two", "shot")] == [SIZE] * 3
    for name in ("one", "two", "shot"):
        await place.service.remove_volume(name, force=False)
    assert kernel.limits == {}


async def test_an_archive_in_place_of_its_files_has_its_size(place: Place, kernel: FakeQuotas) -> None:
    await place.service.create(VolumeCreate("one", DriverOpts=SIZE))
    before = kernel.of(place.path("one").parent)
    await place.service.data.import_archive("one", _archive(), {}, replace=True)
    after = kernel.of(place.path("one").parent)
    assert (place.path("one") / "file").read_text() == "x"
    assert after != before
    assert kernel.limits == {after[0]: MIB}


async def test_an_archive_that_is_none_leaves_no_project(place: Place, kernel: FakeQuotas) -> None:
    await place.service.create(VolumeCreate("one", DriverOpts=SIZE))
    before = dict(kernel.limits)

    async def broken() -> AsyncIterator[bytes]:
        yield b"no archive" * 1000

    with pytest.raises(InvalidParameter):
        await place.service.data.import_archive("one", broken(), {}, replace=True)
    assert kernel.limits == before


async def test_a_volume_whose_row_is_lost_is_found_with_its_size(place: Place, kernel: FakeQuotas) -> None:
    await place.service.create(VolumeCreate("one", DriverOpts=SIZE))
    place.state.close()
    (place.root / "state.sqlite").unlink()
    place.open()
    assert await place.options("one") == {"size": str(MIB)}
    assert set(kernel.limits.values()) == {MIB}


async def _archive() -> AsyncIterator[bytes]:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        member = tarfile.TarInfo("file")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    yield made.getvalue()
