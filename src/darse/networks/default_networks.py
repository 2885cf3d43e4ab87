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
    config: EngineConfig, store: NetworkStore, bridges: BridgeDriver, choose: Callable[[], IPNetwork]
) -> None:
    """Save the records that are missing or that the configuration has outdated.

    `choose` gives a free subnet. Raises InvalidParameter for the configuration, and Conflict.
    """
    for name, driver in (("host", "host"), ("none", "null")):
        if store.by_name(name) is None:
            store.save(NetworkRecord(id=new_id(), name=name, driver=driver, created_ns=time.time_ns()))
    existing = store.by_name("bridge")
    if existing is not None and _is_used(existing, store):
        if _is_outdated(config, existing):
            _log.warning("--bridge and --bip count from the next start without running containers on network bridge")
            return
        _save(store, _record(config, existing, _address(existing)), existing)
        return
    if existing is not None and (config.bridge == "none" or existing.bridge != config.bridge_name):
        bridges.remove(existing)
    if config.bridge == "none":
        if existing is not None:
            store.delete(existing)
        return
    interface = _interface(config, bridges, existing) or _first(choose())
    _save(store, _record(config, existing, interface), existing)


def _save(store: NetworkStore, record: NetworkRecord, existing: NetworkRecord | None) -> None:
    if record != existing:
        store.save(record)


def _is_outdated(config: EngineConfig, record: NetworkRecord) -> bool:
    if config.bridge == "none" or record.bridge != config.bridge_name:
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


def _record(config: EngineConfig, existing: NetworkRecord | None, interface: ipaddress.IPv4Interface) -> NetworkRecord:
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
    return NetworkRecord(
        id=existing.id if existing else new_id(),
        name="bridge",
        driver="bridge",
        created_ns=existing.created_ns if existing else time.time_ns(),
        pools=[
            SubnetPool(
                id=str(subnet),
                subnet=str(subnet),
                gateway=str(interface.ip),
                ip_range=config.fixed_cidr,
                reserved={"DefaultGatewayIPv4": config.default_gateway} if config.default_gateway else {},
            )
        ],
        way_out=config.default_gateway,
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
