"""The records of the networks that are always there: `bridge`, `host` and `none`. Their ids never change."""

from __future__ import annotations

import ipaddress
import logging
import time
from collections.abc import Callable

from darse.core.config import EngineConfig
from darse.core.errors import InvalidParameter
from darse.core.ids import new_id
from darse.networks import options
from darse.networks.drivers import BridgeDriver
from darse.networks.model import IPNetwork, NetworkRecord, SubnetPool
from darse.networks.store import NetworkStore

_log = logging.getLogger(__name__)
_ADMINISTERED = ("", "none")


def predefine(
    config: EngineConfig, store: NetworkStore, bridges: BridgeDriver, choose: Callable[[int], IPNetwork]
) -> None:
    """Save the records that are missing or that the configuration has outdated.

    `choose` gives a free subnet of a family. Raises InvalidParameter for the configuration, and Conflict.
    """
    for name, driver in (("host", "host"), ("none", "null")):
        if store.by_name(name) is None:
            store.save(NetworkRecord(id=new_id(), name=name, driver=driver, created_ns=time.time_ns()))
    existing = store.by_name("bridge")
    if existing is not None and _is_used(existing, store):
        if _is_outdated(config, existing):
            _log.warning(
                "--bridge, --bip and --ipv6 count from the next start without running containers on network bridge"
            )
            return
        _save(store, _record(config, existing, _address(existing), existing.pool(6)), existing)
        return
    if existing is not None and (config.bridge == "none" or existing.bridge != config.bridge_name):
        bridges.remove(existing)
    if config.bridge == "none":
        if existing is not None:
            store.delete_network(existing)
        return
    interface = _interface(config, bridges, existing) or _first(choose(4))
    pool6 = _pool6(config, existing, choose) if config.ipv6 else None
    _save(store, _record(config, existing, interface, pool6), existing)


def _save(store: NetworkStore, record: NetworkRecord, existing: NetworkRecord | None) -> None:
    if record != existing:
        store.save(record)


def _is_outdated(config: EngineConfig, record: NetworkRecord) -> bool:
    if config.bridge == "none" or record.bridge != config.bridge_name:
        return True
    if config.ipv6 != record.ipv6:
        return True
    return bool(config.bip) and _bip(config.bip) != _address(record)


def _interface(
    config: EngineConfig, bridges: BridgeDriver, existing: NetworkRecord | None
) -> ipaddress.IPv4Interface | None:
    """The bridge's address, where it is given or was chosen before; None when one is to be chosen."""
    if config.bridge not in _ADMINISTERED:
        return bridges.existing_address(config.bridge)
    if config.bip:
        return _bip(config.bip)
    if existing is None or existing.foreign:
        return None
    # Nobody has an address of it, and since the engine ended somebody else may have taken the subnet.
    address = _address(existing)
    return address if bridges.exists(existing) or not bridges.routed(address.network) else None


def _address(record: NetworkRecord) -> ipaddress.IPv4Interface:
    pool = record.pool(4)
    assert pool is not None, "the default bridge has an IPv4 subnet"
    return ipaddress.IPv4Interface(f"{pool.gateway}/{pool.network.prefixlen}")


def _is_used(record: NetworkRecord, store: NetworkStore) -> bool:
    return any(
        endpoint.network_id == record.id for sandbox in store.sandboxes.values() for endpoint in sandbox.endpoints
    )


def _pool6(config: EngineConfig, existing: NetworkRecord | None, choose: Callable[[int], IPNetwork]) -> SubnetPool:
    """The default bridge's IPv6 subnet: the one that is asked for, that it had, or a free one."""
    reserved = {"DefaultGatewayIPv6": config.default_gateway_v6} if config.default_gateway_v6 else {}
    if config.bip6:
        interface = ipaddress.IPv6Interface(config.bip6)
        subnet, gateway = interface.network, str(interface.ip)
        if interface.ip == subnet.network_address:
            raise InvalidParameter(f"invalid --bip6 {config.bip6}: must be an address with a prefix length")
        inside = config.fixed_cidr_v6
    elif config.fixed_cidr_v6:
        subnet, inside = ipaddress.IPv6Network(config.fixed_cidr_v6), ""
        gateway = str(subnet[1])
    else:
        had = existing.pool(6) if existing is not None else None
        chosen = had.network if had is not None else choose(6)
        subnet, gateway, inside = ipaddress.IPv6Network(str(chosen)), str(chosen[1]), ""
    if inside and not ipaddress.IPv6Network(inside).subnet_of(subnet):
        raise InvalidParameter(f"invalid --fixed-cidr-v6 {inside}: it is not within the bridge's {subnet}")
    if config.default_gateway_v6 and ipaddress.ip_address(config.default_gateway_v6) not in subnet:
        raise InvalidParameter(f"invalid --default-gateway-v6 {config.default_gateway_v6}: it is not within {subnet}")
    return SubnetPool(id=str(subnet), subnet=str(subnet), gateway=gateway, ip_range=inside, reserved=reserved)


def _pool4(config: EngineConfig, interface: ipaddress.IPv4Interface) -> SubnetPool:
    subnet = interface.network
    if config.fixed_cidr:
        try:
            inside = ipaddress.IPv4Network(config.fixed_cidr, strict=False)
        except ValueError:
            raise InvalidParameter(f"invalid --fixed-cidr {config.fixed_cidr}: must be a subnet") from None
        if not inside.subnet_of(subnet):
            raise InvalidParameter(f"invalid --fixed-cidr {config.fixed_cidr}: it is not within the bridge's {subnet}")
    if config.default_gateway and ipaddress.IPv4Address(config.default_gateway) not in subnet:
        raise InvalidParameter(f"invalid --default-gateway {config.default_gateway}: it is not within {subnet}")
    return SubnetPool(
        id=str(subnet),
        subnet=str(subnet),
        gateway=str(interface.ip),
        ip_range=config.fixed_cidr,
        reserved={"DefaultGatewayIPv4": config.default_gateway} if config.default_gateway else {},
    )


def _record(
    config: EngineConfig,
    existing: NetworkRecord | None,
    interface: ipaddress.IPv4Interface,
    pool6: SubnetPool | None,
) -> NetworkRecord:
    return NetworkRecord(
        id=existing.id if existing else new_id(),
        name="bridge",
        driver="bridge",
        created_ns=existing.created_ns if existing else time.time_ns(),
        pools=[_pool4(config, interface), *((pool6,) if pool6 is not None else ())],
        default_gateway=config.default_gateway,
        default_gateway6=config.default_gateway_v6 if pool6 is not None else "",
        ipv6=pool6 is not None,
        options={
            options.DEFAULT_BRIDGE: "true",
            options.ICC: str(config.icc).lower(),
            options.MASQUERADE: str(config.ip_masq).lower(),
            options.HOST_BINDING: config.ip,
            options.BRIDGE_NAME: config.bridge_name,
            options.MTU: str(config.mtu),
        },
        bridge=config.bridge_name,
        foreign=config.bridge not in _ADMINISTERED,
    )


def _first(subnet: IPNetwork) -> ipaddress.IPv4Interface:
    return ipaddress.IPv4Interface(f"{subnet[1]}/{subnet.prefixlen}")


def _bip(text: str) -> ipaddress.IPv4Interface:
    try:
        interface = ipaddress.IPv4Interface(text)
    except ValueError:
        interface = None
    if interface is None or "/" not in text or interface.ip == interface.network.network_address:
        raise InvalidParameter(f"invalid --bip {text}: must be an address with a prefix length, as 10.1.0.1/24")
    return interface
