"""Which sandboxes have a name server, and what it is to know of each.

Containers on user-defined networks have one, as in docker; those on the default bridge only have the host's servers.
The sockets are made with the sandbox and registered when its process is there, before that runs: see
`darse.resolver.listeners`. What the name server is to know follows from the sandbox's record.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import socket
from collections.abc import Callable, Sequence

from darse.core.errors import SystemFault
from darse.core.exhaustion import reason
from darse.core.ids import short_id
from darse.linux.net import dns_sockets
from darse.linux.net.netns import Netns, NetnsThread
from darse.networks.companions.connection import View
from darse.networks.definition import PREDEFINED
from darse.networks.dns.client import NameServer
from darse.networks.dns.process import NameServerProcess
from darse.networks.model import Endpoint, Holder, SandboxGone, SandboxRecord
from darse.networks.store import NetworkStore

_log = logging.getLogger(__name__)


def has_name_server(sandbox: SandboxRecord) -> bool:
    """Whether a sandbox is on a network whose containers find each other by name."""
    return any(_has_names(endpoint) for endpoint in sandbox.endpoints)


def _has_names(endpoint: Endpoint) -> bool:
    return endpoint.network_name not in PREDEFINED


def names_of(sandbox: SandboxRecord, endpoint: Endpoint) -> list[str]:
    """The names of a container on one network; reverse lookups give the first."""
    names = (sandbox.container_name, *endpoint.aliases, short_id(sandbox.container_id), sandbox.hostname)
    return list(dict.fromkeys(name for name in names if name))


def view_of(sandbox: SandboxRecord, internal: Callable[[Endpoint], bool]) -> View:
    """What the name server is to know of a sandbox, see `darse.resolver.zone`; `internal` says so of its networks."""
    return {
        "id": sandbox.container_id,
        "endpoints": [
            {
                "network": endpoint.network_id,
                "name": endpoint.network_name,
                "names": names_of(sandbox, endpoint),
                "addresses": [str(address.ip) for address in endpoint.addresses()],
                "links": {**endpoint.links, **sandbox.links},
            }
            for endpoint in sandbox.endpoints
            if _has_names(endpoint)
        ],
        "servers": sandbox.dns.servers or None,
        "forward": not all(internal(endpoint) for endpoint in sandbox.endpoints),
        "ndots": sandbox.dns.ndots,
    }


class Registration:
    """Registers sandboxes with the name server."""

    def __init__(
        self,
        process: NameServerProcess,
        store: NetworkStore,
        thread: NetnsThread,
        holder: Callable[[str], Holder | None],
        enter: Callable[[str, Holder], Netns],
    ) -> None:
        """`holder` is the process of a container, and `enter` opens its namespace in `thread`."""
        self._store = store
        self._thread = thread
        self._holder = holder
        self._enter = enter
        self.server = NameServer(process, self._make_again)
        #: Sockets of sandboxes whose process is not there yet.
        self._prepared: dict[str, list[socket.socket]] = {}

    def start(self) -> None:
        """Have the name server know of all sandboxes that there are."""
        self.server.start(self._view(one) for one in self._store.sandboxes.values() if has_name_server(one))

    def _view(self, sandbox: SandboxRecord) -> View:
        return view_of(sandbox, self._is_internal)

    def _is_internal(self, endpoint: Endpoint) -> bool:
        record = self._store.find(endpoint.network_id)
        return record is None or record.internal

    async def prepare(self, sandbox: SandboxRecord, netns: Netns, listening: list[socket.socket]) -> None:
        """Have the sockets of a new sandbox, if it is to have a name server: `listening`, when they were made with it.

        Raises SystemFault.
        """
        if not has_name_server(sandbox):
            return
        servers = sandbox.dns.servers
        sockets = self._prepared[sandbox.container_id] = list(listening)
        try:
            if not sockets:
                sockets += await self._thread.run(lambda: self._make(netns, fresh=True))
            if servers:
                asking = functools.partial(dns_sockets.open_asking_sockets, servers)
                sockets += await self._thread.run(lambda: self._thread.inside(netns, asking))
        except OSError as error:
            raise SystemFault(f"cannot make the container's name server: {reason(error)}") from error

    def _make(self, netns: Netns, servers: Sequence[str] = (), *, fresh: bool = False) -> list[socket.socket]:
        def make() -> list[socket.socket]:
            dns_sockets.redirect(fresh=fresh)
            return [*dns_sockets.open_sockets(), *dns_sockets.open_asking_sockets(servers)]

        return self._thread.inside(netns, make)

    async def begin(self, sandbox: SandboxRecord, pid: int) -> None:
        """The sandbox has a process, which has not run yet: from now on the container is found, and finds others.

        A name server that cannot be started is reported, and keeps no container from starting.
        """
        sockets = self._prepared.pop(sandbox.container_id, None)
        if sockets is None:
            return
        with contextlib.ExitStack() as opened:
            for sock in sockets:
                opened.callback(sock.close)
            try:
                pidfd = os.pidfd_open(pid)
            except ProcessLookupError:
                return  # it has ended already
            opened.callback(os.close, pidfd)
            await self._register(sandbox, [pidfd, *(sock.fileno() for sock in sockets)])

    async def _register(self, sandbox: SandboxRecord, descriptors: Sequence[int]) -> None:
        try:
            await self.server.register(self._view(sandbox), descriptors)
        except SystemFault as error:
            _log.error("container %s has no names yet: %s", sandbox.container_name, error)

    async def changed(self, container_id: str) -> None:
        """A running container has joined or left a network: have all see that. Raises OSError and EngineError."""
        sandbox = self._store.sandbox_of(container_id)
        if sandbox is None:
            return
        if self.server.registered(container_id):
            self.server.update(self._view(sandbox))
            await self.server.settled()
        elif has_name_server(sandbox):
            descriptors = await self._make_again(container_id)
            if descriptors is not None:
                try:
                    await self._register(sandbox, descriptors)
                finally:
                    for descriptor in descriptors:
                        os.close(descriptor)

    def renamed(self, sandbox: SandboxRecord) -> None:
        """A running container has another name."""
        if self.server.registered(sandbox.container_id):
            self.server.update(self._view(sandbox))

    def end(self, container_id: str) -> None:
        """A sandbox is gone, or was never used; fine when it has no name server."""
        self._discard_prepared(container_id)
        self.server.drop(container_id)

    def _discard_prepared(self, container_id: str) -> None:
        for sock in self._prepared.pop(container_id, ()):
            sock.close()

    async def _make_again(self, container_id: str) -> list[int] | None:
        """New sockets in the namespace of a running container."""
        sandbox, holder = self._store.sandbox_of(container_id), self._holder(container_id)
        if sandbox is None or holder is None:
            return None
        # Nobody has begun with them: they would keep the port.
        self._discard_prepared(container_id)

        def make() -> list[socket.socket]:
            netns = self._enter(container_id, holder)
            try:
                return self._make(netns, sandbox.dns.servers)
            finally:
                netns.close()

        try:
            sockets = await self._thread.run(make)
        except SandboxGone:
            return None
        try:
            pidfd = os.pidfd_open(holder.pid)
        except ProcessLookupError:
            for sock in sockets:
                sock.close()
            return None
        return [pidfd, *(sock.detach() for sock in sockets)]

    async def close(self) -> None:
        """Let go of the name server, which goes on for the containers that run."""
        for container_id in list(self._prepared):
            self.end(container_id)
        await self.server.close()
