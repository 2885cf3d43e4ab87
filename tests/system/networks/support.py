"""Network services without an engine around them, and sockets in other network namespaces.

A socket stays in the namespace it was made in, whatever thread uses it later; so tests make sockets inside sandboxes
and use them from outside, and need no programs in them.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import ipaddress
import os
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from darse.core import events, object_references
from darse.core.config import EngineConfig
from darse.core.events import EventLog
from darse.core.filters import Filters
from darse.core.object_references import ObjectReferences
from darse.core.state import State
from darse.linux.libc import call
from darse.networks import NetworkService, store
from darse.networks.model import Holder, PortWishes, SandboxRequest
from darse.networks.sandboxes import Sandbox
from darse.plugins import PluginClient
from darse.wire.host_config import PortBinding, PortMap
from darse.wire.networks import IPAM, EndpointSettings, IPAMConfig, NetworkCreate

T = TypeVar("T")
SECONDS = 3.0


def inside(path: str, function: Callable[[], T]) -> T:
    """Run a function in the namespace that `path` names."""
    result: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                call("setns", descriptor, 0x40000000)
            finally:
                os.close(descriptor)
            result.append(function())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


def run_inside(path: str, *command: str) -> str:
    """Run a program in the namespace that `path` names; return what it printed."""
    return subprocess.run(
        ["nsenter", f"--net={path}", *command], capture_output=True, text=True, check=True, timeout=10
    ).stdout


def _family(ip: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in ip else socket.AF_INET


class Echo:
    """A server on a port of a namespace (None: the host's), that answers with what it was called and who asked."""

    def __init__(
        self, path: str | None, port: int, name: str = "echo", *, udp: bool = False, ip: str = "0.0.0.0"
    ) -> None:
        self.name = name
        self.udp = udp
        make = lambda: socket.socket(_family(ip), socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)  # noqa: E731
        self.socket = make() if path is None else inside(path, make)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if ":" in ip:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.socket.bind((ip, port))
        if not udp:
            self.socket.listen(64)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                if self.udp:
                    _, peer = self.socket.recvfrom(100)
                    if peer is None:  # shut down
                        return
                    self.socket.sendto(f"{self.name} {peer[0]}".encode(), peer)
                else:
                    connection, peer = self.socket.accept()
                    with connection:
                        connection.sendall(f"{self.name} {peer[0]}".encode())
            except OSError:
                return

    def close(self) -> None:
        """Stop."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def ask(path: str | None, ip: str, port: int, *, udp: bool = False, seconds: float = SECONDS) -> str:
    """Connect from a namespace (None: the host's) to a server; return its name and whom it saw. Raises OSError."""
    make = lambda: socket.socket(_family(ip), socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)  # noqa: E731
    with make() if path is None else inside(path, make) as client:
        client.settimeout(seconds)
        client.connect((ip, port))
        if udp:
            client.send(b"?")
        return client.recv(100).decode()


def is_shut(path: str | None, ip: str, port: int, *, udp: bool = False) -> bool:
    """Whether nobody answers there."""
    try:
        ask(path, ip, port, udp=udp, seconds=0.4)
    except OSError:
        return True
    return False


class Host:
    """A network service on a root of its own, as an engine has it; it can be restarted."""

    def __init__(self, root: Path, **config: Any) -> None:
        self.root = root
        self.config = EngineConfig(data_root=root, exec_root=root / f"x{secrets.token_hex(4)}", **config)
        self.service: NetworkService
        self.events: EventLog
        self._state: State | None = None
        self._closed = False
        self.running: dict[str, int] = {}
        self.servers: list[Echo] = []

    @property
    def instance(self) -> str:
        """What the names of links and tables carry."""
        return hashlib.sha256(str(self.config.exec_root).encode()).hexdigest()[:8]

    async def start(self) -> NetworkService:
        """Begin, or begin again."""
        self._state = State(self.root / "state.sqlite", (events.SCHEMA, store.SCHEMA, object_references.SCHEMA))
        self.events = EventLog(self._state)
        self.references = ObjectReferences(self._state)
        self._plugins = PluginClient((self.config.exec_root / "plugins",), ())
        self.service = NetworkService(self.config, self._state, self.events, self, self._plugins)
        await self.service.start(self.running)
        return self.service

    def holder_of(self, container_id: str) -> Holder | None:
        """See `StackHolders`."""
        return Holder(self.running[container_id], os.getpid()) if container_id in self.running else None

    async def stop(self) -> None:
        """End, as an engine does that leaves its containers running."""
        if self._state is not None:
            await self.service.close()
            await self._plugins.close()
            self._state.close()
            self._state = None

    @staticmethod
    def request(name: str, endpoints: dict[str, EndpointSettings], **members: Any) -> SandboxRequest:
        """What a container that starts asks for."""
        return SandboxRequest(container_id=name, container_name=name, endpoints=endpoints, **members)

    async def sandbox(
        self,
        name: str,
        *networks: str,
        ports: PortMap | None = None,
        settings: EndpointSettings | None = None,
        mac: str = "",
    ) -> Sandbox:
        """Make the sandbox of a container; the default bridge's unless `networks` are named."""
        endpoints = {network: settings or EndpointSettings() for network in networks or ("bridge",)}
        return await self.service.sandbox_create(self.request(name, endpoints, wishes=PortWishes(ports or {}), mac=mac))

    async def network(
        self,
        name: str,
        subnet: str = "",
        *,
        internal: bool = False,
        ipv4: bool = True,
        ipv6: bool = False,
        driver: str = "bridge",
        **options: str,
    ) -> None:
        """Make a network."""
        ipam = IPAM(Config=[IPAMConfig(subnet)]) if subnet else None
        request = NetworkCreate(
            Name=name,
            Driver=driver,
            IPAM=ipam,
            Internal=internal,
            EnableIPv4=ipv4,
            EnableIPv6=ipv6,
            Options=options,
        )
        await self.service.create(request)

    def serve(self, sandbox: Sandbox, port: int = 80, *, udp: bool = False, ip: str = "0.0.0.0") -> Echo:
        """Have a server in a sandbox."""
        server = Echo(sandbox.path, port, sandbox.record.container_name, udp=udp, ip=ip)
        self.servers.append(server)
        return server

    async def close(self) -> None:
        """Remove all of it; AssertionError when something is left."""
        for server in self.servers:
            server.close()
        if self._closed:
            return
        self._closed = True
        if self._state is None:
            self.running = {}
            await self.start()
        for sandbox in list(self.service.store.sandboxes.values()):
            self.service.sandbox_release(sandbox.container_id)
        await self.service.prune(Filters())
        await self.service.remove_networks_from_host()
        await self.stop()
        assert not [link for link in os.listdir("/sys/class/net") if self.instance in link]
        assert self.instance not in tables()


class Turns:
    """How long each turn of the event loop takes while this is open, by its own processor time: that is not changed by
    other work on the machine.
    """

    def __init__(self) -> None:
        self._taken: list[float] = []

    async def __aenter__(self) -> Turns:
        gc.collect()
        gc.freeze()  # what the tests before have left would be looked through again and again
        self._measuring = asyncio.create_task(self._measure())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._measuring.cancel()
        await asyncio.gather(self._measuring, return_exceptions=True)
        gc.unfreeze()

    async def _measure(self) -> None:
        while True:
            began = time.thread_time()
            await asyncio.sleep(0)
            self._taken.append(time.thread_time() - began)

    def longest(self) -> float:
        """The longest turn since the last call, in seconds."""
        longest = max(self._taken)
        self._taken.clear()
        return longest


def tables() -> str:
    """The firewall's tables."""
    return subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout


def bridge_ports(bridge: str) -> set[str]:
    """The links that are plugged into a bridge."""
    return set(os.listdir(f"/sys/class/net/{bridge}/brif"))


def host_port(number: int | str, ip: str = "", protocol: str = "tcp", container_port: int = 80) -> PortMap:
    """`-p ip:number:container_port/protocol`."""
    return {f"{container_port}/{protocol}": [PortBinding(ip, str(number))]}


class Outside:
    """Another machine: a namespace behind a link of the host, which routes to the host alone."""

    def __init__(self) -> None:
        tag = secrets.token_hex(4)
        self.link = f"out{tag}"
        self._claim, octet = _claim_octet()
        net = ipaddress.IPv4Network(f"198.18.{octet}.0/24")
        self.host_ip, self.ip = str(net[1]), str(net[2])
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self.path = f"/proc/{self._holder.pid}/ns/net"
        home = os.readlink("/proc/self/ns/net")
        while os.readlink(self.path) == home:
            os.sched_yield()
        self._ip("link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", str(self._holder.pid))
        self._ip("address", "add", f"{self.host_ip}/24", "dev", self.link)
        self._ip("link", "set", self.link, "up")
        run_inside(self.path, "ip", "address", "add", f"{self.ip}/24", "dev", "eth0")
        run_inside(self.path, "ip", "link", "set", "eth0", "up")
        # As the kernel writes it, also where `octet` is zero.
        self.host_ip6, self.ip6 = (str(ipaddress.IPv6Address(f"fd99:{octet:x}::{host}")) for host in (1, 2))
        self._ip("address", "add", f"{self.host_ip6}/64", "dev", self.link, "nodad")
        run_inside(self.path, "ip", "address", "add", f"{self.ip6}/64", "dev", "eth0", "nodad")

    @staticmethod
    def _ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, timeout=10)

    def route(self, destination: str) -> None:
        """Send what is for `destination` to the host, as an attacker on the same wire may."""
        via = self.host_ip6 if ":" in destination else self.host_ip
        run_inside(self.path, "ip", "route", "add", destination, "via", via)

    def close(self) -> None:
        """Remove it."""
        self._holder.kill()
        self._holder.wait()
        subprocess.run(["ip", "link", "delete", self.link], check=False, capture_output=True)
        self._claim.close()


def _claim_octet() -> tuple[socket.socket, int]:
    """A number below 250 that no other test of this machine has, as long as the socket is open."""
    while True:
        octet, claim = secrets.randbelow(250), socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0darse-tests-outside-{octet}")
        except OSError:
            claim.close()
        else:
            return claim, octet
