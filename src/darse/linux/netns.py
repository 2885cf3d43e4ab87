"""Network namespaces as descriptors: made and entered by threads of their own, never bound to a path.

A namespace lives as long as a process or a descriptor holds it (network_namespaces(7)), so one that is made ahead
and never used goes with the engine, whatever ends that.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from darse.linux import trace
from darse.linux.libc import call
from darse.linux.netlink import Netlink, set_up

T = TypeVar("T")
CLONE_NEWNET = 0x40000000


class Netns:
    """A namespace, and a netlink socket into it."""

    def __init__(self, descriptor: int, netlink: Netlink) -> None:
        self.descriptor = descriptor
        self.netlink = netlink

    @property
    def path(self) -> str:
        """A path that other processes can open while this object is open."""
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"

    def close(self) -> None:
        """Let go of the namespace."""
        self.netlink.close()
        os.close(self.descriptor)


class NetnsThread:
    """One thread that goes into namespaces and comes back."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._executor = ThreadPoolExecutor(1, "netns", initializer=self._enter)

    def _enter(self) -> None:
        self._local.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function in the thread, within the caller's context (its trace)."""
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._executor, lambda: context.run(function))

    def call(self, function: Callable[[], T]) -> T:
        """Run a function in the thread and wait for it: for what takes less than a millisecond."""
        return self._executor.submit(contextvars.copy_context().run, function).result()

    def make(self) -> Netns:
        """Make a namespace with its loopback up. Call it in the thread."""
        with trace.step("namespace", "new network namespace", "ip", "netns", "add", "CONTAINER"):
            call("unshare", CLONE_NEWNET)
            try:
                descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
                netlink = Netlink()
                _disable_ipv6()
            finally:
                call("setns", self._local.home, CLONE_NEWNET)
        netlink.run(set_up(1, "lo"))
        return Netns(descriptor, netlink)

    def enter(self, path: str) -> Netns:
        """Open an existing namespace. Call it in the thread; raises OSError."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            call("setns", descriptor, CLONE_NEWNET)
            try:
                netlink = Netlink()
            finally:
                call("setns", self._local.home, CLONE_NEWNET)
        except BaseException:
            os.close(descriptor)
            raise
        return Netns(descriptor, netlink)

    def close(self) -> None:
        """End the thread."""
        self._executor.shutdown()


def _disable_ipv6() -> None:
    """Links made later get no IPv6 address of themselves; loopback keeps ::1. /proc/sys/net is the opener's."""
    switch = Path("/proc/sys/net/ipv6/conf/default/disable_ipv6")
    if switch.exists():
        switch.write_text("1")
