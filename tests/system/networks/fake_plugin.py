"""A network and IPAM plugin with bridges of its own, that can be made to hang, to lie and to fail."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
import subprocess
from pathlib import Path
from typing import Any

from tests.support.plugin_server import PluginServer


class FakePlugin(PluginServer):
    """See `PluginServer`."""

    implements = ("NetworkDriver", "IpamDriver")

    def __init__(self, path: Path) -> None:
        self.tag = secrets.token_hex(3)
        #: Of interfaces inside.
        self.prefix = "eth"
        self._next = 2
        self._last = ""
        self.leases: set[str] = set()
        self.endpoints: set[str] = set()
        self._links: set[str] = set()
        super().__init__(path)

    def _bridge(self, network: str) -> str:
        return f"fp{self.tag}{network[:6]}"

    def _create_network(self, body: dict[str, Any]) -> dict[str, Any]:
        bridge = self._bridge(body["NetworkID"])
        _ip("link", "add", bridge, "type", "bridge")
        _ip("link", "set", bridge, "up")
        for pool in body["IPv4Data"]:
            _ip("address", "add", pool["Gateway"], "dev", bridge)
        return {}

    def _delete_network(self, body: dict[str, Any]) -> dict[str, Any]:
        if self._bridge(body["NetworkID"]) not in os.listdir("/sys/class/net"):
            return {"Err": f"network {body['NetworkID']} not found"}
        _ip("link", "delete", self._bridge(body["NetworkID"]))
        return {}

    def _create_endpoint(self, body: dict[str, Any]) -> dict[str, Any]:
        self.endpoints.add(body["EndpointID"])
        return {}

    def _delete_endpoint(self, body: dict[str, Any]) -> dict[str, Any]:
        self.endpoints.discard(body["EndpointID"])
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("link", "delete", f"fo{body['EndpointID'][:10]}")
        return {}

    def _join(self, body: dict[str, Any]) -> dict[str, Any]:
        outer, inner = f"fo{body['EndpointID'][:10]}", f"fi{body['EndpointID'][:10]}"
        self._links.add(outer)
        _ip("link", "add", outer, "type", "veth", "peer", "name", inner)
        _ip("link", "set", outer, "master", self._bridge(body["NetworkID"]), "up")
        routes = [{"Destination": "203.0.113.0/24", "RouteType": 1}]
        return {"InterfaceName": {"SrcName": inner, "DstPrefix": self.prefix}, "Gateway": "", "StaticRoutes": routes}

    def _get_default_address_spaces(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"LocalDefaultAddressSpace": "here", "GlobalDefaultAddressSpace": "everywhere"}

    def _request_pool(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"PoolID": f"pool-{self.tag}", "Pool": body["Pool"] or "10.251.7.0/24", "Data": {}}

    def _request_address(self, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("Options", {}).get("RequestAddressType"):
            address = "10.251.7.1"
        else:
            address = body["Address"] or str(ipaddress.IPv4Address("10.251.7.0") + self._next)
            self._next += 1
        self.leases.add(address)
        self._last = address
        return {"Address": f"{address}/24"}

    def _release_address(self, body: dict[str, Any]) -> dict[str, Any]:
        self.leases.discard(body["Address"])
        return {}

    def left(self) -> set[str]:
        """The endpoints, networks, links and leases that it has, but for leases whose answer nobody has heard."""
        links = set(os.listdir("/sys/class/net"))
        there = {name for name in links if name.startswith(f"fp{self.tag}") or name in self._links}
        return self.endpoints | (self.leases - self.unclaimed()) | there

    def unclaimed(self) -> set[str]:
        """The last address that was given: an engine that was killed then may not have it on record."""
        return {self._last} & self.leases

    def drop_unclaimed(self) -> None:
        """Have that lease no more."""
        self.leases -= self.unclaimed()

    def close(self) -> None:
        """Stop, and remove what is left of its bridges and links."""
        super().close()
        for name in os.listdir("/sys/class/net"):
            if name.startswith(f"fp{self.tag}") or name in self._links:
                _ip("link", "delete", name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=10)
