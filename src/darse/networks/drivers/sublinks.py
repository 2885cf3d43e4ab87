"""What macvlan and ipvlan have in common: links on a parent link of the host, which live in the sandbox alone.

The parent is the link that `-o parent=` names. One that is not there is made: `eth0.10` is VLAN 10 of eth0 (802.1q);
a network without a parent, or an internal one, gets one of its own that leads nowhere. What the engine has made bears
its alias (ip-link(8)), and goes when no network of the engine uses it any more.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable

from darse.core import executors
from darse.core.errors import Conflict, InvalidParameter, SystemFault
from darse.linux.net.links import add_link, add_vlan, delete_link, rename_link, set_alias
from darse.linux.net.netns import Netns
from darse.linux.net.rtnetlink import Link, Netlink, Request
from darse.networks.drivers.base import KernelDriver
from darse.networks.model import Endpoint, NetworkRecord
from darse.networks.pool import link_name

PARENT = "parent"
_LINK_NAME = re.compile(r"(?!\.\.?\Z)[^\s/:\0]{1,15}\Z")
_VLAN = re.compile(r"(?P<link>.+)\.(?P<number>[0-9]{1,4})\Z")
_VLANS = range(1, 4095)


class SublinkDriver(KernelDriver):
    """Finds and makes parents."""

    name = ""
    #: As the kernel calls the links.
    kind = ""

    def __init__(self, instance: str, networks: Callable[[], Iterable[tuple[NetworkRecord, str]]]) -> None:
        """`instance` tells the engines of a machine apart; `networks` are all of this engine, with `parent_link`s."""
        self._netlink = Netlink()
        self._alias = f"darse {instance}".strip()
        self._networks = networks

    def check(self, record: NetworkRecord) -> None:
        """See `Driver`."""
        if not self._netlink.has_kind(self.kind):
            raise Conflict(
                f"this host's kernel has no {self.kind} links ({self.kind.upper()}): load its module, or use another "
                "driver"
            )
        name = self.parent_link(record)
        if not name:
            return
        if _LINK_NAME.match(name) is None:
            raise InvalidParameter(f"invalid parent {name!r}: must be the name of a link of this host, or of its VLAN")
        if name == "lo":
            raise InvalidParameter("loopback interface is not a valid parent link")
        if self._netlink.link(name) is None:
            self._vlan(name)

    def parent_name(self, record: NetworkRecord) -> str:
        """The parent link's name."""
        return self.parent_link(record) or f"dm-{record.id[:12]}"

    def _vlan(self, name: str) -> tuple[Link, int]:
        """The link and the number of a VLAN by its name. Raises InvalidParameter, and Conflict without VLANs."""
        match = _VLAN.match(name)
        link = self._netlink.link(match["link"]) if match is not None else None
        if match is None or link is None:
            raise InvalidParameter(f"invalid parent {name}: there is no such link on this host")
        number = int(match["number"])
        if number not in _VLANS:
            raise InvalidParameter(f"invalid parent {name}: the number of a VLAN is 1 to 4094")
        if not self._netlink.has_kind("vlan"):
            raise Conflict(
                f"parent {name} would be VLAN {number} of {link.name}, and this host's kernel has no VLANs (802.1q): "
                "load the module 8021q, or name a link that is there"
            )
        return link, number

    async def create_network(self, record: NetworkRecord) -> None:
        """See `Driver`."""
        await executors.kernel.run(self._have_parent, record)

    def _have_parent(self, record: NetworkRecord) -> None:
        name = self.parent_name(record)
        if self._netlink.link(name) is not None:
            return
        if self.parent_link(record):
            link, number = self._vlan(name)
            self._netlink.run(add_vlan(name, link, number), set_alias(name, self._alias))
            return
        try:
            self._netlink.run(add_link(name, "dummy"), set_alias(name, self._alias))
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            # A bridge without ports leads nowhere, either, and every host of containers has bridges.
            self._netlink.run(add_link(name, "bridge"), set_alias(name, self._alias))

    async def delete_network(self, record: NetworkRecord) -> None:
        """See `Driver`."""
        name = self.parent_name(record)
        if not any(parent == name for one, parent in self._networks() if one.id != record.id):
            await executors.kernel.run(self._drop_parent, name)

    def parent_link(self, record: NetworkRecord) -> str:
        """See `Driver`; one that the engine has made for the network alone is not shared."""
        return record.options.get(PARENT, "")

    def _drop_parent(self, name: str) -> None:
        link = self._netlink.link(name)
        if link is not None and link.alias == self._alias:
            self._netlink.run(delete_link(name))

    def parent(self, record: NetworkRecord) -> Link:
        """The parent link. Raises Conflict when it is gone."""
        link = self._netlink.link(self.parent_name(record))
        if link is None:
            raise Conflict(f"the parent {self.parent_name(record)} of network {record.name} is not on this host")
        return link

    def plug(self, netns: Netns, interface: str, add: Callable[[str], Request]) -> None:
        """Have what `add(name)` makes in the namespace, as `interface`. Raises OSError.

        Kernels before 6.13 look for the new link's name among the host's links, too, most of which have an eth0: so it
        gets its name in the namespace.
        """
        name = link_name()
        self._netlink.run(add(name))
        link = netns.netlink.link(name)
        if link is None:
            raise SystemFault(f"the interface {interface} of the container has vanished")
        try:
            netns.netlink.run(rename_link(link.index, name, interface))
        except OSError:
            netns.netlink.run(delete_link(name))
            raise

    async def leave(self, record: NetworkRecord, endpoint: Endpoint, netns: Netns | None) -> None:
        """See `Driver`."""
        if netns is not None and endpoint.interface:
            await netns.work(_remove_inside, netns, endpoint.interface)

    def close(self) -> None:
        """Let go of the kernel."""
        self._netlink.close()


def _remove_inside(netns: Netns, interface: str) -> None:
    if netns.netlink.link(interface) is not None:
        netns.netlink.run(delete_link(interface))
