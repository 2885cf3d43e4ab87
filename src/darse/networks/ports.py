"""Published ports: what `-p` and `-P` come down to, and which ports of the host are free.

A port is refused when another container has it, or when a program of the host listens there: translation would take
its traffic away without a word. For the same reason the engine holds a socket on each published port while it runs:
programs that ask for it later, and other engines, get EADDRINUSE, and `ss -l` shows it, as with docker's
proxies. No packet reaches these sockets, and publishing does not depend on them; except those of ports that are
relayed, which the relay listens on.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import re
import socket
from collections.abc import Callable, Generator, Iterable, Mapping
from itertools import islice
from typing import Final

from darse.core.errors import InvalidParameter, SystemFault
from darse.core.exhaustion import descriptors_for_clients
from darse.linux.net.socket_owners import who_has
from darse.networks.firewall import ANY
from darse.networks.model import PublishedPort
from darse.networks.relay.sockets import TYPES, has_the_port, open_socket, stop_listening
from darse.wire.host_config import PortBinding, PortMap

_log = logging.getLogger(__name__)
_KEY = re.compile(r"(?P<port>[0-9]{1,5})(/(?P<protocol>tcp|udp|sctp))?\Z")
_RANGE = re.compile(r"(?P<first>[0-9]{1,5})(-(?P<last>[0-9]{1,5}))?\Z")
_EPHEMERAL = range(32768, 61000)
# Ports of a range of whom an error names the containers.
_MOST_NAMED = 20
# As Go words them; scripts look for the first.
_REASONS = {errno.EADDRINUSE: "address already in use", errno.EADDRNOTAVAIL: "cannot assign requested address"}
#: Every address of the host, by family.
ANY_ADDRESS: Final = {4: "0.0.0.0", 6: "::"}  # noqa: S104
#: A container's address by family; empty for none.
Target = Mapping[int, str]
_Key = tuple[str, int, str]


def split_key(key: str) -> tuple[int, str]:
    """Return port and protocol of `80/tcp`. Raises InvalidParameter."""
    match = _KEY.match(key)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise InvalidParameter(f"invalid port specification: {key!r}")
    return int(match["port"]), match["protocol"] or "tcp"


def check_ports(ports: PortMap | None, exposed: Iterable[str]) -> None:
    """Raise InvalidParameter for what can be no port, range or host address."""
    for key in exposed:
        split_key(key)
    for key, bindings in (ports or {}).items():
        split_key(key)
        for binding in bindings or ():
            host_range(binding)
            if binding.HostIp:
                try:
                    ipaddress.ip_address(binding.HostIp)
                except ValueError:
                    raise InvalidParameter(f"invalid IP address: {binding.HostIp}") from None


def host_range(binding: PortBinding) -> range:
    """The ports of the host that a binding allows; empty: any. Raises InvalidParameter."""
    if not binding.HostPort or binding.HostPort == "0":
        return range(0)
    match = _RANGE.match(binding.HostPort)
    if match is None:
        raise InvalidParameter(f"invalid port specification: {binding.HostPort!r}")
    first, last = int(match["first"]), int(match["last"] or match["first"])
    if not 0 < first <= last < 65536:
        raise InvalidParameter(f"invalid port specification: {binding.HostPort!r}")
    return range(first, last + 1)


def requested_bindings(
    requested: PortMap, exposed: Iterable[str], *, publish_all: bool
) -> tuple[dict[str, list[PortBinding]], PortMap]:
    """The bindings that are asked for by container port, and the port map of an inspect without them yet."""
    bindings: dict[str, list[PortBinding]] = {}
    shown: PortMap = {}
    for key in exposed:
        number, protocol = split_key(key)
        shown[f"{number}/{protocol}"] = None
        if publish_all:
            bindings[f"{number}/{protocol}"] = [PortBinding()]
    for key, entries in requested.items():
        number, protocol = split_key(key)
        bindings[f"{number}/{protocol}"] = list(entries or [PortBinding()])
    shown.update({key: [] for key in bindings})
    return bindings, shown


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _process(protocol: str, host_ip: str, number: int) -> str:
    found = who_has(protocol, host_ip or ANY[1], number)
    return f" ({found.name}, process {found.pid}, has it)" if found is not None else ""


def _bindings(ports: Iterable[PublishedPort]) -> Iterable[PortBinding]:
    return (PortBinding(port.host_ip, str(port.host_port)) for port in ports)


def _key(port: PublishedPort) -> _Key:
    return port.protocol, port.host_port, port.host_ip


def _unmapped(address: str) -> str:
    """An IPv4 address that is written as one of IPv6 (::ffff:127.0.0.1) as what it is: so docker takes it, too."""
    parsed = ipaddress.ip_address(address) if ":" in address else None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped) if mapped is not None else address


def _freedom(binding: PortBinding) -> int:
    """How many host ports may be chosen."""
    return len(host_range(binding)) or len(_EPHEMERAL)


def _host_addresses(asked: str, default: str, target: Target) -> list[tuple[str, str]]:
    """The addresses of the host that a binding is for, each with the container's address that it leads to.

    Without an address, and where the default is any, the binding is for both families. Where nothing leads from IPv6
    to the container, [::] alone stands for any address. Raises SystemFault when it has none of the family.
    """
    host_ip = asked or default or ANY_ADDRESS[4]
    version: int = ipaddress.ip_address(host_ip).version
    if not asked and ipaddress.ip_address(host_ip).is_unspecified:
        return [(ANY_ADDRESS[family], target[family]) for family in (4, 6) if target[family]]
    if version == 6 and not target[6] and ipaddress.ip_address(host_ip).is_unspecified:
        version, host_ip = 4, ANY_ADDRESS[4]
    if not asked and not target[version]:
        version, host_ip = 10 - version, ANY_ADDRESS[10 - version]
    if not target[version]:
        raise SystemFault(
            f"cannot publish a port on {host_ip}: the container has no IPv{version} address on the network that it "
            f"leads out by"
        )
    return [(str(ipaddress.ip_address(host_ip)), target[version])]


class PortAllocator:
    """The ports of the host that lead to containers."""

    def __init__(
        self,
        default_ip: str,
        instance: str = "",
        owner: Callable[[str, str, int], str] = lambda *_: "",
        *,
        userland_proxy: bool = True,
    ) -> None:
        """`instance` sets apart engines of one machine: ports that are not asked for begin elsewhere in each.

        `owner` names the container that has a port, by protocol, address of the host and number. Without
        `userland_proxy`, what is to lead from IPv6 to a container without it is left out, as by docker.
        """
        self._userland_proxy = userland_proxy
        self._default_ip = default_ip
        self._owner = owner
        self._taken: dict[tuple[str, int], set[str]] = {}
        self._held: dict[_Key, socket.socket] = {}
        #: Of UDP ports that were released, and that the relay still has a copy of.
        self._leaving: dict[_Key, socket.socket] = {}
        self._cursor = int(instance or "0", 16) % len(_EPHEMERAL)

    def restore(self, port: PublishedPort) -> None:
        """Note a port of a running container."""
        self._take(port)
        # The relay has the sockets of those that are relayed, or gets new ones.
        error = 0 if port.relayed else self._hold(port)
        if error:
            _log.warning(
                "%s port %d of %s leads to a container, and a program of the host wants it, too: %s",
                *(port.protocol, port.host_port, port.host_ip, os.strerror(error)),
            )

    def _take(self, port: PublishedPort) -> None:
        self._taken.setdefault((port.protocol, port.host_port), set()).add(port.host_ip)

    def _hold(self, port: PublishedPort) -> int:
        """Have a socket on a port; return why that is not possible, 0 when it is."""
        if port.protocol not in TYPES:
            return 0
        key = _key(port)
        left = self._leaving.pop(key, None)
        if left is not None:
            self._held[key] = left
            return 0
        if len(self._held) >= descriptors_for_clients() // 2:
            # Thousands of ports are published: the descriptors are needed for other things.
            return errno.EMFILE if port.relayed else 0
        try:
            self._held[key] = open_socket(port.protocol, port.host_ip, port.host_port, serves=port.relayed)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE) and not port.relayed:
                return 0
            return error.errno or errno.EIO
        return 0

    # What the relay asks for

    def socket_of(self, port: PublishedPort) -> int:
        """The descriptor of a relayed port's socket, which is made where there is none. Raises OSError."""
        key = _key(port)
        if key not in self._held:
            self._held[key] = open_socket(port.protocol, port.host_ip, port.host_port, serves=True)
        return self._held[key].fileno()

    def adopt(self, port: PublishedPort, descriptor: int) -> None:
        """Keep a relayed port's socket, of an earlier engine, unless there is one; the descriptor is the callee's."""
        sock = socket.socket(fileno=descriptor)
        is_needed = _key(port) not in self._held and self._has(port.protocol, port.host_ip, port.host_port)
        if is_needed and has_the_port(sock):
            self._held[_key(port)] = sock
        else:
            sock.close()

    def drop_copy(self, port: PublishedPort) -> None:
        """Nobody has a copy any more of the socket of a port that was released."""
        left = self._leaving.pop(_key(port), None)
        if left is not None:
            left.close()

    def release(self, port: PublishedPort, *, serves: bool = False) -> None:
        """Give a port back. One that `serves` is with the relay, too: see `drop_copy`."""
        holder = self._held.pop(_key(port), None)
        if holder is not None and serves:
            stop_listening(holder)
        if holder is not None and serves and port.protocol == "udp":
            # The port is not free before the relay has closed its copy; until then this one may be taken again.
            self._leaving[_key(port)] = holder
        elif holder is not None:
            holder.close()
        holders = self._taken.get((port.protocol, port.host_port))
        if holders is not None:
            holders.discard(port.host_ip)
            if not holders:
                del self._taken[port.protocol, port.host_port]

    def _release_all(self, taken: Iterable[list[PublishedPort]]) -> None:
        for port in (port for ports in taken for port in ports):
            self.release(port)

    def allocate(
        self,
        requested: PortMap,
        exposed: Iterable[str],
        target: Target,
        *,
        publish_all: bool,
        default_ip: str = "",
        relayed: str = "",
    ) -> Generator[None, None, tuple[list[PublishedPort], PortMap]]:
        """Take the host ports of a container; return them, and the port map that inspect shows. Yields after each.

        `target` has the container's addresses; `default_ip` is the host's address for ports that name none. `relayed`
        is the address that the host's IPv6 addresses lead to by the relay, of a container without IPv6; empty for none.
        Raises SystemFault in docker's words when a port is taken; then none is.
        """
        bindings, shown = requested_bindings(requested, exposed, publish_all=publish_all)
        yield
        requested_ports = [(key, binding) for key, entries in bindings.items() for binding in entries]
        # Those that must be one certain port come first: what is chosen freely must not be one of them.
        order = sorted(range(len(requested_ports)), key=lambda place: _freedom(requested_ports[place][1]))
        found: dict[int, list[PublishedPort]] = {}
        known: dict[tuple[str, bool], list[tuple[str, str]]] = {}
        # The last port of each range that was asked for: those before it are gone.
        after: dict[tuple[str, str, str], int] = {}
        # Those on any address. Clients that ask for both families say each of them twice.
        on_any: set[tuple[str, int, str, str]] = set()
        try:
            for place in order:
                key, binding = requested_ports[place]
                number, protocol = split_key(key)
                relays = bool(relayed) and protocol in TYPES
                addresses = known.get((binding.HostIp, relays))
                if addresses is None:
                    to = {4: target[4], 6: target[6] or (relayed if relays else "")}
                    addresses = self._host_addresses(binding.HostIp, default_ip or self._default_ip, to)
                    known[binding.HostIp, relays] = addresses
                if binding.HostIp in ANY:
                    specification = (protocol, number, binding.HostPort)
                    addresses = [one for one in addresses if (*specification, one[0]) not in on_any]
                if not addresses:
                    continue
                scope = (protocol, binding.HostIp, binding.HostPort)
                found[place] = self._one(protocol, addresses, binding, number, after.get(scope, 0))
                if found[place]:
                    after[scope] = found[place][0].host_port
                for port in found[place]:
                    if port.host_ip in ANY:
                        on_any.add((protocol, number, str(port.host_port), port.host_ip))
                yield
            gained: dict[str, list[PortBinding]] = {}
            for place, ports in sorted(found.items()):
                gained.setdefault(requested_ports[place][0], []).extend(_bindings(ports))
                yield
        except BaseException:
            self._release_all(found.values())
            raise
        shown.update({key: [*(shown[key] or ()), *more] for key, more in gained.items()})
        return [port for _, ports in sorted(found.items()) for port in ports], shown

    def _host_addresses(self, asked: str, default: str, target: Target) -> list[tuple[str, str]]:
        asked = _unmapped(asked)
        if not self._userland_proxy and ":" in asked and asked not in ANY and not target[6]:
            _log.warning("ports at %s lead nowhere: the container has no IPv6 and the userland proxy is off", asked)
            return []
        return _host_addresses(asked, default, target)

    def _one(
        self, protocol: str, addresses: list[tuple[str, str]], binding: PortBinding, container_port: int, after: int
    ) -> list[PublishedPort]:
        """Take one port for all of the host's `addresses`; of a range one that is greater than `after`."""
        host_ip = addresses[0][0]
        candidates = host_range(binding)
        left = range(max(candidates.start, after + 1), candidates.stop) if len(candidates) > 1 else candidates
        for number in left if len(candidates) else self._ephemeral():
            ports = [PublishedPort(protocol, one, number, to, container_port) for one, to in addresses]
            reason = self._take_all(ports, certain=len(candidates) == 1)
            if not reason:
                return ports
            if len(candidates) == 1:
                raise SystemFault(reason)
        raise SystemFault(
            f"Bind for {host_ip}:{binding.HostPort or '0'} failed: all ports are allocated"
            if len(candidates) == 0
            else f"Bind for {host_ip}:{binding.HostPort} failed: port is already allocated"
            + self._holders(protocol, host_ip, candidates)
        )

    def _holders(self, protocol: str, host_ip: str, numbers: Iterable[int]) -> str:
        """Which containers have ports of a range, for the text of an error."""
        found = (self._owner(protocol, host_ip, number) for number in islice(numbers, _MOST_NAMED))
        names = list(dict.fromkeys(name for name in found if name))
        if not names:
            return ""
        return f" (container {names[0]} has it)" if len(names) == 1 else f" (containers {', '.join(names)} have them)"

    def _take_all(self, ports: list[PublishedPort], *, certain: bool) -> str:
        """Take all of these ports or none; return why not, in docker's words. Raises SystemFault for the address."""
        taken: list[PublishedPort] = []
        for port in list(ports):
            reason = self._occupied(port, certain=certain)
            if reason is None:
                self._take(port)
                taken.append(port)
            elif reason == "":
                ports.remove(port)  # the host has no IPv6, or the engine no descriptor
            else:
                for one in taken:
                    self.release(one)
                return reason
        return ""

    def _occupied(self, port: PublishedPort, *, certain: bool) -> str | None:
        """Hold a port of the host. None: it is held; empty: the host has no such family; else why it cannot be had."""
        at = f"{_bracketed(port.host_ip)}:{port.host_port}"
        if self._has(port.protocol, port.host_ip, port.host_port):
            container = self._owner(port.protocol, port.host_ip, port.host_port)
            return f"Bind for {at} failed: port is already allocated" + (
                f" (container {container} has it)" if container else ""
            )
        error = self._hold(port)
        if error == 0:
            return None
        if port.host_ip == ANY_ADDRESS[6] and error in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            return ""
        if port.host_ip == ANY_ADDRESS[6] and error in (errno.EMFILE, errno.ENFILE):
            _log.warning("port %s is published for IPv4 only: too many open files", at)
            return ""
        reason = (
            f"failed to bind host port {at}/{port.protocol} for "
            f"{_bracketed(port.container_ip)}:{port.container_port}: {_REASONS.get(error, os.strerror(error).lower())}"
        )
        if error == errno.EADDRNOTAVAIL:
            raise SystemFault(reason)
        if error == errno.EADDRINUSE and certain:
            reason += _process(port.protocol, port.host_ip, port.host_port)
        return reason

    def _ephemeral(self) -> Iterable[int]:
        start = self._cursor
        for offset in range(len(_EPHEMERAL)):
            self._cursor = (start + offset + 1) % len(_EPHEMERAL)
            yield _EPHEMERAL[(start + offset) % len(_EPHEMERAL)]

    def _has(self, protocol: str, host_ip: str, number: int) -> bool:
        """Whether a container has the port, on this address or on all of its family."""
        holders = {one for one in self._taken.get((protocol, number), ()) if (":" in one) == (":" in host_ip)}
        return host_ip in holders or bool(holders and (host_ip in ANY or holders & set(ANY)))

    def close(self) -> None:
        """Let go of every socket; the ports go on leading to their containers."""
        for sockets in (self._held, self._leaving):
            for holder in sockets.values():
                holder.close()
            sockets.clear()
