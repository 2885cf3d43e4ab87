"""From a request to make a network to its record: names, subnets and options checked, defaults chosen.

Texts follow moby's validation of address ranges (api/types/network/ipam.go), which tells every mistake at once.
"""

from __future__ import annotations

import ipaddress
import time

import msgspec

from darse.core.errors import Forbidden, InvalidParameter
from darse.core.ids import new_id
from darse.networks import options
from darse.networks.ipam import IPAMDriver, PoolRequest
from darse.networks.model import IPNetwork, NetworkRecord, SubnetPool
from darse.wire.networks import IPAMConfig, NetworkCreate

PREDEFINED = ("bridge", "host", "none")
_RESERVED = (*PREDEFINED, "default", "container", "ingress")
# What is longer has no room for a gateway and a container.
# Each is held against all others, of this network and of the rest.
_MOST_SUBNETS = 256
_LARGEST_PREFIX = {4: 30, 6: 126}


def check_name(name: str) -> None:
    """Raise InvalidParameter for a blank name, and Forbidden for names with a meaning of their own."""
    if not name.strip():
        raise InvalidParameter("invalid name: name is empty")
    if name in _RESERVED:
        raise Forbidden(f"operation is not permitted on predefined {name} network")


def check_request(request: NetworkCreate) -> None:
    """Raise InvalidParameter and Forbidden for what this engine's networks cannot be."""
    if request.Scope not in ("", "local"):
        raise InvalidParameter(f"cannot make a network of scope {request.Scope!r}: this node is not a swarm manager")
    if request.Ingress:
        raise Forbidden("Ingress network can only be global scope network")
    if request.EnableIPv4 is False and not request.EnableIPv6:
        raise InvalidParameter("IPv4 or IPv6 must be enabled")


def define(request: NetworkCreate, driver: str) -> NetworkRecord:
    """Return the record of a new network, without its pools yet."""
    id_ = new_id()
    settings = dict(request.Options or {})
    ipam = request.IPAM
    return NetworkRecord(
        id=id_,
        name=request.Name,
        driver=driver,
        created_ns=time.time_ns(),
        ipam_driver=(ipam.Driver if ipam is not None else "") or "default",
        ipam_options=dict(ipam.Options or {}) if ipam is not None else {},
        ipv4=request.EnableIPv4 is not False,
        ipv6=bool(request.EnableIPv6),
        internal=request.Internal,
        attachable=request.Attachable,
        options=settings,
        labels=request.Labels or {},
        config_from=request.ConfigFrom.Network if request.ConfigFrom is not None else "",
        bridge=settings.get(options.BRIDGE_NAME) or f"db{id_[:12]}" if driver == "bridge" else "",
    )


def ranges(request: NetworkCreate) -> list[IPAMConfig]:
    """The subnets that are asked for.

    Raises InvalidParameter. A range of a family that the network does not have is left out, as moby does (its issue
    47202).
    """
    families = {4: request.EnableIPv4 is not False, 6: bool(request.EnableIPv6)}
    configs = [
        config
        for config in (request.IPAM.Config if request.IPAM else None) or ()
        if config != IPAMConfig() and families[6 if ":" in config.Subnet else 4]
    ]
    if len(configs) > _MOST_SUBNETS:
        raise InvalidParameter(
            f"invalid network config:\n{len(configs)} subnets: a network has {_MOST_SUBNETS} at most"
        )
    problems = [problem for config in configs for problem in _problems(config)]
    problems += _overlaps(configs) if not problems else []
    if problems:
        raise InvalidParameter("invalid network config:\n" + "\n".join(problems))
    return configs


def pool_requests(request: NetworkCreate) -> list[tuple[PoolRequest, IPAMConfig]]:
    """What an IPAM driver is to be asked for, with what the client said of each pool. Raises InvalidParameter."""
    settings = dict((request.IPAM.Options if request.IPAM else None) or {})
    asked = []
    for config in ranges(request):
        version = 6 if ":" in config.Subnet else 4
        pool_request = PoolRequest(version=version, subnet=config.Subnet, ip_range=config.IPRange, options=settings)
        asked.append((pool_request, config))
    there = {pool_request.version for pool_request, _ in asked}
    for version, enabled in ((4, request.EnableIPv4 is not False), (6, bool(request.EnableIPv6))):
        if enabled and version not in there:
            asked.append((PoolRequest(version=version, options=settings), IPAMConfig()))
    return asked


def _first_address(subnet: IPNetwork, given: IPAMConfig) -> str:
    """The gateway, where none is asked for: the first address of the range, or of the subnet, that is not set aside."""
    inside = ipaddress.ip_network(given.IPRange) if given.IPRange else subnet
    taken = {ipaddress.ip_address(text) for text in (given.AuxiliaryAddresses or {}).values()}
    edges = {subnet.network_address, *((subnet.broadcast_address,) if subnet.version == 4 else ())}
    for address in inside:
        if address not in taken and address not in edges:
            return str(address)
    raise InvalidParameter(f"invalid network config:\nno address of {inside} is left for the gateway")


async def lease_pool(ipam: IPAMDriver, request: PoolRequest, given: IPAMConfig) -> SubnetPool | None:
    """Have a pool for a new network, and in it a gateway; None when the driver gives none. Raises EngineError."""
    lease = await ipam.request_pool(request)
    if not lease.subnet:
        return None
    reserved = dict(given.AuxiliaryAddresses or {})
    pool = SubnetPool(id=lease.id, subnet=lease.subnet, ip_range=given.IPRange, reserved=reserved)
    try:
        gateway = given.Gateway or lease.gateway.partition("/")[0]
        if not lease.gateway:
            # In pools of drivers that tell a gateway, it is nobody's to lease.
            options = {"RequestAddressType": "com.docker.network.gateway"}
            chosen = gateway or ("" if ipam.keeps_outside else _first_address(pool.network, given))
            gateway = (await ipam.request_address(pool, chosen, options)).address
        for address in reserved.values() if ipam.keeps_outside else ():
            await ipam.request_address(pool, address)
    except BaseException:
        await ipam.release_pool(pool)
        raise
    pool = msgspec.structs.replace(pool, gateway=gateway)
    if not ipam.keeps_outside:
        ipam.restore_pool(pool, request.options)
    return pool


def _overlaps(configs: list[IPAMConfig]) -> list[str]:
    """A sentence for each subnet that overlaps another."""
    networks = sorted(
        (ipaddress.ip_network(config.Subnet) for config in configs),
        key=lambda network: (network.version, int(network.network_address), network.prefixlen),
    )
    found = []
    # Of two networks that overlap one holds the other, and comes first.
    holds: IPNetwork | None = None
    for network in networks:
        if holds is not None and holds.version == network.version and holds.overlaps(network):
            found.append(f"invalid subnet {network}: it overlaps {holds}")
        else:
            holds = network
    return found


def _problems(config: IPAMConfig) -> list[str]:
    try:
        subnet = ipaddress.ip_network(config.Subnet, strict=False)
    except ValueError:
        return [f"invalid subnet {config.Subnet}: invalid CIDR block notation"]
    if "/" not in config.Subnet or "%" in config.Subnet:
        return [f"invalid subnet {config.Subnet}: invalid CIDR block notation"]
    found = []
    if str(subnet) != config.Subnet:
        found.append(f"invalid subnet {config.Subnet}: it should be {subnet}")
    if subnet.prefixlen > _LARGEST_PREFIX[subnet.version] or subnet.prefixlen == 0:
        found.append(f"invalid subnet {config.Subnet}: it has no room for a gateway and containers, or is everything")
    if subnet.is_loopback or subnet.is_multicast:
        found.append(f"invalid subnet {config.Subnet}: its addresses cannot be given to containers")
    found += _range_problems(config.IPRange, subnet)
    if config.Gateway:
        found += _address_problems(f"gateway {config.Gateway}", config.Gateway, subnet)
    for name, address in (config.AuxiliaryAddresses or {}).items():
        found += _address_problems(f"auxiliary address {name}", address, subnet)
    return found


def _range_problems(text: str, subnet: IPNetwork) -> list[str]:
    if not text:
        return []
    try:
        inside = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return [f"invalid ip-range {text}: invalid CIDR block notation"]
    if inside.version != subnet.version or "%" in text:
        return [f"invalid ip-range {text}: parent subnet is an IPv{subnet.version} block"]
    found = []
    if inside.prefixlen < subnet.prefixlen:
        found.append(f"invalid ip-range {text}: CIDR block is bigger than its parent subnet {subnet}")
    if str(inside) != text:
        found.append(f"invalid ip-range {text}: it should be {inside}")
    if not inside.overlaps(subnet):
        found.append(f"invalid ip-range {text}: parent subnet {subnet} doesn't contain ip-range")
    return found


def _address_problems(what: str, text: str, subnet: IPNetwork) -> list[str]:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return [f"invalid {what}: invalid address"]
    if address.version != subnet.version or "%" in text:
        return [f"invalid {what}: parent subnet is an IPv{subnet.version} block"]
    if address not in subnet:
        return [f"invalid {what}: parent subnet {subnet} doesn't contain this address"]
    return []
