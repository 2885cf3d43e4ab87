"""From a request to make a network to its record: names, subnets and options checked, defaults chosen.

Texts follow moby's validation of address ranges (api/types/network/ipam.go), which tells every mistake at once.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterable

from darse.core.errors import Forbidden, InvalidParameter
from darse.core.ids import new_id
from darse.networks import options
from darse.networks.model import NetworkRecord
from darse.wire.networks import IPAMConfig, NetworkCreate

PREDEFINED = ("bridge", "host", "none")
_RESERVED = (*PREDEFINED, "default", "container", "ingress")
_LARGEST_PREFIX = 30


def check_name(name: str) -> None:
    """Raise InvalidParameter for a blank name, and Forbidden for names with a meaning of their own."""
    if not name.strip():
        raise InvalidParameter("invalid name: name is empty")
    if name in _RESERVED:
        raise Forbidden(f"operation is not permitted on predefined {name} network")


def check_request(request: NetworkCreate) -> None:
    """Raise InvalidParameter for what this engine's networks cannot be."""
    if request.Scope not in ("", "local"):
        raise InvalidParameter(f"cannot make a network of scope {request.Scope!r}: this node is not a swarm manager")
    for asked, what in (
        (request.EnableIPv6, "IPv6 networks"),
        (request.EnableIPv4 is False, "networks without IPv4"),
        (request.Ingress, "ingress networks"),
        (
            request.ConfigOnly or (request.ConfigFrom is not None and request.ConfigFrom.Network),
            "configuration networks",
        ),
    ):
        if asked:
            raise InvalidParameter(f"{what} are not supported by this engine yet")
    if request.IPAM is not None and request.IPAM.Driver not in ("", "default"):
        raise InvalidParameter(f"error looking up IPAM driver: plugin {request.IPAM.Driver!r} not found")


def define(
    request: NetworkCreate,
    driver: str,
    others: Iterable[NetworkRecord],
    choose: Callable[[], ipaddress.IPv4Network],
) -> NetworkRecord:
    """Return the record of a new addressed network; `choose` gives a free subnet when none is asked for.

    Raises InvalidParameter, Forbidden when the subnet overlaps one of `others`, and what `choose` raises.
    """
    given = _range(request)
    if given.Subnet:
        subnet = ipaddress.IPv4Network(given.Subnet)
        if any(subnet.overlaps(other.network) for other in others if other.subnet):
            raise Forbidden("invalid pool request: Pool overlaps with other one on this address space")
    else:
        subnet = choose()
    id_ = new_id()
    settings = dict(request.Options or {})
    return NetworkRecord(
        id=id_,
        name=request.Name,
        driver=driver,
        created_ns=time.time_ns(),
        subnet=str(subnet),
        gateway=given.Gateway or str(_first(subnet, given)),
        ip_range=given.IPRange,
        reserved=given.AuxiliaryAddresses or {},
        internal=request.Internal,
        attachable=request.Attachable,
        options=settings,
        labels=request.Labels or {},
        bridge=settings.get(options.BRIDGE_NAME, f"db{id_[:12]}"),
    )


def _first(subnet: ipaddress.IPv4Network, given: IPAMConfig) -> ipaddress.IPv4Address:
    """The gateway: the first address of the range, or of the subnet, that is not set aside."""
    inside = ipaddress.IPv4Network(given.IPRange) if given.IPRange else subnet
    taken = {ipaddress.IPv4Address(text) for text in (given.AuxiliaryAddresses or {}).values()}
    edges = (subnet.network_address, subnet.broadcast_address)
    for address in inside:
        if address not in taken and address not in edges:
            return address
    raise InvalidParameter(f"invalid network config:\nno address of {inside} is left for the gateway")


def _range(request: NetworkCreate) -> IPAMConfig:
    # An IPv6 range of a network without IPv6 is left out without a word, as moby does (its issue 47202).
    configs = [
        config
        for config in (request.IPAM.Config if request.IPAM else None) or ()
        if config != IPAMConfig() and ":" not in config.Subnet
    ]
    if not configs:
        return IPAMConfig()
    problems: list[str] = []
    for config in configs:
        problems += _problems(config)
    if problems:
        raise InvalidParameter("invalid network config:\n" + "\n".join(problems))
    if len(configs) > 1:
        raise InvalidParameter("bridge driver does not support several subnets on one network")
    return configs[0]


def _problems(config: IPAMConfig) -> list[str]:
    try:
        subnet = ipaddress.ip_network(config.Subnet, strict=False)
    except ValueError:
        return [f"invalid subnet {config.Subnet}: invalid CIDR block notation"]
    if not isinstance(subnet, ipaddress.IPv4Network) or "/" not in config.Subnet:
        return [f"invalid subnet {config.Subnet}: invalid CIDR block notation"]
    found = []
    if str(subnet) != config.Subnet:
        found.append(f"invalid subnet {config.Subnet}: it should be {subnet}")
    if subnet.prefixlen > _LARGEST_PREFIX or subnet.prefixlen == 0:
        found.append(f"invalid subnet {config.Subnet}: it has no room for a gateway and containers, or is everything")
    if subnet.is_loopback or subnet.is_multicast:
        found.append(f"invalid subnet {config.Subnet}: its addresses cannot be given to containers")
    found += _range_problems(config.IPRange, subnet)
    if config.Gateway:
        found += _address_problems(f"gateway {config.Gateway}", config.Gateway, subnet)
    for name, address in (config.AuxiliaryAddresses or {}).items():
        found += _address_problems(f"auxiliary address {name}", address, subnet)
    return found


def _range_problems(text: str, subnet: ipaddress.IPv4Network) -> list[str]:
    if not text:
        return []
    try:
        inside = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return [f"invalid ip-range {text}: invalid CIDR block notation"]
    if not isinstance(inside, ipaddress.IPv4Network):
        return [f"invalid ip-range {text}: parent subnet is an IPv4 block"]
    found = []
    if inside.prefixlen < subnet.prefixlen:
        found.append(f"invalid ip-range {text}: CIDR block is bigger than its parent subnet {subnet}")
    if str(inside) != text:
        found.append(f"invalid ip-range {text}: it should be {inside}")
    if not inside.overlaps(subnet):
        found.append(f"invalid ip-range {text}: parent subnet {subnet} doesn't contain ip-range")
    return found


def _address_problems(what: str, text: str, subnet: ipaddress.IPv4Network) -> list[str]:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return [f"invalid {what}: invalid address"]
    if not isinstance(address, ipaddress.IPv4Address):
        return [f"invalid {what}: parent subnet is an IPv4 block"]
    if address not in subnet:
        return [f"invalid {what}: parent subnet {subnet} doesn't contain this address"]
    return []
