"""Which process a container's signals go to, and what becomes of pauses that something comes in between of."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from pathlib import Path
from unittest import mock

import pytest

from darse.containers.lifecycle.control import _signal
from darse.containers.model import Purpose, Status
from darse.core.errors import Conflict
from darse.linux.fs.mounts import NamespaceThreads
from darse.runtime.monitor.launch import Conmon
from darse.testing.clock import in_fake_time
from darse.testing.room import ContainerRoom, container_room


def test_a_process_that_has_ended_is_not_held() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
        assert Conmon(NamespaceThreads(1)).hold_child(process.pid, os.getpid()) is None


def test_a_process_of_another_parent_is_not_held() -> None:
    with subprocess.Popen(["sleep", "100"]) as process:
        assert Conmon(NamespaceThreads(1)).hold_child(process.pid, os.getpid() + 1) is None
        process.kill()


def test_a_signal_goes_to_the_process_that_was_held_and_to_no_later_run() -> None:
    with subprocess.Popen(["sleep", "100"]) as first, subprocess.Popen(["sleep", "100"]) as second:
        process = Conmon(NamespaceThreads(1)).hold_child(first.pid, os.getpid())
        assert process is not None
        first.kill()
        first.wait()
        _signal(process, signal.SIGKILL)
        process.close()
        assert second.poll() is None
        second.kill()


class _SlowFreeze:
    """Freezes when the test says so."""

    def __init__(self, room: ContainerRoom) -> None:
        self._loop, self._freeze = asyncio.get_running_loop(), room.cgroups.freeze
        self.begun, self.go_on = asyncio.Event(), threading.Event()

    def __call__(self, path: str, frozen: bool) -> None:
        self._loop.call_soon_threadsafe(self.begun.set)
        assert self.go_on.wait(10)
        self._freeze(path, frozen)


@in_fake_time
async def test_a_container_whose_end_begins_while_it_is_frozen_is_not_paused(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        web = room.add()
        await room.service.start("web")
        slow = _SlowFreeze(room)
        with mock.patch.object(room.cgroups, "freeze", slow):
            pausing = asyncio.create_task(room.service.pause("web"))
            await slow.begun.wait()
            with web.under_way(Purpose.ENDING):
                slow.go_on.set()
                with pytest.raises(Conflict, match="is being stopped or killed"):
                    await pausing
        assert web.state.status is Status.RUNNING
        assert not room.host.containers[web.id].frozen


@in_fake_time
async def test_a_pause_that_nobody_waits_for_any_more_is_on_record(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        web = room.add()
        await room.service.start("web")
        slow = _SlowFreeze(room)
        with mock.patch.object(room.cgroups, "freeze", slow):
            pausing = asyncio.create_task(room.service.pause("web"))
            await slow.begun.wait()
            pausing.cancel()
            slow.go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await pausing
        assert room.host.containers[web.id].frozen
        assert web.state.status is Status.PAUSED
        assert room.events.between(0, 1 << 62)[-1].Action == "pause"
