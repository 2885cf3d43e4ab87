"""Networks and what is on them as an SVG image: networks at the left, containers at the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from darse.drawings.pairs import Box, Line, draw
from darse.natural_order import natural


class Attached(NamedTuple):
    """A container on a network."""

    name: str
    addresses: tuple[str, ...]
    ports: tuple[str, ...]


class Drawn(NamedTuple):
    """A network with what is on it."""

    name: str
    driver: str
    subnets: tuple[str, ...]
    internal: bool
    containers: tuple[Attached, ...]

    @property
    def title(self) -> str:
        """Its name and what it is."""
        words = [f"{self.name} ({self.driver})", *self.subnets, *(("internal",) if self.internal else ())]
        return "  ".join(words)


def arrange(networks: Sequence[Mapping[str, Any]], containers: Sequence[Mapping[str, Any]]) -> list[Drawn]:
    """What there is to show, from the lists of networks and of running containers."""
    found = []
    for network in sorted(networks, key=lambda one: natural(one["Name"])):
        attached = []
        for container in containers:
            endpoint = (container.get("NetworkSettings") or {}).get("Networks", {}).get(network["Name"])
            if endpoint is not None:
                attached.append(_attached(container, endpoint))
        ranges = (network.get("IPAM") or {}).get("Config") or ()
        found.append(
            Drawn(
                network["Name"],
                network["Driver"],
                tuple(one["Subnet"] for one in ranges),
                bool(network.get("Internal")),
                tuple(sorted(attached, key=lambda one: natural(one.name))),
            )
        )
    return found


def _attached(container: Mapping[str, Any], endpoint: Mapping[str, Any]) -> Attached:
    addresses = tuple(filter(None, (endpoint.get("IPAddress"), endpoint.get("GlobalIPv6Address"))))
    ports = []
    for port in container.get("Ports") or ():
        if port.get("PublicPort"):
            host = port.get("IP", "")
            at = f"[{host}]" if ":" in host else host
            ports.append(f"{at}:{port['PublicPort']}->{port['PrivatePort']}/{port['Type']}")
    return Attached(container["Names"][0].removeprefix("/"), addresses, tuple(sorted(ports, key=natural)))


def as_svg(networks: list[Drawn]) -> str:
    """Networks at the left, containers at the right, and a line for each endpoint."""
    ports = {one.name: one.ports for network in networks for one in network.containers}
    return draw(
        [
            Box(one.name, "  ".join((one.driver, *one.subnets, *(("internal",) if one.internal else ()))))
            for one in networks
        ],
        [Box(name, ", ".join(ports[name])) for name in sorted(ports, key=natural)],
        [Line(network.name, one.name, ", ".join(one.addresses)) for network in networks for one in network.containers],
    )
