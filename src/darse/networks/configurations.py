"""Configuration networks: settings under a name, which other networks are made from (`--config-only, --config-from`).

They have no driver, and nothing on the host; nobody is connected to them. On nodes of a cluster they hold what differs
from node to node, as the parent link of a macvlan. Rules and texts are those of moby (libnetwork's `network.go`,
`validateConfiguration` and `applyConfigurationTo`).
"""

from __future__ import annotations

import time

import msgspec

from darse.core.errors import Forbidden, NotFound
from darse.core.ids import new_id
from darse.networks.definition import ranges
from darse.networks.model import NetworkRecord, SubnetPool
from darse.networks.store import NetworkStore
from darse.wire.networks import IPAM, IPAMConfig, NetworkCreate


def source_of(request: NetworkCreate) -> str:
    """The name of the configuration network that a network is made from; empty for none."""
    return request.ConfigFrom.Network if request.ConfigFrom is not None else ""


def check_configuration(request: NetworkCreate) -> None:
    """Raise Forbidden for a configuration network that has more than settings of one network, or depends on another."""
    if request.Ingress or request.Internal or request.Attachable or request.Scope not in ("", "local"):
        raise Forbidden(
            "configuration network can only contain network specific fields. Network operator fields like "
            "[ ingress | internal | attachable | scope ] are not supported."
        )
    if source_of(request):
        raise Forbidden("a configuration network cannot depend on another configuration network")


def define_configuration(request: NetworkCreate) -> NetworkRecord:
    """The record of a configuration network, whatever its driver. Raises Forbidden and InvalidParameter."""
    check_configuration(request)
    ipam = request.IPAM or IPAM()
    return NetworkRecord(
        id=new_id(),
        name=request.Name,
        driver="null",
        created_ns=time.time_ns(),
        pools=[
            SubnetPool(
                subnet=one.Subnet,
                gateway=one.Gateway,
                ip_range=one.IPRange,
                reserved=dict(one.AuxiliaryAddresses or {}),
            )
            for one in ranges(request)
        ],
        ipam_driver=ipam.Driver or "default",
        ipam_options=dict(ipam.Options or {}),
        ipv4=request.EnableIPv4 is not False,
        ipv6=bool(request.EnableIPv6),
        options=dict(request.Options or {}),
        labels=dict(request.Labels or {}),
        config_only=True,
    )


def apply_configuration(request: NetworkCreate, store: NetworkStore) -> NetworkCreate:
    """The request with the settings of the configuration network that it names, if it names one.

    Raises NotFound, and Forbidden for settings of its own.
    """
    name = source_of(request)
    if not name:
        return request
    source = store.by_name(name)
    if source is None or not source.config_only:
        raise NotFound(f'configuration network "{name}" does not exist')
    ipam = request.IPAM or IPAM()
    own = (ipam.Driver not in ("", "default"), ipam.Options, ipam.Config, request.EnableIPv6, request.Labels)
    if any(own):
        raise Forbidden(
            "user specified configurations are not supported if the network depends on a configuration network"
        )
    if request.Options:
        raise Forbidden("network driver options are not supported if the network depends on a configuration network")
    return msgspec.structs.replace(
        request,
        IPAM=IPAM(source.ipam_driver, dict(source.ipam_options), [_range(pool) for pool in source.pools]),
        EnableIPv4=source.ipv4,
        EnableIPv6=source.ipv6,
        Options=dict(source.options),
        Labels=dict(source.labels),
    )


def _range(pool: SubnetPool) -> IPAMConfig:
    return IPAMConfig(pool.subnet, pool.ip_range, pool.gateway, dict(pool.reserved) or None)


def refuse_configuration(record: NetworkRecord) -> None:
    """Raise Forbidden for a network that nobody can be connected to."""
    if record.config_only:
        raise Forbidden(f"cannot create endpoint on configuration-only network {record.name}")


def check_unused(record: NetworkRecord, store: NetworkStore) -> None:
    """Raise Forbidden for a configuration network that another network is made from."""
    if record.config_only and any(one.config_from == record.name for one in store):
        raise Forbidden(f'error while removing network: configuration network "{record.name}" is in use')
