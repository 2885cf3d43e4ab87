"""hostname, hosts and resolv.conf of a container: what is in them, and their mounts."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Sequence
from pathlib import Path

from darse.containers.dependencies import Dependencies
from darse.containers.model import Container
from darse.containers.networking.links import Links
from darse.core import executors
from darse.core.config import EngineConfig
from darse.core.errors import Conflict, NotFound
from darse.core.ids import short_id
from darse.linux.fs.files import NotRegular, read_regular
from darse.networks import names
from darse.networks.model import Endpoint, NameLookup
from darse.runtime.oci.spec import BindMount
from darse.wire.host_config import HostConfig


def running_other(dependencies: Dependencies, mode: str, kind: str) -> Container:
    """The container whose namespace `container:REFERENCE` joins. Raises NotFound, and Conflict when it does not run."""
    reference = mode.partition(":")[2]
    try:
        other = dependencies.store.get(reference)
    except NotFound as error:
        raise NotFound(f"cannot join {kind} namespace of container: {error}") from error
    if not other.state.alive:
        raise Conflict(f"cannot join {kind} namespace of a non running container: {other.id}")
    return other


def network_owner(dependencies: Dependencies, container: Container) -> Container:
    """Whose network stack, and files of names, a container has: its own, or those of the one that it joins.

    That one may have joined another. Raises NotFound and Conflict as `running_other`.
    """
    mode = container.record.host.NetworkMode
    if not mode.startswith("container:"):
        return container
    other = running_other(dependencies, mode, "network")
    # Those further away need not run any more: who has joined them holds their stack.
    seen = {container.id}
    while other.id not in seen and (mode := other.record.host.NetworkMode).startswith("container:"):
        seen.add(other.id)
        other = dependencies.store.get(mode.partition(":")[2])
    return other


def hosts_content(
    dependencies: Dependencies, host: HostConfig, name: tuple[str, str], addresses: list[str], links: Sequence[str] = ()
) -> bytes:
    """/etc/hosts of a container. `name` is the host's and the domain's; `links` are further lines, `name:address`."""
    gateway = host_gateway(dependencies)
    hostname, domain = name
    extra = host.ExtraHosts or ()
    if host.NetworkMode == "host":
        host_entries = _read(Path("/etc/hosts")).encode()
        return host_entries + (names.hosts_file(hostname, "", (), extra, gateway) if extra else b"")
    return names.hosts_file(hostname, domain, addresses, [*extra, *links], gateway)


def host_gateway(dependencies: Dependencies) -> str:
    """The address that `host-gateway` stands for: the host's own, as containers reach it."""
    default = dependencies.networks.default_bridge()
    return dependencies.config.host_gateway_ip or (default.gateway if default else "127.0.0.1")


def resolv_conf_content(dependencies: Dependencies, container_id: str, host: HostConfig) -> bytes:
    """/etc/resolv.conf of a container that has its sandbox."""
    config = dependencies.config
    if dependencies.networks.has_name_server(container_id):
        return _internal(config, host).content
    return names.resolv_conf(
        names.host_resolv_conf(lambda path: _read(Path(path))),
        host.Dns or config.dns,
        host.DnsSearch or config.dns_search,
        host.DnsOptions or config.dns_options,
        keep_loopback=host.NetworkMode == "host",
    )


def name_lookup(config: EngineConfig, host: HostConfig) -> NameLookup:
    """What a name server of a container with these options is to know."""
    servers = host.Dns or config.dns
    return NameLookup([one for one in servers if one != names.NAME_SERVER], _internal(config, host).ndots)


def _internal(config: EngineConfig, host: HostConfig) -> names.Resolution:
    return names.internal_resolv_conf(
        # The name server asks from the host's namespace, where a server on the loopback is reached.
        _read(Path("/etc/resolv.conf")),
        host.Dns or config.dns,
        host.DnsSearch or config.dns_search,
        host.DnsOptions or config.dns_options,
    )


class EtcFiles:
    """Writes the files."""

    def __init__(self, dependencies: Dependencies, links: Links) -> None:
        self._dependencies = dependencies
        self._links = links

    def hostname(self, container: Container) -> str:
        """What the container is called inside."""
        config, mode = container.record.config, container.record.host.NetworkMode
        if config.Hostname:
            return config.Hostname
        if mode == "host" or container.record.host.UTSMode == "host":
            return platform.node()
        if mode.startswith("container:"):
            return self.hostname(network_owner(self._dependencies, container))
        return short_id(container.id)

    def writer(
        self, container: Container, hostname: str, addresses: list[str], owner: tuple[int, int]
    ) -> Callable[[], None]:
        """What is to be called in a thread to write the files for a start; `owner` is the container's root."""
        if container.record.host.NetworkMode.startswith("container:"):
            return lambda: None  # it has those of another
        files = self._dependencies.files.of(container.id)
        hosts = self._hosts(container, hostname, addresses)
        resolv_conf = self._resolv_conf(container)

        def write() -> None:
            files.write_hostname(hostname)
            files.write_hosts(hosts)
            files.write_resolv_conf(resolv_conf)
            if owner != (0, 0):
                files.give_names_to(*owner)

        return write

    def mounts(self, container: Container) -> list[BindMount]:
        """The mounts of the files; one's own mounts at their places win."""
        dependencies, record = self._dependencies, container.record
        owner = (
            network_owner(dependencies, container) if record.host.NetworkMode.startswith("container:") else container
        )
        files = dependencies.files.of(owner.id)
        taken = {plan.destination for plan in record.mounts}
        return [
            BindMount(str(path), target, writable=not record.host.ReadonlyRootfs, propagation="rprivate")
            for path, target in (
                (files.resolv_conf, "/etc/resolv.conf"),
                (files.hostname, "/etc/hostname"),
                (files.hosts, "/etc/hosts"),
            )
            if target not in taken
        ]

    def started(self, container: Container) -> None:
        """A container may have a new address: tell those who link to it."""
        for parent in self._links.parents(container):
            sandbox = self._dependencies.networks.sandbox(parent.id)
            addresses = [endpoint.address for endpoint in sandbox.endpoints] if sandbox else []
            hosts = self._hosts(parent, self.hostname(parent), addresses)
            self._dependencies.files.of(parent.id).write_hosts(hosts)

    def ended(self, container: Container) -> None:
        """Its name stays where it was."""

    def removed(self, container: Container) -> None:
        """Links to it lead nowhere from now on."""

    def _hosts(self, container: Container, hostname: str, addresses: list[str]) -> bytes:
        host, domain = container.record.host, container.record.config.Domainname
        links = [] if host.NetworkMode == "host" else self._links.hosts(container)
        return hosts_content(self._dependencies, host, (hostname, domain), addresses, links)

    def _resolv_conf(self, container: Container) -> bytes:
        return resolv_conf_content(self._dependencies, container.id, container.record.host)

    def name_lookup(self, container: Container) -> NameLookup:
        """What a name server of the container is to know of its options."""
        return name_lookup(self._dependencies.config, container.record.host)

    async def connected(self, container: Container, endpoint: Endpoint) -> None:
        """A running container has an endpoint more: its addresses are its name's, too."""
        files = self._dependencies.files.of(container.id)
        own = self._own(container, endpoint)
        # It may be the first one with a name server.
        resolv_conf = self._resolv_conf(container)

        def write() -> None:
            files.write_hosts(names.with_address(_bytes(files.hosts), *own))
            files.write_resolv_conf(resolv_conf)

        await executors.storage.run(write)

    async def disconnected(self, container: Container, endpoint: Endpoint) -> None:
        """A running container has an endpoint less; what it knows of others is the name server's."""
        files = self._dependencies.files.of(container.id)
        own = self._own(container, endpoint)
        await executors.storage.run(lambda: files.write_hosts(names.without_address(_bytes(files.hosts), *own)))

    def _own(self, container: Container, endpoint: Endpoint) -> tuple[list[str], str]:
        addresses = [str(address.ip) for address in endpoint.addresses()]
        return addresses, names.own_names(self.hostname(container), container.record.config.Domainname)


def _bytes(path: Path) -> bytes:
    with contextlib.suppress(FileNotFoundError, NotRegular):
        return read_regular(path)
    return b""


def _read(path: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        return path.read_text(errors="replace")
    return ""
