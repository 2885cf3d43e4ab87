"""`ipvlan`: each endpoint its own addresses on a link of the host, with that one's hardware address (ip-link(8)).

Modes: `l2` (as neighbours of the parent), `l3` (routed by the parent's namespace: no gateway, no broadcast), `l3s` (the
same, with connection tracking). Flags: `bridge`, `private`, `vepa`.
"""

from __future__ import annotations

from typing import Final

from darse.core.errors import InvalidParameter
from darse.linux.net.links import add_ipvlan
from darse.linux.net.netns import Netns
from darse.linux.net.rtnetlink import Request
from darse.networks import options
from darse.networks.drivers.base import JoinResult
from darse.networks.drivers.sublinks import SublinkDriver
from darse.networks.model import Endpoint, NetworkRecord

MODE, FLAG = "ipvlan_mode", "ipvlan_flag"
_MODES: Final = {"l2": 0, "l3": 1, "l3s": 2}
_FLAGS: Final = {"bridge": 0, "private": 1, "vepa": 2}


class IpvlanDriver(SublinkDriver):
    """Links of the kind ipvlan."""

    name = kind = "ipvlan"
    hardware_addresses = False

    def check(self, record: NetworkRecord) -> None:
        """See `Driver`."""
        _mode(record)
        _flag(record)
        options.mtu(record)
        super().check(record)

    async def join(self, record: NetworkRecord, endpoint: Endpoint, netns: Netns) -> JoinResult:
        """See `Driver`: routed by the link itself except in l2, where the gateway is a neighbour."""
        await netns.work(self._join, record, endpoint, netns)
        if _mode(record) == "l2":
            return JoinResult()
        return JoinResult(gateway="", gateway6="", routed_by_link=not record.internal)

    def _join(self, record: NetworkRecord, endpoint: Endpoint, netns: Netns) -> None:
        mode, flag, mtu = _mode(record), _flag(record), options.mtu(record)
        parent, words = self.parent(record), ("ipvlan", "mode", mode, flag)

        def add(name: str) -> Request:
            return add_ipvlan(name, parent, netns.descriptor, _MODES[mode], _FLAGS[flag], mtu, words)

        self.plug(netns, endpoint.interface, add)


def _mode(record: NetworkRecord) -> str:
    mode = record.options.get(MODE, "") or "l2"
    if mode not in _MODES:
        raise InvalidParameter(f"requested ipvlan mode '{mode}' is not valid, 'l2' mode is the ipvlan default")
    return mode


def _flag(record: NetworkRecord) -> str:
    flag = record.options.get(FLAG, "") or "bridge"
    if flag not in _FLAGS:
        raise InvalidParameter(f"unknown ipvlan flag '{flag}': bridge, private or vepa")
    return flag
