"""Networks of a host in memory: its firewall, network namespaces with their interfaces, and a network driver.

What a test sets: `firewall.failing` makes every transaction fail as of a table that somebody else has changed;
`driver.on` has, by the name of a method, what is called before it, and may raise what a real driver raises.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from darse.linux.net.netns import Owner
from darse.linux.net.nft import NftError
from darse.linux.net.rtnetlink import Link, Request
from darse.networks.drivers import JoinResult
from darse.networks.drivers.base import EndpointResult, KernelDriver
from darse.networks.model import Endpoint, NetworkRecord, PortWishes
from darse.networks.pool import Prepared

T = TypeVar("T")


class FakeNftables:
    """Tables of the kernel of which only the elements of maps and sets matter, see `Nftables`."""

    def __init__(self) -> None:
        self.tables: set[str] = set()
        #: By table and set, such as `ip darse tcp_any`: the value of each key.
        self.elements: dict[str, dict[str, str]] = {}
        self.transactions: list[str] = []
        self.failing = False

    def run(self, commands: str) -> str:
        """See `Nftables.run`: all of it happens or none."""
        if commands == "list tables":
            return "".join(f"table {table}\n" for table in sorted(self.tables))
        tables = set(self.tables)
        elements = {name: dict(found) for name, found in self.elements.items()}
        for line in commands.splitlines():
            self._do(line, tables, elements)
        if self.failing:
            raise NftError("nftables: Error: No such file or directory")
        self.tables, self.elements = tables, elements
        self.transactions.append(commands)
        return ""

    def _do(self, line: str, tables: set[str], elements: dict[str, dict[str, str]]) -> None:
        action, _, rest = line.partition(" ")
        kind, _, name = rest.partition(" ")
        if (action, kind) == ("add", "table"):
            tables.add(name)
        elif (action, kind) == ("delete", "table"):
            tables.remove(name)
            for of_table in [one for one in elements if one.startswith(f"{name} ")]:
                del elements[of_table]
        elif kind == "element":
            where, _, listed = name.partition(" { ")
            found = elements.setdefault(where, {})
            for element in listed.removesuffix(" }").split(", "):
                key, _, value = element.partition(" : ")
                if action == "add" and found.get(key, value) != value:
                    raise NftError(f"nftables: Error: Could not process rule: File exists: {where} {key}")
                if action == "delete" and key not in found:
                    raise NftError(f"nftables: Error: Could not process rule: No such file or directory: {where} {key}")
                if action == "add":
                    found[key] = value
                else:
                    del found[key]

    def table_exists(self, family: str, name: str) -> bool:
        """See `Nftables.table_exists`."""
        return f"{family} {name}" in self.tables

    def flush(self) -> None:
        """Somebody removes all tables, as by `nft flush ruleset`."""
        self.tables.clear()
        self.elements.clear()

    def close(self) -> None:
        """Nothing is held."""


class FakeNetlink:
    """The interfaces of a namespace, see `Netlink`; what is asked to be done with them is only noted."""

    def __init__(self) -> None:
        self.interfaces: dict[str, Link] = {}
        self.requests: list[Request] = []
        self._indexes = itertools.count(2)
        self.add("lo")

    def add(self, name: str) -> None:
        """Have an interface."""
        self.interfaces[name] = Link(next(self._indexes), name, up=False)

    def link(self, name: str) -> Link | None:
        """See `Netlink.link`."""
        return self.interfaces.get(name)

    def links(self) -> list[Link]:
        """See `Netlink.links`."""
        return list(self.interfaces.values())

    def run(self, *requests: Request, summary: str = "") -> None:
        """See `Netlink.run`."""
        self.requests += requests


class FakeNetns:
    """A network namespace, see `Netns`."""

    path = "/proc/self/fd/0"
    user_path = ""

    def __init__(self) -> None:
        self.netlink = FakeNetlink()
        self.is_closed = False

    async def work(self, function: Callable[..., T], *arguments: Any) -> T:
        """See `Netns.work`."""
        await asyncio.sleep(0)
        if self.is_closed:
            raise OSError("the namespace is closed")
        return function(*arguments)

    def close(self) -> None:
        """See `Netns.close`."""
        self.is_closed = True


class FakeNetnsThread:
    """Makes and enters namespaces in memory, see `NetnsThread`."""

    def __init__(self) -> None:
        self.made: list[FakeNetns] = []
        #: Those of processes, by the paths that they are entered by.
        self.of_processes: dict[str, FakeNetns] = {}

    def make(self, owner: Owner | None = None) -> FakeNetns:
        """See `NetnsThread.make`."""
        self.made.append(FakeNetns())
        return self.made[-1]

    def enter(self, path: str) -> FakeNetns:
        """See `NetnsThread.enter`: another descriptor of the same namespace."""
        if path not in self.of_processes:
            raise FileNotFoundError(2, "No such file or directory", path)
        entered = FakeNetns()
        entered.netlink = self.of_processes[path].netlink
        self.made.append(entered)
        return entered

    async def run(self, function: Callable[[], T]) -> T:
        """See `NetnsThread.run`."""
        await asyncio.sleep(0)
        return function()

    async def obtain(self, make: Callable[[], T]) -> T:
        """See `NetnsThread.obtain`."""
        return await self.run(make)

    async def open(self, make: Callable[[], Any], look: Callable[[Any], T]) -> tuple[Any, T]:
        """See `NetnsThread.open`."""
        made = await self.run(make)
        return made, look(made)

    def close(self) -> None:
        """Nothing is held."""


class FakeNetnsPool:
    """Namespaces that are made when they are asked for, see `NetnsPool`."""

    def __init__(self, thread: FakeNetnsThread) -> None:
        self._thread = thread
        #: Called before a namespace is made.
        self.on_take: Callable[[], object] | None = None

    async def bare(self, owner: Owner | None) -> Prepared:
        """See `NetnsPool.bare`."""
        await asyncio.sleep(0)
        if self.on_take is not None:
            self.on_take()
        return Prepared(self._thread.make(owner), "")  # type: ignore[arg-type]

    async def with_name_server(self, owner: Owner | None) -> Prepared:
        """See `NetnsPool.with_name_server`; without its sockets."""
        return await self.bare(owner)


class FakeNetworkDriver(KernelDriver):
    """A network driver that only remembers what it has been asked for, in order, see `Driver`."""

    def __init__(self, name: str = "fake", *, publishes: bool = False, keeps_outside: bool = False) -> None:
        self.name = name
        self.publishes = publishes
        self.keeps_outside = keeps_outside
        self.on: dict[str, Callable[[Endpoint], object]] = {}
        #: Methods, each with the name of its network.
        self.calls: list[tuple[str, str]] = []
        #: The ids of the endpoints that were begun and have not ended.
        self.endpoints: set[str] = set()

    async def _called(self, method: str, record: NetworkRecord, endpoint: Endpoint) -> None:
        await asyncio.sleep(0)
        self.calls.append((method, record.name))
        if method in self.on:
            self.on[method](endpoint)
            await asyncio.sleep(0)

    async def create_endpoint(self, record: NetworkRecord, endpoint: Endpoint) -> EndpointResult:
        """See `Driver.create_endpoint`."""
        self.endpoints.add(endpoint.endpoint_id)
        await self._called("create_endpoint", record, endpoint)
        return EndpointResult()

    async def delete_endpoint(self, record: NetworkRecord, endpoint: Endpoint) -> None:
        """See `Driver.delete_endpoint`."""
        await self._called("delete_endpoint", record, endpoint)
        self.endpoints.discard(endpoint.endpoint_id)

    async def join(self, record: NetworkRecord, endpoint: Endpoint, netns: Any) -> JoinResult:
        """See `Driver.join`."""
        await self._called("join", record, endpoint)
        netns.netlink.add(endpoint.interface)
        return JoinResult(link=f"l{endpoint.endpoint_id[:8]}")

    async def leave(self, record: NetworkRecord, endpoint: Endpoint, netns: Any) -> None:
        """See `Driver.leave`."""
        await self._called("leave", record, endpoint)
        if netns is not None:
            netns.netlink.interfaces.pop(endpoint.interface, None)

    async def program_external_connectivity(self, record: NetworkRecord, endpoint: Endpoint, ports: PortWishes) -> None:
        """See `Driver.program_external_connectivity`."""
        await self._called("program", record, endpoint)

    async def revoke_external_connectivity(self, record: NetworkRecord, endpoint: Endpoint) -> None:
        """See `Driver.revoke_external_connectivity`."""
        await self._called("revoke", record, endpoint)

    def methods(self, but: Collection[str] = ()) -> list[str]:
        """What was called."""
        return [method for method, _ in self.calls if method not in but]
