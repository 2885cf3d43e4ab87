"""What a bridge refuses by itself, when the firewall's table is gone and no engine runs that would bring it back.

Two programs of traffic control on each bridge (linux/net/tc.py). They are the bridge's: whoever flushes the ruleset
does not reach them, they need no process, and they go when the bridge goes.

    out of the bridge   what the host itself sends, what came from the bridge, and what the firewall's table let pass,
                        which it marks as the last thing it does. Nothing else: not from other networks' bridges, not
                        from neighbours who route to a container's address
    into the bridge     nothing for 127.0.0.0/8, which the bridge would let in (route_localnet)

Routing rules (`ip rule`) would do for the first, too; but they are the whole host's: every lookup of a route becomes
slower by them, addresses of senders are checked in another way, and network managers flush them.

A third is on each port of a bridge with IPv6: what is for the bridge's own address arrives by the bridge at once. With
br_netfilter the bridge would translate answers to connections from ::1 back before the host's own stack sees them, and
that takes nothing for ::1 from a link (`ip6_rcv_core` in net/ipv6/ip6_input.c).

A flow table (nft(8), "FLOWTABLES"; firewalld and others make them) sends packets of known connections past the
firewall's hooks, hence without a mark. Where there is one, new TCP connections are all that is refused.
"""

from __future__ import annotations

import logging
import os
import socket

from darse.linux import ebpf
from darse.linux.net.rtnetlink import Link, Netlink
from darse.linux.net.tc import ETH_P_IPV6, add_clsact, set_program

#: The bit of a packet's mark that says: the engine's table has seen it. Of nobody known to use marks.
SEEN = 0x20000000
_log = logging.getLogger(__name__)
_LINK_HEADER, _TCP, _SYN, _ACK = 14, 6, 0x02, 0x10
# Where an IPv6 header has it.
_DESTINATION = 24
# As the kernel has it in `protocol`, in network order.
_ETH_P_IP = socket.htons(0x0800)
_LOOPBACK_NET = 127
_PASS, _DROP = ebpf.leave(ebpf.TC_ACT_UNSPEC), ebpf.leave(ebpf.TC_ACT_SHOT)
# `_PASS` and `_DROP` are two instructions each: a condition before them leaves out so many.
_OVER = 2


def _unless_seen() -> list[bytes]:
    return [
        ebpf.load_field(2, 6, ebpf.MARK),
        ebpf.and_number(2, SEEN),
        *(ebpf.jump_if_number(2, 0, _OVER), _PASS),
    ]


def into_bridge() -> list[bytes]:
    """Refuses what is for the host's loopback.

    With br_netfilter, answers to translated connections of the host have been translated back when they come here.
    """
    return [
        ebpf.move(6, 1),
        *_unless_seen(),
        ebpf.load_field(2, 6, ebpf.PROTOCOL),
        *(ebpf.jump_if_number(2, _ETH_P_IP, _OVER), _PASS),
        ebpf.load_byte(_LINK_HEADER + 16),
        *(ebpf.jump_if_number(0, _LOOPBACK_NET, _OVER), _PASS),
        _DROP,
    ]


def out_of_bridge(*, own: bool, flow_tables: bool) -> list[bytes]:
    """Refuses what neither the host nor (with `own`) the bridge has sent, and the firewall has not seen."""
    program = [
        ebpf.move(6, 1),
        ebpf.load_field(2, 6, ebpf.INGRESS_IFINDEX),
        *(ebpf.jump_if_not_number(2, 0, _OVER), _PASS),
    ]
    if own:
        program += [ebpf.load_field(3, 6, ebpf.IFINDEX), ebpf.jump_if_not_equal(2, 3, _OVER), _PASS]
    program += _unless_seen()
    if flow_tables:
        program += [
            # IPv6 has its headers in any order: what is not IPv4 waits for flow tables that leave it alone.
            ebpf.load_field(2, 6, ebpf.PROTOCOL),
            *(ebpf.jump_if_number(2, _ETH_P_IP, _OVER), _PASS),
            ebpf.load_byte(_LINK_HEADER + 9),
            *(ebpf.jump_if_number(0, _TCP, _OVER), _PASS),
            # The length of the IP header, in words of 32 bits.
            *(ebpf.load_byte(_LINK_HEADER), ebpf.and_number(0, 15), ebpf.shift_left(0, 2), ebpf.move(7, 0)),
            *(ebpf.load_byte_at(7, _LINK_HEADER + 13), ebpf.and_number(0, _SYN | _ACK)),
            *(ebpf.jump_if_number(0, _SYN, _OVER), _PASS),
        ]
    return [*program, _DROP]


def into_port(bridge: int, gateway: str) -> list[bytes]:
    """Leads what is for `gateway`, of IPv6, past the port's bridge, to the link of the bridge itself."""
    address = socket.inet_pton(socket.AF_INET6, gateway)
    program = [ebpf.move(6, 1)]
    for start in range(0, len(address), 4):
        program += [
            ebpf.load_word(_LINK_HEADER + _DESTINATION + start),
            *(ebpf.jump_if_word(0, address[start : start + 4], _OVER), _PASS),
        ]
    return [*program, ebpf.redirect(bridge)]


class BridgePrograms:
    """The programs of one engine's bridges, given to the kernel when the first bridge needs them."""

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink
        self._loaded: dict[str, int] = {}
        #: Whether somebody's flow tables are on the host.
        self.flow_tables = False
        #: Why they could not be had, for `doctor`; empty when they could.
        self.refused = ""

    def attach(self, bridge: Link, *, own: bool) -> None:
        """Have the programs on a bridge. Where the kernel refuses, the firewall alone holds, and the log says so."""
        end = f"{'own' if own else 'none'}{'-flows' if self.flow_tables else ''}"
        try:
            inner = self._program("in", into_bridge())
            outer = self._program(end, out_of_bridge(own=own, flow_tables=self.flow_tables))
            self._netlink.run(
                add_clsact(bridge.index, bridge.name),
                set_program(bridge.index, bridge.name, "ingress", inner, "darse-in"),
                set_program(bridge.index, bridge.name, "egress", outer, f"darse-out-{end}"),
            )
        except OSError as error:
            if not self.refused:
                _log.warning(
                    "bridges cannot have programs of traffic control (%s): if the firewall's table is deleted while "
                    "no engine runs, networks reach each other",
                    error,
                )
            self.refused = str(error)

    def attach_port(self, port: Link, bridge: Link, gateway: str) -> None:
        """Have the program of ports on one whose bridge has the IPv6 address `gateway`, unless the kernel refuses."""
        if self.refused:
            return
        program = self._program(f"{bridge.index} {gateway}", into_port(bridge.index, gateway))
        self._netlink.run(
            add_clsact(port.index, port.name),
            set_program(port.index, port.name, "ingress", program, "darse-port", ETH_P_IPV6),
        )

    def detached(self, bridge: Link) -> None:
        """Let go of the programs that were for one bridge only, which is about to go."""
        for name in [one for one in self._loaded if one.startswith(f"{bridge.index} ")]:
            os.close(self._loaded.pop(name))

    def _program(self, name: str, instructions: list[bytes]) -> int:
        if name not in self._loaded:
            self._loaded[name] = ebpf.load_program(instructions)
        return self._loaded[name]

    def close(self) -> None:
        """Let go of the programs; those on bridges stay there."""
        for descriptor in self._loaded.values():
            os.close(descriptor)
        self._loaded.clear()
