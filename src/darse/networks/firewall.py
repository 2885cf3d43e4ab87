"""The engine's nftables table: address translation for published ports, masquerading, isolation of bridges.

One table, made whole in one transaction when the engine starts. Published ports are elements of maps, so the number
of rules a packet meets does not grow with the number of containers, and publishing is one transaction of a fifth of
a millisecond. All of it lives in the kernel and works while no engine runs.

    prerouting, output (nat)   to a local address: look up (address, port), then port → container address and port
    postrouting (nat)          from a bridge's subnet to elsewhere, and translated on its way back in: masquerade
    forward (filter)           to a bridge: its own traffic (icc), answers, and what was translated; nothing else.
                               From the bridge of an internal network: to itself, nothing else
    raw (filter)               from a bridge to 127.0.0.0/8: dropped, because route_localnet would let it in
    seen (filter)              to a bridge, after all else: marked, or the bridge itself refuses it

Packets from other machines to 127.0.0.0/8 are not translated: the kernel drops them as martians, but only after this
table has seen them, and a port published on 127.0.0.1 would be open to the neighbourhood (moby issue 45610).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from darse.linux.net.nft import Nftables, NftError
from darse.networks import options
from darse.networks.drivers.bridge_programs import SEEN
from darse.networks.model import NetworkRecord, PublishedPort

ANY = ("", "0.0.0.0")  # noqa: S104
_PROTOCOLS = ("tcp", "udp", "sctp")


class Firewall:
    """The rules of one engine."""

    def __init__(self, nft: Nftables, table: str) -> None:
        self._nft = nft
        self._table = table

    def rebuild(self, networks: Iterable[NetworkRecord], ports: Iterable[PublishedPort]) -> None:
        """Replace the table by one for `networks`, which have bridges, and `ports`. Raises NftError."""
        table = self._table
        lines = [f"add table ip {table}", f"delete table ip {table}", f"table ip {table} {{"]
        for protocol in _PROTOCOLS:
            lines.append(f"map {protocol}_any {{ type inet_service : ipv4_addr . inet_service; }}")
            lines.append(f"map {protocol}_at {{ type ipv4_addr . inet_service : ipv4_addr . inet_service; }}")
        lines.append("map to_bridge { type ifname : verdict; }")
        lines.append("map from_bridge { type ifname : verdict; }")
        lines.append("set bridges { type ifname; }")
        lines.append("set subnets { type ipv4_addr; flags interval; }")
        lines += ["chain masquerading {", "}"]
        for chain, hook in (("prerouting", "prerouting"), ("output", "output")):
            lines.append(f"chain {chain} {{ type nat hook {hook} priority -100; policy accept;")
            if chain == "prerouting":
                lines.append('iifname != "lo" ip daddr 127.0.0.0/8 accept')
            lines.append("fib daddr type != local accept")
            for protocol in _PROTOCOLS:
                lines.append(f"meta l4proto {protocol} dnat to ip daddr . {protocol} dport map @{protocol}_at")
                lines.append(f"meta l4proto {protocol} dnat to {protocol} dport map @{protocol}_any")
            lines.append("}")
        lines.append("chain postrouting { type nat hook postrouting priority 100; policy accept;")
        lines.append("ip saddr 127.0.0.0/8 oifname @bridges ct status dnat masquerade")
        # By address, not by iifname: with br_netfilter the packet has no input interface here.
        lines.append("ip saddr @subnets oifname @bridges ct status dnat masquerade")
        lines += ["jump masquerading", "}"]
        # The last that happens to a packet, so that nobody overwrites the mark: see drivers/bridge_programs.py.
        lines.append("chain seen { type filter hook postrouting priority 900; policy accept;")
        lines += [f"oifname @bridges meta mark set meta mark or {SEEN:#x}", "}"]
        # With br_netfilter, what is translated onto the bridge it came from may leave it without passing postrouting.
        lines.append("chain translated { type filter hook prerouting priority -90; policy accept;")
        lines += [f"iifname @bridges ct status dnat meta mark set meta mark or {SEEN:#x}", "}"]
        lines.append("chain forward { type filter hook forward priority 0; policy accept;")
        lines += ["iifname vmap @from_bridge", "oifname vmap @to_bridge", "}"]
        lines.append("chain raw { type filter hook prerouting priority -300; policy accept;")
        lines += ["iifname @bridges ip daddr 127.0.0.0/8 drop", "}"]
        lines.append("}")
        for record in networks:
            lines += self._bridge(record)
        for port in ports:
            lines.append(f"add element ip {table} {self._element(port)}")
        self._nft.run("\n".join(lines))

    def _bridge(self, record: NetworkRecord) -> Iterator[str]:
        table, bridge = self._table, record.bridge
        talk = options.flag(record, options.ICC)
        # Links may have names that chains may not.
        chain, back = f"to_{record.id[:12]}", f"from_{record.id[:12]}"
        yield f"add chain ip {table} {chain}"
        yield f'add rule ip {table} {chain} iifname "{bridge}" {"accept" if talk else "ct status dnat accept"}'
        yield f"add rule ip {table} {chain} ct state established,related accept"
        if not record.internal:
            yield f"add rule ip {table} {chain} ct status dnat accept"
        yield f"add rule ip {table} {chain} drop"
        yield f'add element ip {table} to_bridge {{ "{bridge}" : jump {chain} }}'
        yield f'add element ip {table} bridges {{ "{bridge}" }}'
        yield f"add element ip {table} subnets {{ {record.subnet} }}"
        if record.internal:
            yield f"add chain ip {table} {back}"
            yield f'add rule ip {table} {back} oifname != "{bridge}" drop'
            yield f'add element ip {table} from_bridge {{ "{bridge}" : jump {back} }}'
        elif options.flag(record, options.MASQUERADE):
            yield f'add rule ip {table} masquerading ip saddr {record.subnet} oifname != "{bridge}" masquerade'

    @staticmethod
    def _element(port: PublishedPort, *, key_only: bool = False) -> str:
        kind = "any" if port.host_ip in ANY else "at"
        key = str(port.host_port) if kind == "any" else f"{port.host_ip} . {port.host_port}"
        value = "" if key_only else f" : {port.container_ip} . {port.container_port}"
        return f"{port.protocol}_{kind} {{ {key}{value} }}"

    def publish(self, ports: Iterable[PublishedPort]) -> None:
        """Lead ports of the host to a container, all in one transaction. Raises NftError when the table is not ours."""
        self._nft.run("\n".join(f"add element ip {self._table} {self._element(port)}" for port in ports))

    def withdraw(self, ports: Iterable[PublishedPort]) -> None:
        """Undo `publish`, all in one transaction. Raises NftError when one of them is not there."""
        self._nft.run(
            "\n".join(f"delete element ip {self._table} {self._element(port, key_only=True)}" for port in ports)
        )

    def move(self, old: Iterable[PublishedPort], new: Iterable[PublishedPort]) -> None:
        """Lead the same ports of the host to other addresses. Raises NftError as `publish` and `withdraw` do."""
        table = self._table
        commands = [f"delete element ip {table} {self._element(port, key_only=True)}" for port in old]
        commands += [f"add element ip {table} {self._element(port)}" for port in new]
        self._nft.run("\n".join(commands))

    def exists(self) -> bool:
        """Whether the table is there. Raises NftError."""
        return self._nft.table_exists("ip", self._table)

    def flow_tables(self) -> bool:
        """Whether somebody has flow tables, by which packets pass all hooks. Raises NftError."""
        return "flowtable" in self._nft.run("list flowtables")

    def forwarding_is_refused(self) -> bool:
        """Whether the host's own rules drop what nothing accepts, as dockerd's do: no rule here can overrule that."""
        try:
            return "policy drop" in self._nft.run("list chain ip filter FORWARD")
        except NftError:
            return False  # There is no such chain.

    def remove(self) -> None:
        """Remove the table."""
        self._nft.run(f"add table ip {self._table}\ndelete table ip {self._table}")
