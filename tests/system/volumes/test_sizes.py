"""`-o size=` of the local driver, on an ext4 with project quotas, and where there are none."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.disk import small_disk
from tests.support.engine import BUSYBOX, Done, Engine

from darse.linux.fs import project_quotas

_MIB = 1 << 20


@pytest.fixture(scope="module")
def sized() -> Iterator[Engine]:
    """An engine whose data root is on a file system with project quotas."""
    place = Path(tempfile.mkdtemp(prefix="dz-quota-", dir="/tmp"))
    try:
        lacking = "project quotas of ext4 in this kernel (CONFIG_QUOTA, CONFIG_QFMT_V2)"
        with small_disk(place, 256, "-O", "quota,project", mounted="prjquota", lacking=lacking):
            engine = Engine.start(root=place)
            try:
                yield engine
            finally:
                engine.close()
    finally:
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def emptied(sized: Engine) -> Iterator[Engine]:
    """The same without any volume, before and after."""
    yield sized
    sized.remove_all()


def _project(engine: Engine, volume: str) -> int:
    descriptor = os.open(engine.data_root / "volumes" / volume / "_data", os.O_RDONLY)
    try:
        return project_quotas.project_of(descriptor)
    finally:
        os.close(descriptor)


def _limit(engine: Engine, project: int) -> int:
    descriptor = os.open(engine.data_root, os.O_RDONLY)
    try:
        return project_quotas.quota_of(descriptor, project).limit
    finally:
        os.close(descriptor)


def _written(engine: Engine, volume: str, kibibytes: int) -> Done:
    """A container that writes a file into a volume, and leaves it there."""
    command = ("dd", "if=/dev/zero", f"of=/v/file{kibibytes}", "bs=1k", f"count={kibibytes}")
    return engine.docker("run", "--rm", "-v", f"{volume}:/v", BUSYBOX, *command)


def _archive(size: int) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        folder = tarfile.TarInfo("tree")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(folder)
        member = tarfile.TarInfo("tree/large")
        member.size = size
        archive.addfile(member, io.BytesIO(os.urandom(size)))
    return made.getvalue()


def test_a_volume_takes_no_more_than_its_size(emptied: Engine) -> None:
    """After a restart, after a kill, and without its record, too."""
    engine = emptied
    engine.docker("volume", "create", "-o", "size=4m", "one").ok()
    engine.docker("volume", "create", "-o", "size=4m", "two").ok()
    assert engine.api("GET", "/volumes/one").json()["Options"] == {"size": "4m"}
    one, two = _project(engine, "one"), _project(engine, "two")
    assert len({0, one, two}) == 3
    _written(engine, "one", 3000).ok()
    assert "Disk quota exceeded" in _written(engine, "one", 4000).err
    _written(engine, "two", 3000).ok()
    shown = engine.docker("run", "--rm", "-v", "one:/v", BUSYBOX, "df", "-k", "/v").ok().out
    assert shown.splitlines()[-1].split()[1] == "4096"
    engine.kill9()
    engine.up()
    assert _project(engine, "one") == one
    assert "Disk quota exceeded" in _written(engine, "one", 4001).err
    usage = engine.api("GET", "/system/df?type=volume").json()["Volumes"]
    size = next(volume["UsageData"]["Size"] for volume in usage if volume["Name"] == "one")
    assert 3 * _MIB < size <= 4 * _MIB
    engine.docker("volume", "rm", "one", "two").ok()
    assert (_limit(engine, one), _limit(engine, two)) == (0, 0)


def test_a_rebuild_finds_sizes_at_the_directories(emptied: Engine) -> None:
    engine = emptied
    engine.docker("volume", "create", "-o", "size=4m", "one").ok()
    engine.stop()
    for file in engine.data_root.glob("*.sqlite*"):
        file.unlink()
    roots = ("--data-root", str(engine.data_root), "--exec-root", str(engine.exec_root))
    engine.darse("system", "check", "--rebuild", *roots).ok()
    engine.up()
    assert engine.api("GET", "/volumes/one").json()["Options"] in ({"size": "4m"}, {"size": str(4 * _MIB)})
    assert "Disk quota exceeded" in _written(engine, "one", 5000).err


def test_what_the_engine_writes_counts_too(emptied: Engine) -> None:
    """Copy-up, `docker cp` and an import in place of the files; one that fails leaves what was there."""
    engine = emptied
    engine.docker("import", "-", "large", input=_archive(3 * _MIB)).ok()
    for name in ("small", "large"):
        engine.docker("volume", "create", "-o", f"size={'2m' if name == 'small' else '4m'}", name).ok()
    refused = engine.docker("create", "-v", "small:/tree", "large", "true")
    assert "disk quota exceeded" in refused.err
    assert list((engine.data_root / "volumes/small").iterdir()) == [engine.data_root / "volumes/small/_data"]
    _written(engine, "small", 1500).ok()
    engine.docker("create", "--name", "user", "-v", "large:/tree", "large", "true").ok()
    assert (engine.data_root / "volumes/large/_data/large").stat().st_size == 3 * _MIB
    copied = engine.docker("cp", "-", "user:/tree", input=_archive(3 * _MIB))
    assert "disk quota exceeded" in copied.err.lower()
    replaced = engine.darse("volume", "import", "--replace", "small", "-", input=_archive(3 * _MIB))
    assert "disk quota exceeded" in replaced.err
    assert (engine.data_root / "volumes/small/_data/file1500").exists()
    engine.darse("volume", "import", "--replace", "small", "-", input=_archive(_MIB)).ok()
    assert "Disk quota exceeded" in _written(engine, "small", 1400).err


def test_copies_are_as_large_and_count_by_themselves(emptied: Engine) -> None:
    engine = emptied
    engine.docker("volume", "create", "-o", "size=4m", "one").ok()
    _written(engine, "one", 3000).ok()
    engine.darse("volume", "clone", "one", "two").ok()
    engine.darse("volume", "snapshot", "one", "shot").ok()
    projects = {_project(engine, name) for name in ("one", "two", "shot")}
    assert len(projects - {0}) == 3
    assert "Disk quota exceeded" in _written(engine, "two", 2000).err
    engine.darse("volume", "restore", "one", "shot").ok()
    assert "Disk quota exceeded" in _written(engine, "one", 2000).err
    assert engine.api("GET", "/volumes/two").json()["Options"] == {"size": "4m"}
    projects |= {_project(engine, name) for name in ("one", "two", "shot")}
    engine.docker("volume", "rm", "one", "two", "shot").ok()
    assert {_limit(engine, project) for project in projects} == {0}


def test_root_of_a_container_passes_its_size_no_more_than_anybody(emptied: Engine) -> None:
    """It would take CAP_SYS_RESOURCE, which containers get only when they are given it."""
    engine = emptied
    engine.docker("volume", "create", "-o", "size=2m", "one").ok()
    shown = engine.docker("run", "--rm", "-v", "one:/v", BUSYBOX, "grep", "CapEff", "/proc/self/status").ok().line
    assert not int(shown.split()[1], 16) & 1 << 24
    assert "Disk quota exceeded" in _written(engine, "one", 3000).err


def test_without_quotas_a_size_is_refused_in_dockers_words(engine: Engine) -> None:
    descriptor = os.open(engine.data_root, os.O_RDONLY)
    try:
        if project_quotas.are_enforced(descriptor):
            pytest.skip("the engine's data root has project quotas")
    finally:
        os.close(descriptor)
    refused = engine.docker("volume", "create", "-o", "size=100m", "one")
    assert "quota size requested but no quota support" in refused.err
    assert engine.docker("volume", "ls", "-q").ok().out == ""
    engine.docker("volume", "create", "-o", "size=0", "unlimited").ok()
    assert "invalid size: 'much'" in engine.docker("volume", "create", "-o", "size=much", "one").err
