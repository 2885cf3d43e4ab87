"""Changes that the disk refuses, and that are written when it takes them."""

import asyncio

import pytest

from darse.containers.pending_writes import PendingWrites
from darse.core.errors import NoSpace


class Disk:
    """Takes writes unless it is full; `written` is set by the first that it takes."""

    def __init__(self):
        self.full = True
        self.lines = []
        self.written = asyncio.Event()

    def write(self, line):
        if self.full:
            raise NoSpace("no space left on device: /d")
        self.lines.append(line)
        self.written.set()


async def test_a_write_that_is_taken_happens_at_once():
    disk, unsaved = Disk(), PendingWrites()
    disk.full = False
    unsaved.write("c", lambda: disk.write("end"))
    assert disk.lines == ["end"]
    assert not unsaved.waits("c")


async def test_a_refused_write_is_tried_again_and_those_behind_it_keep_their_order():
    disk, unsaved = Disk(), PendingWrites()
    unsaved.write("c", lambda: disk.write("end"))
    disk.full = False
    unsaved.write("c", lambda: disk.write("clean"))
    assert disk.lines == []
    assert unsaved.waits("c")
    async with asyncio.timeout(10):
        await disk.written.wait()
    assert disk.lines == ["end", "clean"]
    assert not unsaved.waits("c")


async def test_the_next_start_is_refused_while_an_end_is_not_on_record():
    disk, unsaved = Disk(), PendingWrites()
    unsaved.write("c", lambda: disk.write("end"))
    with pytest.raises(NoSpace):
        unsaved.settle("c")
    disk.full = False
    unsaved.settle("c")
    assert disk.lines == ["end"]
    unsaved.close()


async def test_closing_tries_a_last_time():
    disk, unsaved = Disk(), PendingWrites()
    unsaved.write("c", lambda: disk.write("end"))
    disk.full = False
    unsaved.close()
    assert disk.lines == ["end"]


async def test_a_removed_container_has_nothing_to_write():
    disk, unsaved = Disk(), PendingWrites()
    unsaved.write("c", lambda: disk.write("end"))
    unsaved.drop_writes("c")
    disk.full = False
    unsaved.close()
    assert disk.lines == []
