"""Traffic control (tc(8), tc-bpf(8)): programs that look at the packets of a link, through rtnetlink.

They belong to the link: they work while no process knows of them, and go with it. Structures are those of
linux/rtnetlink.h and linux/pkt_cls.h.
"""

from __future__ import annotations

import socket
import struct
from typing import Final, Literal

from darse.linux.net.rtnetlink import NESTED, NLM_F_CREATE, Request, attribute

_RTM_NEWQDISC, _RTM_NEWTFILTER = 36, 44
_TCA_KIND, _TCA_OPTIONS = 1, 2
_TCA_BPF_FD, _TCA_BPF_NAME, _TCA_BPF_FLAGS, _ACT_DIRECT = 6, 7, 8, 1
_CLSACT, _CLSACT_HANDLE = 0xFFFFFFF1, 0xFFFF0000
_PARENTS: Final = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
_TCMSG = struct.Struct("=BxxxiIII")

Direction = Literal["ingress", "egress"]


def add_clsact(index: int, name: str) -> Request:
    """Let a link have programs; fine when it can already."""
    payload = _TCMSG.pack(socket.AF_UNSPEC, index, _CLSACT_HANDLE, _CLSACT, 0) + attribute(_TCA_KIND, b"clsact\0")
    return Request("rule", NLM_F_CREATE, _RTM_NEWQDISC, payload, ("tc", "qdisc", "replace", "dev", name, "clsact"))


def set_program(
    index: int, name: str, direction: Direction, program: int, summary: str, protocol: int = ETH_P_IP
) -> Request:
    """Show the packets of a protocol on a link to the program of a descriptor, in the place of an earlier one of ours.

    `summary` names the program to those who list the link's filters.
    """
    options = (
        attribute(_TCA_BPF_FD, struct.pack("=I", program))
        + attribute(_TCA_BPF_NAME, summary.encode() + b"\0")
        + attribute(_TCA_BPF_FLAGS, struct.pack("=I", _ACT_DIRECT))
    )
    info = 1 << 16 | socket.htons(protocol)
    payload = (
        _TCMSG.pack(socket.AF_UNSPEC, index, 1, _PARENTS[direction], info)
        + attribute(_TCA_KIND, b"bpf\0")
        + attribute(_TCA_OPTIONS | NESTED, options)
    )
    family = "ip" if protocol == ETH_P_IP else "ipv6"
    command = (
        "tc",
        "filter",
        "replace",
        "dev",
        name,
        direction,
        "protocol",
        family,
        "bpf",
        "da",
        "object-pinned",
        summary,
    )
    return Request("rule", NLM_F_CREATE, _RTM_NEWTFILTER, payload, command)
