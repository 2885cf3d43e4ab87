"""Waiting on descriptors: everybody hears, also of a close, and nobody touches a number that is another's by now."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

import darse
from darse.linux.descriptors import DescriptorClosed, FileDescriptor, open_in_thread
from darse.linux.proc.process import Process

# The command imports nothing of the engine; this one waits on one descriptor, which it closes itself.
_OF_THE_COMMAND = {"cli/commands/compose/watching/file_changes.py", "cli/terminal/shortcuts.py"}
_REGISTRATIONS = {"add_reader", "add_writer", "remove_reader", "remove_writer"}
# These take a socket of which the loop keeps the number, as long as the call lasts.
_SOCKET_CALLS = {"sock_recv", "sock_recv_into", "sock_recvfrom", "sock_sendall", "sock_sendto", "sock_accept"}


def _run(test: Callable[[], Coroutine[None, None, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(5):
            await test()

    asyncio.run(bounded())


async def _begun(*waits: Coroutine[None, None, None]) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(wait) for wait in waits]
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    return tasks


def test_several_who_wait_all_hear() -> None:
    async def test() -> None:
        reading, writing = os.pipe()
        descriptor = FileDescriptor(reading)
        tasks = await _begun(*(descriptor.readable() for _ in range(3)))
        os.write(writing, b"x")
        await asyncio.gather(*tasks)
        descriptor.close()
        os.close(writing)

    _run(test)


def test_closing_wakes_who_waits_with_an_error() -> None:
    async def test() -> None:
        empty_reading, empty_writing = os.pipe()
        full_reading, full_writing = os.pipe()
        os.set_blocking(full_writing, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(full_writing, bytes(65536))
        empty, full = FileDescriptor(empty_reading), FileDescriptor(full_writing)
        tasks = await _begun(empty.readable(), full.writable())
        empty.close()
        full.close()
        for task in tasks:
            with pytest.raises(DescriptorClosed):
                await task
        os.close(empty_writing)
        os.close(full_reading)

    _run(test)


def test_a_closed_number_that_is_given_out_again_is_left_alone() -> None:
    """The wait of the first must not end the registration of the second, which has its number."""

    async def test() -> None:
        first_reading, first_writing = os.pipe()
        first = FileDescriptor(first_reading)
        (waiting,) = await _begun(first.readable())
        first.close()
        second_reading, second_writing = os.pipe()
        assert second_reading == first_reading
        second = FileDescriptor(second_reading)
        (other,) = await _begun(second.readable())
        with pytest.raises(DescriptorClosed):
            await waiting
        os.write(second_writing, b"x")
        await other
        second.close()
        os.close(first_writing)
        os.close(second_writing)

    _run(test)


def test_a_wait_that_is_cancelled_leaves_the_others() -> None:
    async def test() -> None:
        reading, writing = os.pipe()
        descriptor = FileDescriptor(reading)
        one, two = await _begun(descriptor.readable(), descriptor.readable())
        one.cancel()
        await asyncio.gather(one, return_exceptions=True)
        os.write(writing, b"x")
        await two
        descriptor.close()
        os.close(writing)

    _run(test)


def test_a_listener_and_those_who_wait_share_a_descriptor() -> None:
    async def test() -> None:
        reading, writing = os.pipe()
        descriptor = FileDescriptor(reading)
        heard: list[bytes] = []
        descriptor.listen(lambda: heard.append(os.read(reading, 10)))
        (waiting,) = await _begun(descriptor.readable())
        os.write(writing, b"x")
        await waiting
        await asyncio.sleep(0)
        assert heard == [b"x"]
        descriptor.stop_listening()
        os.write(writing, b"y")
        await descriptor.readable()
        assert heard == [b"x"]
        descriptor.close()
        with pytest.raises(DescriptorClosed):
            descriptor.listen(lambda: None)
        os.close(writing)

    _run(test)


def test_what_a_thread_opens_for_one_who_is_cancelled_is_closed() -> None:
    async def test() -> None:
        may_open, opened = threading.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        closed: list[str] = []

        def opens() -> str:
            may_open.wait(5)
            return "file"

        def close(what: str) -> None:
            closed.append(what)
            loop.call_soon(opened.set)

        task = asyncio.create_task(open_in_thread(opens, close))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        may_open.set()
        await opened.wait()
        assert closed == ["file"]
        assert await open_in_thread(opens, close) == "file"
        assert closed == ["file"]

    _run(test)


def test_everybody_hears_of_the_end_of_a_process() -> None:
    async def test() -> None:
        child = subprocess.Popen(["sleep", "100"])
        process = Process(child.pid)
        tasks = await _begun(*(process.wait() for _ in range(3)))
        child.kill()
        await asyncio.gather(*tasks)
        process.reap()
        process.close()
        process.reap()
        with pytest.raises(DescriptorClosed):
            await process.wait()
        child.returncode = 0  # reaped above

    _run(test)


def test_descriptors_are_registered_in_one_place_only() -> None:
    """The rule that the module exists for, held over the whole tree."""
    found = []
    calls = _REGISTRATIONS | _SOCKET_CALLS
    for path in Path(darse.__file__).parent.rglob("*.py"):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if any(call in text for call in calls) else ():
            if isinstance(node, ast.Attribute) and node.attr in calls:
                found.append((path.relative_to(Path(darse.__file__).parent).as_posix(), node.attr))
    assert {path for path, _ in found} == {"linux/descriptors.py", *_OF_THE_COMMAND}, found
