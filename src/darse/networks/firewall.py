"""The engine's nftables table: address translation for published ports, masquerading, isolation of bridges.

One table for each family, made whole in one transaction when the engine starts. Published ports are elements of maps,
so the number of rules a packet meets does not grow with the number of containers, and publishing is one transaction of
a fifth of a millisecond. All of it lives in the kernel and works while no engine runs.

To make the table anew takes a second with twenty thousand ports, so a thread does it. What is to change meanwhile is
held back, and follows: it is on record, and so the new table may have it already or not.

    prerouting, output (nat)   to a local address: look up (address, port), then port → container address and port
    postrouting (nat)          from a bridge's subnet to elsewhere, and translated on its way back in: masquerade
    forward (filter)           to a bridge: its own traffic (icc), answers, and what was translated; nothing else.
                               From the bridge of an internal network: to itself, nothing else
    raw (filter)               from a bridge to 127.0.0.0/8: dropped, because route_localnet would let it in
    seen (filter)              to a bridge, after all else: marked, or the bridge itself refuses it

How a network is connected to what is outside is its gateway mode, for each family: `nat` as above; `nat-unprotected`
lets everything in to containers' addresses; `routed` translates nothing, and lets published ports (set `open`) and
pings in; `isolated` has no address on the host.

The owner's own rules have a table of their own, `inet NAME-user`, whose chain `forward` comes before the engine's: a
drop there is final. The engine makes it and never changes it.

Packets from other machines to 127.0.0.0/8 are not translated: the kernel drops them as martians, but only after this
table has seen them, and a port published on 127.0.0.1 would be open to the neighbourhood (moby issue 45610).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from darse.core import executors
from darse.linux.net.nft import Nftables, NftError, grouped
from darse.networks import options
from darse.networks.drivers.bridge_programs import SEEN
from darse.networks.model import NetworkRecord, PublishedPort

_log = logging.getLogger(__name__)
ANY = ("", "0.0.0.0", "::")  # noqa: S104
# Networks and ports that are no work for a thread: it would wait longer for its turn.
_FEW = 200
_PROTOCOLS = ("tcp", "udp", "sctp")


class _Family(NamedTuple):
    """What a family is called in rules."""

    version: int
    #: Of tables, and of matches (`ip saddr`).
    name: str
    address: str
    loopback: str
    ping: str


_FAMILIES: Final = {
    4: _Family(4, "ip", "ipv4_addr", "127.0.0.0/8", "icmp type echo-request"),
    6: _Family(6, "ip6", "ipv6_addr", "::1", "icmpv6 type echo-request"),
}


#: What has rules: networks, which have bridges, and ports.
Desired = tuple[list[NetworkRecord], list[PublishedPort]]


class Firewall:
    """The rules of one engine."""

    def __init__(self, nft: Nftables, looking: Nftables, table: str) -> None:
        """`nft` changes rules, also in a thread; `looking` only looks, and is not kept waiting by that."""
        self._nft = nft
        self._looking = looking
        self._table = table
        self._rebuilding = asyncio.Lock()
        # What follows the table that is being made; None when none is.
        self._held_back: deque[list[str]] | None = None
        # Whether there is a table for IPv6; a kernel may have none of that family.
        self._has_ipv6 = False
        #: Whether bridges take answers to ::1; see drivers/bridge_programs.py.
        self.leads_loopback = True

    def find_tables(self) -> None:
        """Look for the tables of an earlier engine. Raises NftError."""
        self._has_ipv6 = self._nft.table_exists("ip6", self._table)

    async def rebuild(self, desired: Callable[[], Desired]) -> None:
        """Replace the tables by those for what is `desired` when it is their turn. Raises NftError.

        Cancelled, it goes on alone.
        """
        if not self._rebuilding.locked():
            records, published = desired()
            if len(records) + len(published) <= _FEW:
                self._replace(records, published)
                return
        await asyncio.shield(asyncio.create_task(self._rebuild(desired), name="the firewall's table"))

    async def _rebuild(self, desired: Callable[[], Desired]) -> None:
        async with self._rebuilding:
            for last in (False, True):
                self._held_back = deque()
                try:
                    await executors.kernel.run(self._replace, *desired())
                finally:
                    followed = await self._follow(self._held_back)
                if followed:
                    return
                if last:
                    raise NftError("others change the firewall's table while it is being made")

    async def _follow(self, held_back: deque[list[str]]) -> bool:
        """Do what was held back, and what is while this does it; whether the table was as it was left."""
        try:
            while held_back:
                self._nft.run(grouped(held_back.popleft()))
                await asyncio.sleep(0)
        except NftError as error:
            _log.warning("the firewall's table is not as it was just made: %s", error)
            return False
        finally:
            self._held_back = None
        return True

    async def settled(self) -> None:
        """Wait until no table is being made, and nothing held back."""
        async with self._rebuilding:
            pass

    def _replace(self, records: list[NetworkRecord], published: list[PublishedPort]) -> None:
        """Blocks."""
        ipv6 = any(record.pool(6) is not None for record in records)
        lines = self._whole_table(_FAMILIES[4], records, published)
        if ipv6:
            lines += self._whole_table(_FAMILIES[6], records, published)
        elif self._has_ipv6:
            lines += [f"add table ip6 {self._table}", f"delete table ip6 {self._table}"]
        self._nft.run("\n".join(lines))
        self._has_ipv6 = ipv6
        self._keep_owner_table()

    @property
    def owner_table(self) -> str:
        """The table of the owner's rules."""
        return f"inet {self._table}-user"

    def _keep_owner_table(self) -> None:
        """Have the table of the owner's rules; what is in it stays."""
        chain = "{ type filter hook forward priority -10; policy accept; }"
        try:
            self._nft.run(f"add table {self.owner_table}\nadd chain {self.owner_table} forward {chain}")
        except NftError as error:
            # A kernel without the family, or somebody's own idea of the chain: nothing of the engine's depends on it.
            _log.warning("there is no table %s for the owner's rules: %s", self.owner_table, error)

    def _whole_table(self, family: _Family, records: list[NetworkRecord], ports: list[PublishedPort]) -> list[str]:
        table = f"{family.name} {self._table}"
        lines = [f"add table {table}", f"delete table {table}", f"table {table} {{", *_chains(family), "}"]
        for record in records:
            lines += self._bridge(family, record)
        elements = (element for port in ports if port.version == family.version for element in self._elements(port))
        commands = grouped(f"add element {element}" for element in elements)
        return [*lines, commands] if commands else lines

    def _bridge(self, family: _Family, record: NetworkRecord) -> Iterator[str]:
        """The rules of one bridge. One without the family has them, too: they let nothing pass."""
        table, bridge = f"{family.name} {self._table}", record.bridge
        pool = record.pool(family.version)
        mode = options.gateway_mode(record, family.version)
        # Links may have names that chains may not.
        chain, back = f"to_{record.id[:12]}", f"from_{record.id[:12]}"
        talk = options.flag(record, options.ICC)
        yield f"add chain {table} {chain}"
        yield f'add rule {table} {chain} iifname "{bridge}" {"accept" if talk else "ct status dnat accept"}'
        yield f"add rule {table} {chain} ct state established,related accept"
        if not record.internal and pool is not None:
            yield from (f"add rule {table} {chain} {rule}" for rule in _admitted(family, record, mode))
        yield f"add rule {table} {chain} drop"
        yield f'add element {table} to_bridge {{ "{bridge}" : jump {chain} }}'
        yield f'add element {table} bridges {{ "{bridge}" }}'
        if pool is not None:
            yield f"add element {table} subnets {{ {pool.subnet} }}"
        if family.version == 6 and (record.foreign or not self.leads_loopback):
            yield f'add element {table} no_loopback {{ "{bridge}" }}'
        if record.internal:
            yield f"add chain {table} {back}"
            yield f'add rule {table} {back} oifname != "{bridge}" drop'
            yield f'add element {table} from_bridge {{ "{bridge}" : jump {back} }}'
        elif pool is not None and mode != options.ROUTED and options.flag(record, options.MASQUERADE):
            source = options.outgoing_address(record, family.version)
            translation = f"snat to {source}" if source else "masquerade"
            yield (
                f'add rule {table} masquerading {family.name} saddr {pool.subnet} oifname != "{bridge}" {translation}'
            )

    def _elements(self, port: PublishedPort, *, key_only: bool = False) -> Iterator[str]:
        """The elements of maps and sets that a port is, each with its table."""
        family = _FAMILIES[port.version]
        table = f"{family.name} {self._table}"
        if port.host_port and not port.relayed:
            kind = "any" if port.host_ip in ANY else "at"
            key = str(port.host_port) if kind == "any" else f"{port.host_ip} . {port.host_port}"
            value = "" if key_only else f" : {port.container_ip} . {port.container_port}"
            yield f"{table} {port.protocol}_{kind} {{ {key}{value} }}"
        if port.direct:
            yield f"{table} open {{ {port.container_ip} . {port.protocol} . {port.container_port} }}"

    # Of ports that are on record so, or not any more: a table that is being made may have that already.

    def publish(self, ports: Iterable[PublishedPort]) -> None:
        """Lead ports of the host to a container, all in one transaction. Raises NftError when the table is not ours."""
        self._change(self._additions(ports))

    def remove_ports(self, ports: Iterable[PublishedPort]) -> None:
        """Undo `publish`, all in one transaction. Raises NftError when one of them is not there."""
        removed = list(ports)
        # Who is not there cannot be deleted; who is there can be added.
        self._change(self._removals(removed), [*self._additions(removed), *self._removals(removed)])

    def move(self, old: Iterable[PublishedPort], new: Iterable[PublishedPort]) -> None:
        """Lead the same ports of the host to other addresses. Raises NftError as `publish` and `remove_ports` do."""
        self._change([*self._removals(old), *self._additions(new)])

    def _additions(self, ports: Iterable[PublishedPort]) -> list[str]:
        return [f"add element {element}" for port in ports for element in self._elements(port)]

    def _removals(self, ports: Iterable[PublishedPort]) -> list[str]:
        return [f"delete element {element}" for port in ports for element in self._elements(port, key_only=True)]

    def _change(self, commands: list[str], later: list[str] | None = None) -> None:
        """Do a transaction; after a table that is being made, `later` when there is such."""
        if not commands:
            return
        if self._held_back is not None:
            self._held_back.append(later or commands)
        else:
            self._nft.run(grouped(commands))

    def exists(self) -> bool:
        """Whether the tables are there. Raises NftError."""
        return self._looking.table_exists("ip", self._table) and (
            not self._has_ipv6 or self._looking.table_exists("ip6", self._table)
        )

    def flow_tables(self) -> bool:
        """Whether somebody has flow tables, by which packets pass all hooks. Raises NftError."""
        return "flowtable" in self._looking.run("list flowtables")

    def forwarding_is_refused(self) -> bool:
        """Whether the host's own rules drop what nothing accepts, as dockerd's do: no rule here can overrule that."""
        try:
            return "policy drop" in self._looking.run("list chain ip filter FORWARD")
        except NftError:
            return False  # There is no such chain.

    def remove_table(self) -> None:
        """Remove the tables."""
        for family in ("ip", "ip6") if self._has_ipv6 else ("ip",):
            self._nft.run(f"add table {family} {self._table}\ndelete table {family} {self._table}")
        self._remove_owner_table()

    def _remove_owner_table(self) -> None:
        """Remove the table of the owner's rules, unless there are any."""
        try:
            listing = self._nft.run(f"list table {self.owner_table}")
            words = [line.split()[0] for line in listing.splitlines() if line.split()]
            if words == ["table", "chain", "type", "}", "}"]:
                self._nft.run(f"delete table {self.owner_table}")
        except NftError as error:
            _log.debug("there is no table %s: %s", self.owner_table, error)


def _chains(family: _Family) -> Iterator[str]:
    """The maps, sets and chains that do not depend on networks."""
    ip, loopback = family.name, family.loopback
    for protocol in _PROTOCOLS:
        yield f"map {protocol}_any {{ type inet_service : {family.address} . inet_service; }}"
        yield f"map {protocol}_at {{ type {family.address} . inet_service : {family.address} . inet_service; }}"
    yield f"set open {{ type {family.address} . inet_proto . inet_service; }}"
    yield "map to_bridge { type ifname : verdict; }"
    yield "map from_bridge { type ifname : verdict; }"
    yield "set bridges { type ifname; }"
    yield f"set subnets {{ type {family.address}; flags interval; }}"
    yield "chain masquerading { }"
    for chain in ("prerouting", "output"):
        yield f"chain {chain} {{ type nat hook {chain} priority -100; policy accept;"
        if chain == "prerouting":
            yield f'iifname != "lo" {ip} daddr {loopback} accept'
        yield "fib daddr type != local accept"
        for protocol in _PROTOCOLS:
            yield f"meta l4proto {protocol} dnat to {ip} daddr . {protocol} dport map @{protocol}_at"
            yield f"meta l4proto {protocol} dnat to {protocol} dport map @{protocol}_any"
        yield "}"
    if family.version == 6:
        # A bridge that is not the engine's takes no answers to ::1 (drivers/bridge.py has others do so). Refused at
        # once, clients of localhost go on to 127.0.0.1.
        yield "set no_loopback { type ifname; }"
        yield "chain loopback { type filter hook output priority 0; policy accept;"
        yield "ip6 saddr ::1 oifname @no_loopback ct status dnat meta l4proto tcp reject with tcp reset"
        yield "ip6 saddr ::1 oifname @no_loopback ct status dnat reject"
        yield "}"
    yield "chain postrouting { type nat hook postrouting priority 100; policy accept;"
    yield f"{ip} saddr {loopback} oifname @bridges ct status dnat masquerade"
    # By address, not by iifname: with br_netfilter the packet has no input interface here.
    yield f"{ip} saddr @subnets oifname @bridges ct status dnat masquerade"
    yield "jump masquerading"
    yield "}"
    # The last that happens to a packet, so that nobody overwrites the mark: see drivers/bridge_programs.py.
    yield "chain seen { type filter hook postrouting priority 900; policy accept;"
    yield f"oifname @bridges meta mark set meta mark or {SEEN:#x}"
    yield "}"
    # With br_netfilter, what is translated onto the bridge it came from may leave it without passing postrouting.
    yield "chain translated { type filter hook prerouting priority -90; policy accept;"
    yield f"iifname @bridges ct status dnat meta mark set meta mark or {SEEN:#x}"
    yield "}"
    yield "chain forward { type filter hook forward priority 0; policy accept;"
    yield "iifname vmap @from_bridge"
    yield "oifname vmap @to_bridge"
    yield "}"
    yield "chain raw { type filter hook prerouting priority -300; policy accept;"
    yield f"iifname @bridges {ip} daddr {loopback} drop"
    yield "}"


def _admitted(family: _Family, record: NetworkRecord, mode: str) -> Iterator[str]:
    """What is let in to a network's containers from elsewhere, beside answers."""
    ports = f"{family.name} daddr . meta l4proto . th dport @open accept"
    if mode == options.NAT_UNPROTECTED:
        yield "accept"
        return
    yield "ct status dnat accept"
    if mode == options.ROUTED:
        yield ports
        yield f"{family.ping} accept"
        return
    trusted = options.trusted_interfaces(record)
    if trusted:
        names = ", ".join(f'"{name}"' for name in trusted)
        yield f"iifname {{ {names} }} {ports}"
