"""Namespaces stay open as long as a thread uses them, whoever goes meanwhile."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from darse.linux.net.netns import Netns, NetnsThread
from tests.support.waiting import wait_until


class Socket:
    """In place of a netlink socket."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


@pytest.fixture
def netlink() -> Socket:
    return Socket()


@pytest.fixture
def netns(netlink: Socket) -> Netns:
    return Netns(os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC), netlink)  # type: ignore[arg-type]


async def _started(event: threading.Event) -> None:
    await asyncio.get_running_loop().run_in_executor(None, event.wait, 20)


async def test_a_namespace_is_open_until_a_cancelled_caller_s_thread_has_ended(netns: Netns, netlink: Socket) -> None:
    begun, may_end = threading.Event(), threading.Event()
    seen: list[str] = []

    def hang() -> None:
        begun.set()
        may_end.wait(20)
        seen.append(os.readlink(f"/proc/self/fd/{netns.descriptor}"))

    working = asyncio.create_task(netns.work(hang))
    await _started(begun)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    netns.close()
    assert not netlink.closed.is_set()
    may_end.set()
    wait_until(netlink.closed.is_set, 20, "a namespace that is closed")
    assert seen == [os.readlink("/proc/self/ns/net")]


async def test_a_closed_namespace_is_not_used(netns: Netns, netlink: Socket) -> None:
    netns.close()
    netns.close()
    assert netlink.closed.is_set()
    with pytest.raises(OSError, match="network namespace"):
        await netns.work(lambda: None)


async def test_what_is_opened_for_a_caller_who_has_gone_is_closed(netlink: Socket) -> None:
    thread = NetnsThread()
    begun, may_end = threading.Event(), threading.Event()

    def open_slowly() -> Socket:
        begun.set()
        may_end.wait(20)
        return netlink

    opening = asyncio.create_task(thread.obtain(open_slowly))
    await _started(begun)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    may_end.set()
    await _started(netlink.closed)
    assert netlink.closed.is_set()
    thread.close()
