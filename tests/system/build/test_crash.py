"""Engines that are killed while they build: the next one leaves nothing of it on the host, and uses what was made."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.builds import Builder, local_engine
from tests.support.leaks import find_leaks, processes_of
from tests.support.waiting import wait_until

from darse.build.solver import OutcomeKind

_STEPS = "FROM builtin/busybox\nRUN echo 1 >/one\nCOPY --from=builtin/busybox /bin/busybox /copied\nRUN echo 2 >/two\n"


@pytest.fixture
def root() -> Iterator[Path]:
    """Roots that outlive engines; nothing may be left on the host at the end."""
    own = Path(tempfile.mkdtemp(prefix="dz-", dir=os.environ.get("DARSE_TEST_ROOT", "/tmp")))
    yield own
    try:
        wait_until(lambda: not find_leaks(own), 10, "a clean host")
    finally:
        subprocess.run(["umount", "-l", str(own / "x")], check=False)
        shutil.rmtree(own)


async def _start(root: Path, dockerfile: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.system.build.engine_process", str(root), dockerfile),
        stdout=asyncio.subprocess.PIPE,
    )


async def _look(root: Path) -> None:
    """The next engine's view: nothing of a build is left but what it has made."""
    async with local_engine(root) as engine:
        builder = Builder(engine)
        dependencies = engine.dependencies
        assert not [path for path in dependencies.files.bundles.iterdir() if path.name.startswith("transient-")]
        assert not [path for path in dependencies.files.containers.iterdir() if path.name.startswith("transient-")]
        assert not list((engine.config.data_root / "snapshots-active").iterdir())
        assert not engine.networks.store.sandboxes
        assert not [one for one in engine.recovery.troubles() if "transient" in one.subject]
        built = await builder.build(_STEPS)
        assert builder.read(built.image, "two") == b"2\n"
        async for message in engine.images.fsck.check([], repair=False):
            assert message.doing == "done" or message.level != "problem", message


async def test_a_step_of_a_killed_engine_is_ended_by_the_next_one(root: Path) -> None:
    process = await _start(root, f"{_STEPS}RUN echo begun; sleep 1000\n")
    assert process.stdout is not None
    assert await process.stdout.readline() == b"begun\n"
    process.kill()
    await process.wait()
    assert list(processes_of(root))
    async with local_engine(root) as engine:
        assert not list(processes_of(root))
        built = await Builder(engine).build(_STEPS)
    assert {one.kind for one in built.outcomes.values()} == {OutcomeKind.CACHED}


async def test_whenever_an_engine_is_killed_the_next_one_builds(root: Path) -> None:
    whole = None
    kills = 0
    for tenths in range(2, 30, 3):
        process = await _start(root, _STEPS.replace("echo 1", f"echo {tenths}"))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), tenths / 10)
            whole = tenths
        if process.returncode is None:
            process.kill()
            await process.wait()
            kills += 1
        await _look(root)
        if whole is not None:
            break
    assert kills
