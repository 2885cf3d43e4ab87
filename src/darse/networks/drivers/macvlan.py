"""`macvlan`: each endpoint a hardware address of its own on a link of the host (ip-link(8)).

The host itself reaches these endpoints by the parent as little as they reach it: the kernel sends nothing from a link
to what is on top of it. Modes: `bridge`, `private`, `vepa`, `passthru` (one endpoint, which takes the parent over).
"""

from __future__ import annotations

from typing import Final

from darse.core.errors import Conflict, InvalidParameter
from darse.linux.net.links import add_macvlan
from darse.linux.net.netns import Netns
from darse.linux.net.rtnetlink import Request
from darse.networks import options
from darse.networks.drivers.base import JoinResult
from darse.networks.drivers.sublinks import SublinkDriver
from darse.networks.model import Endpoint, NetworkRecord

MODE = "macvlan_mode"
_MODES: Final = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}


class MacvlanDriver(SublinkDriver):
    """Links of the kind macvlan."""

    name = kind = "macvlan"

    def check(self, record: NetworkRecord) -> None:
        """See `Driver`."""
        mode = _mode(record)
        options.mtu(record)
        super().check(record)
        parent = self.parent_link(record)
        for other, its in self._networks() if parent else ():
            if its == parent and "passthru" in (mode, _mode(other)):
                raise Conflict(
                    f"network {other.name} is already using parent interface {parent}, and in mode passthru a parent "
                    "belongs to one network"
                )

    async def join(self, record: NetworkRecord, endpoint: Endpoint, netns: Netns) -> JoinResult:
        """See `Driver`."""
        await netns.work(self._join, record, endpoint, netns)
        return JoinResult()

    def _join(self, record: NetworkRecord, endpoint: Endpoint, netns: Netns) -> None:
        mode, mtu = _mode(record), options.mtu(record)
        parent, words = self.parent(record), ("macvlan", "mode", mode)

        def add(name: str) -> Request:
            return add_macvlan(name, parent, netns.descriptor, _MODES[mode], mtu, words)

        self.plug(netns, endpoint.interface, add)


def _mode(record: NetworkRecord) -> str:
    mode = record.options.get(MODE, "") or "bridge"
    if mode not in _MODES:
        raise InvalidParameter(f"requested macvlan mode '{mode}' is not valid, 'bridge' mode is the macvlan default")
    return mode
