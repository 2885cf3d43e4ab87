"""Killing what is in a cgroup, on trees of plain files that list processes of the test."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from darse.core.errors import SystemFault
from darse.linux.fs.mounts import MNT_DETACH, mount, unmount
from darse.runtime.cgroups import hierarchies
from darse.runtime.cgroups.hierarchies import Cgroups, Hierarchy
from darse.testing.blocking import on_this_thread


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


@pytest.fixture
def cgroups(tmp_path: Path, child: subprocess.Popen[bytes]) -> Cgroups:
    """One tree with the cgroup /c, in which the child is and stays, as one in uninterruptible sleep would."""
    made = Cgroups()
    made.hierarchies = (Hierarchy(tmp_path, 2, frozenset()),)
    (tmp_path / "c").mkdir()
    (tmp_path / "c/cgroup.procs").write_text(f"{child.pid}\n")
    return made


async def test_the_loop_goes_on_while_processes_are_killed_and_waited_for(
    cgroups: Cgroups, child: subprocess.Popen[bytes]
) -> None:
    ending = asyncio.ensure_future(cgroups.kill_and_wait("/c", 0.2))
    turns = 0
    while not ending.done():
        await asyncio.sleep(0)
        turns += 1
    assert await ending == [child.pid]
    assert turns > 10
    assert child.wait() == -9


async def test_nothing_is_waited_for_when_all_have_left(cgroups: Cgroups, tmp_path: Path) -> None:
    (tmp_path / "c/cgroup.procs").write_text("")
    assert await cgroups.kill_and_wait("/c", 1000) == []
    assert await cgroups.kill_and_wait("/none", 1000) == []


async def test_a_removal_says_which_processes_do_not_end(
    cgroups: Cgroups, child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hierarchies, "_KILL_SECONDS", 0.05)
    with pytest.raises(SystemFault, match=rf"cgroup /c still holds processes that do not end: \[{child.pid}\]"):
        await cgroups.remove_cgroup("/c")


async def test_empty_cgroups_are_removed_with_those_below(cgroups: Cgroups, tmp_path: Path) -> None:
    (tmp_path / "c/cgroup.procs").unlink()
    (tmp_path / "c/below").mkdir()
    await cgroups.remove_cgroup("/c")
    await cgroups.remove_cgroup("/c")
    assert not (tmp_path / "c").exists()


async def test_processes_are_looked_for_and_killed_beside_the_event_loop(
    cgroups: Cgroups, child: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    with on_this_thread(tmp_path) as seen:
        assert await cgroups.kill_and_wait("/c", 0.2) == [child.pid]
    assert seen == []


def test_the_kernel_kills_where_it_can(cgroups: Cgroups, child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    (tmp_path / "c/cgroup.kill").touch()
    assert cgroups.kill("/c") == [child.pid]
    assert (tmp_path / "c/cgroup.kill").read_text() == "1"
    assert child.poll() is None


@pytest.fixture
def unified(tmp_path: Path) -> Iterator[Path]:
    """A cgroup of version 2 of the host's own."""
    top = tmp_path / "unified"
    top.mkdir()
    try:
        mount("cgroup2", str(top), "cgroup2", 0)
    except OSError as error:
        pytest.skip(f"cannot mount cgroup2: {error.strerror}")
    made = top / f"test-{os.getpid()}"
    try:
        made.mkdir()
        yield made
        made.rmdir()
    finally:
        unmount(str(top), MNT_DETACH)


async def test_all_of_a_cgroup_end_at_once(unified: Path) -> None:
    if not (unified / "cgroup.kill").exists():
        pytest.skip("Linux 5.14 kills cgroups")
    cgroups = Cgroups()
    cgroups.hierarchies = (Hierarchy(unified.parent, 2, frozenset()),)
    enter = f"echo 0 >{unified}/cgroup.procs; sleep 1000 & sleep 1000 & sleep 1000 & echo; exec sleep 1000"
    with subprocess.Popen(["sh", "-c", enter], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (unified / "cgroup.freeze").write_text("1")  # that keeps nobody from ending
        reaping = asyncio.create_task(asyncio.to_thread(process.wait))
        assert await cgroups.kill_and_wait(f"/{unified.name}", 10) == []
        assert await reaping == -signal.SIGKILL
