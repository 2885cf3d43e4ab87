"""Starts of workers that come to nothing: no descriptor and no process is left."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from darse.archive import process
from darse.core import executors


def _held() -> tuple[list[str], list[str]]:
    """The descriptors and the children of this process."""
    tasks = Path("/proc/self/task").iterdir()
    children = [child for task in tasks for child in (task / "children").read_text().split()]
    return sorted(os.listdir("/proc/self/fd")), sorted(children)


@contextlib.contextmanager
def _nothing_left() -> Iterator[None]:
    before = _held()
    yield
    assert _held() == before


async def test_a_host_that_has_no_room_for_a_thread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with _nothing_left():

        def refuse(*_: object) -> None:
            raise BlockingIOError(errno.EAGAIN, "no room")

        monkeypatch.setattr(executors.kernel, "begin", refuse)
        with pytest.raises(BlockingIOError):
            await process.start_pack(tmp_path)


async def test_a_program_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with _nothing_left():
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
        with pytest.raises(FileNotFoundError):
            await process.start_pack(tmp_path)


async def test_who_is_cancelled_while_it_is_started(tmp_path: Path) -> None:
    with _nothing_left():
        starting: asyncio.Task[Any] = asyncio.create_task(process.start_pack(tmp_path))
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting


async def test_who_is_cancelled_twice_while_it_ends(tmp_path: Path) -> None:
    with _nothing_left():
        worker, reading = await process.start_pack(tmp_path)
        os.close(reading)
        ending = asyncio.create_task(worker.end())
        for _ in range(3):
            await asyncio.sleep(0)
            ending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending
        assert worker.returncode is not None


async def test_no_descriptor_is_left_for_the_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with _nothing_left():

        def refuse(*_: object) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        monkeypatch.setattr(os, "pidfd_open", refuse)
        with pytest.raises(OSError, match="Too many open files"):
            await process.start_pack(tmp_path)


async def test_a_worker_is_ended_once_whoever_asks(tmp_path: Path) -> None:
    with _nothing_left():
        worker, reading = await process.start_pack(tmp_path)
        os.close(reading)
        waiting = asyncio.create_task(worker.wait())
        await asyncio.gather(worker.end(), worker.end())
        await waiting
        assert worker.returncode is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid, 0)
            pytest.fail("it is there")
