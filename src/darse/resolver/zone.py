"""What the name server knows: networks, the names on each, and the sandboxes that look from them.

A *view* is what the engine registers of one sandbox, a document that is replaced as a whole:

    {"id": CONTAINER, "endpoints": [ENDPOINT…], "servers": [ADDRESS…] or null, "forward": BOOL, "ndots": BOOL}

    ENDPOINT: {"network": ID, "name": NETWORK'S NAME, "names": [NAME…], "addresses": [ADDRESS…], "links": {ALIAS: NAME}}

The first of `names` is the one that a reverse lookup gives. `servers` are the upstream servers, asked from the
sandbox's namespace; null: the host's, asked from the host's. Without `forward` the sandbox has internal networks only,
and the host's servers are not asked for it. `ndots` says that the user has set that option.

Rules of lookup, as in libnetwork: a name without its last dot is looked up on all networks of the sandbox, then
its parts as NAME.NETWORK, longest name first; links of the sandbox's own before names on the network.
"""

from __future__ import annotations

import socket

TYPE_CHECKING = False  # not the one of typing, which takes memory
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

Addresses = tuple[bytes, ...]


def packed(text: str) -> bytes:
    """The bytes of an IPv4 or IPv6 address. Raises OSError."""
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


class NetworkNames:
    """The names on one network: for each the packed addresses of each sandbox that has it."""

    __slots__ = ("id", "name", "names", "pointers", "qualifier")

    def __init__(self, id_: str, name: str) -> None:
        self.id = id_
        self.name = name.encode()
        self.qualifier = self.name.lower()
        self.names: dict[bytes, dict[str, Addresses]] = {}
        #: The name of each packed address, and the sandbox that has it.
        self.pointers: dict[bytes, tuple[bytes, str]] = {}


class EndpointView:
    """A sandbox's place on a network."""

    __slots__ = ("addresses", "links", "names", "network")

    def __init__(self, network: NetworkNames, document: dict[str, Any]) -> None:
        self.network = network
        self.names = tuple(dict.fromkeys(name.encode().lower() for name in document["names"]))
        self.addresses: Addresses = tuple(packed(text) for text in document["addresses"])
        self.links = {alias.encode().lower(): name.encode().lower() for alias, name in document["links"].items()}


class SandboxView:
    """One sandbox's view."""

    __slots__ = ("endpoints", "forward", "id", "ndots", "servers")

    def __init__(self, id_: str, document: dict[str, Any], endpoints: list[EndpointView]) -> None:
        self.id = id_
        self.endpoints = endpoints
        self.servers: tuple[str, ...] | None = None if document["servers"] is None else tuple(document["servers"])
        self.forward: bool = document["forward"]
        self.ndots: bool = document["ndots"]


class LookupResult:
    """Where a lookup has ended: the addresses, and for explanations the network and the rule."""

    __slots__ = ("addresses", "linked", "name", "network")

    def __init__(self, network: NetworkNames, name: bytes, addresses: list[bytes], *, linked: bool) -> None:
        self.network = network
        self.name = name
        self.addresses = addresses
        self.linked = linked


class Zone:
    """All networks and sandboxes."""

    def __init__(self) -> None:
        self.networks: dict[str, NetworkNames] = {}
        self.sandboxes: dict[str, SandboxView] = {}

    def replace(self, document: dict[str, Any]) -> SandboxView:
        """Take a view, in place of the sandbox's former one. Raises KeyError, ValueError, TypeError and OSError;
        nothing has changed then.
        """
        id_ = str(document["id"])
        endpoints = []
        for one in document["endpoints"]:
            network = self.networks.get(one["network"]) or NetworkNames(one["network"], one["name"])
            endpoints.append(EndpointView(network, one))
        sandbox = SandboxView(id_, document, endpoints)
        self.remove(id_)
        self.sandboxes[id_] = sandbox
        for endpoint in endpoints:
            # Taking the former view away may have taken the network, too.
            network = self.networks.setdefault(endpoint.network.id, endpoint.network)
            endpoint.network = network
            for name in endpoint.names:
                network.names.setdefault(name, {})[id_] = endpoint.addresses
            for address in endpoint.addresses:
                if endpoint.names:
                    network.pointers[address] = endpoint.names[0], id_
        return sandbox

    def remove(self, id_: str) -> SandboxView | None:
        """Forget a sandbox and its names; fine when there is none."""
        sandbox = self.sandboxes.pop(id_, None)
        for endpoint in sandbox.endpoints if sandbox is not None else ():
            network = endpoint.network
            for name in endpoint.names:
                holders = network.names.get(name)
                if holders is not None and holders.pop(id_, None) is not None and not holders:
                    del network.names[name]
            for address in endpoint.addresses:
                # Another sandbox may have it by now.
                if network.pointers.get(address, (b"", ""))[1] == id_:
                    del network.pointers[address]
            if not network.names:
                self.networks.pop(network.id, None)
        return sandbox


def find(sandbox: SandboxView, name: bytes, length: int) -> LookupResult | None:
    """Look a name up: its addresses of `length` bytes, none when it is known without any; None for an unknown one."""
    for part, qualifier in _candidates(name):
        for linked in (True, False):
            found = _find(sandbox, part, qualifier, length, linked=linked)
            if found is not None:
                return found
    return None


def _candidates(name: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(name, network) to look up, in order: a.b.c, then a.b on network c, then a on network b.c."""
    yield name, b""
    position = len(name)
    while (position := name.rfind(b".", 0, position)) > 0:
        yield name[:position], name[position + 1 :]


def _find(sandbox: SandboxView, name: bytes, qualifier: bytes, length: int, *, linked: bool) -> LookupResult | None:
    known: LookupResult | None = None
    for endpoint in sandbox.endpoints:
        network = endpoint.network
        if qualifier and network.qualifier != qualifier:
            continue
        target = endpoint.links.get(name)
        if (target is not None) is not linked:
            continue
        holders = network.names.get(target or name)
        if holders is None:
            continue
        addresses = [one for held in holders.values() for one in held if len(one) == length]
        found = LookupResult(network, target or name, addresses, linked=linked)
        if addresses:
            return found
        known = known or found
    return known


def find_pointer(sandbox: SandboxView, address: bytes) -> tuple[bytes, NetworkNames] | None:
    """The name of a packed address on one of the sandbox's networks, and that network."""
    for endpoint in sandbox.endpoints:
        found = endpoint.network.pointers.get(address)
        if found is not None:
            return found[0], endpoint.network
    return None
