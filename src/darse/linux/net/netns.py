"""Network namespaces as descriptors: made and entered by threads of their own, never bound to a path.

A namespace lives as long as a process or a descriptor holds it (network_namespaces(7)), so one that is made ahead
and never used goes with the engine, whatever ends that.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, ParamSpec, Protocol, TypeVar

from darse.core import executors, trace
from darse.core.executors import Executor
from darse.linux.libc import call
from darse.linux.net.links import set_up
from darse.linux.net.rtnetlink import Netlink
from darse.linux.proc.userns import IdMaps, make_network_namespace, make_user_namespace
from darse.linux.sysctl import NamespaceParameters


class _Closable(Protocol):
    def close(self) -> None:
        """Let go of it."""


P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", bound=_Closable)
CLONE_NEWNET = 0x40000000
_CLOSE_SECONDS = 30.0
_NO_IPV6 = {"net/ipv6/conf/default/disable_ipv6": "1"}
#: What containers find in their network namespace: safe since Linux 4.11, and lets a server without privileges bind
#: port 80. Here for namespaces of the host's; in those of a user namespace the runtime sets it, in ids of that one.
CONTAINER_SYSCTLS = {"net/ipv4/ip_unprivileged_port_start": "0", "net/ipv4/ping_group_range": "0 2147483647"}
# ip(8) in a namespace that we made, and what makes one like it: ours has no name.
_IP = ("ip", "-n", trace.NETNS)
_EQUIVALENT_COMMANDS = (
    *("ip", "netns", "add", trace.NETNS, ";"),
    *("ip", "netns", "exec", trace.NETNS, "sysctl", "-w"),
    *(f"{name.replace('/', '.')}={value}" for name, value in {**_NO_IPV6, **CONTAINER_SYSCTLS}.items()),
)


#: Whose a network namespace is: a new user namespace's with these ids, or that of the user namespace at this path.
Owner = IdMaps | str


class Netns:
    """A namespace, and a netlink socket into it; with a descriptor of the user namespace that owns it, or -1."""

    def __init__(self, descriptor: int, netlink: Netlink, user: int = -1) -> None:
        self.descriptor = descriptor
        self.netlink = netlink
        self._user = user
        self._lock = threading.Lock()
        self._uses = 0
        self._closed = False

    @property
    def path(self) -> str:
        """A path that other processes can open while this object is open."""
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"

    @property
    def user_path(self) -> str:
        """The same for the user namespace that owns it; empty when that is the host's."""
        return f"/proc/{os.getpid()}/fd/{self._user}" if self._user >= 0 else ""

    async def work(self, function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Call a function that uses the namespace in a thread.

        Cancelled, it goes on alone, and the namespace is open until it has ended: its descriptors may be those of
        another namespace after that. Raises what the function does, and OSError when the namespace is closed.
        """
        return await executors.kernel.run(self._call, functools.partial(function, *arguments, **options))

    def _call(self, function: Callable[[], T]) -> T:
        with self.used():
            return function()

    @contextmanager
    def used(self) -> Iterator[None]:
        """Keep the namespace open for the block, whoever closes it meanwhile. Raises OSError when it is closed."""
        with self._lock:
            if self._closed:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF), "a network namespace")
            self._uses += 1
        try:
            yield
        finally:
            with self._lock:
                self._uses -= 1
                last = self._closed and not self._uses
            if last:
                self._release()

    def close(self) -> None:
        """Let go of the namespace, at once or when what uses it has ended."""
        with self._lock:
            last = not self._closed and not self._uses
            self._closed = True
        if last:
            self._release()

    def _release(self) -> None:
        self.netlink.close()
        os.close(self.descriptor)
        if self._user >= 0:
            os.close(self._user)
            self._user = -1


class _Opened(Generic[C, T]):
    """What was opened, and what was seen in it."""

    def __init__(self, made: C, seen: T) -> None:
        self.made = made
        self.seen = seen

    def close(self) -> None:
        self.made.close()


class NetnsThread:
    """One thread that goes into namespaces and comes back."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._parameters = NamespaceParameters()
        self._executor = Executor("netns", 1, surroundings=self._thread)

    @contextmanager
    def _thread(self) -> Iterator[None]:
        self._local.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield
        finally:
            os.close(self._local.home)
            self._parameters.close()

    def set_parameter(self, name: str, value: str) -> None:
        """Set a kernel parameter, named with slashes, of the namespace that the thread is in; see `inside`.

        Raises OSError: FileNotFoundError where the kernel has none such.
        """
        self._parameters.write(name, value)

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function in the thread, within the caller's context (its trace)."""
        return await self._executor.run(function)

    async def obtain(self, make: Callable[[], C]) -> C:
        """Run a function in the thread that opens something; what is made for a caller who has gone is closed."""
        making = asyncio.ensure_future(self.run(make))
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(_discard)
            raise

    async def open(self, make: Callable[[], C], look: Callable[[C], T]) -> tuple[C, T]:
        """As `obtain`, and look at it in the same turn of the thread: on a busy host each turn costs milliseconds."""

        def both() -> _Opened[C, T]:
            made = make()
            try:
                return _Opened(made, look(made))
            except BaseException:
                made.close()
                raise

        opened = await self.obtain(both)
        return opened.made, opened.seen

    def make(self, owner: Owner | None = None) -> Netns:
        """Make a namespace with its loopback up, the host's or `owner`'s. Call it in the thread; raises OSError."""
        if owner is not None:
            return self._make_owned(owner)
        with trace.step("namespace", "new network namespace", *_EQUIVALENT_COMMANDS):
            call("unshare", CLONE_NEWNET)
            try:
                descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
                netlink = Netlink(_IP)
                self._disable_ipv6()
                for name, value in CONTAINER_SYSCTLS.items():
                    self.set_parameter(name, value)
            finally:
                call("setns", self._local.home, CLONE_NEWNET)
        netlink.run(set_up(1, "lo"))
        return Netns(descriptor, netlink)

    def _make_owned(self, owner: Owner) -> Netns:
        made = make_user_namespace(owner, network=True) if isinstance(owner, IdMaps) else make_network_namespace(owner)
        try:
            call("setns", made.network, CLONE_NEWNET)
            try:
                netlink = Netlink(_IP)
                self._disable_ipv6()
            finally:
                call("setns", self._local.home, CLONE_NEWNET)
        except BaseException:
            os.close(made.user)
            os.close(made.network)
            raise
        netns = Netns(made.network, netlink, made.user)
        netlink.run(set_up(1, "lo"))
        return netns

    def _disable_ipv6(self) -> None:
        """Links made later get no IPv6 address of themselves; loopback keeps ::1."""
        with contextlib.suppress(FileNotFoundError):  # a host that was booted without IPv6
            for name, value in _NO_IPV6.items():
                self.set_parameter(name, value)

    def enter(self, path: str) -> Netns:
        """Open an existing namespace. Call it in the thread; raises OSError."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            call("setns", descriptor, CLONE_NEWNET)
            try:
                netlink = Netlink(("nsenter", f"--net={path}", "ip"))
            finally:
                call("setns", self._local.home, CLONE_NEWNET)
        except BaseException:
            os.close(descriptor)
            raise
        return Netns(descriptor, netlink)

    def inside(self, netns: Netns, function: Callable[[], T]) -> T:
        """Call a function in a namespace. Call this in the thread; raises OSError, and what the function does."""
        with netns.used():
            call("setns", netns.descriptor, CLONE_NEWNET)
            try:
                return function()
            finally:
                call("setns", self._local.home, CLONE_NEWNET)

    def close(self) -> None:
        """Wait for what runs."""
        self._executor.wait(_CLOSE_SECONDS)


def _discard(made: asyncio.Future[C]) -> None:
    if not made.cancelled() and made.exception() is None:
        made.result().close()
