"""Networks as the API shows them, and which of them a filter picks."""

from __future__ import annotations

from collections.abc import Iterable

from darse.core.errors import InvalidParameter
from darse.core.filters import Filters
from darse.core.times import rfc3339
from darse.networks.definition import PREDEFINED
from darse.networks.model import NetworkRecord, SandboxRecord
from darse.wire.networks import IPAM, ConfigReference, IPAMConfig, Network, NetworkContainer

LIST_FILTERS = ("dangling", "driver", "id", "label", "label!", "name", "scope", "type")
PRUNE_FILTERS = ("label", "label!", "until")
_KINDS = ("builtin", "custom")


def view(record: NetworkRecord, connected: Iterable[SandboxRecord]) -> Network:
    """A network, with the containers that are `connected`."""
    ranges = [
        IPAMConfig(pool.subnet, pool.ip_range, pool.gateway, dict(pool.reserved) or None) for pool in record.pools
    ]
    return Network(
        Name=record.name,
        Id=record.id,
        Created=rfc3339(record.created_ns),
        Driver=record.driver,
        EnableIPv4=record.ipv4,
        EnableIPv6=record.ipv6,
        IPAM=IPAM(record.ipam_driver, record.ipam_options or None, ranges),
        Internal=record.internal,
        Attachable=record.attachable,
        ConfigFrom=ConfigReference(record.config_from),
        ConfigOnly=record.config_only,
        Containers={
            sandbox.container_id: NetworkContainer(
                sandbox.container_name,
                endpoint.endpoint_id,
                endpoint.mac,
                f"{endpoint.address}/{endpoint.prefix}" if endpoint.address else "",
                f"{endpoint.address6}/{endpoint.prefix6}" if endpoint.address6 else "",
            )
            for sandbox in connected
            for endpoint in sandbox.endpoints
            if endpoint.network_id == record.id
        },
        Options=record.options,
        Labels=record.labels,
    )


def check_filters(filters: Filters) -> None:
    """Raise InvalidParameter for values that no network can have."""
    for kind in filters.values("type"):
        if kind not in _KINDS:
            raise InvalidParameter(f"invalid filter: 'type'='{kind}'")
    filters.flag("dangling")


def matches(record: NetworkRecord, filters: Filters, *, used: bool) -> bool:
    """Whether the list shows a network; `used`: it is predefined, or some container is or will be on it."""
    dangling = filters.flag("dangling")
    return (
        (dangling is None or dangling != used)
        and filters.search("name", record.name)
        and filters.prefix("id", record.id)
        and filters.exact("driver", record.driver)
        and filters.exact("type", "builtin" if record.name in PREDEFINED else "custom")
        and filters.exact("scope", "local")
        and filters.labels(record.labels)
        and filters.without_labels(record.labels)
    )


def prunable(record: NetworkRecord, filters: Filters) -> bool:
    """Whether the filters of a prune let an unused network go. Raises InvalidParameter."""
    until = filters.until_ns()
    return (
        record.name not in PREDEFINED
        and not record.config_only
        and filters.labels(record.labels)
        and filters.without_labels(record.labels)
        and (until is None or record.created_ns < until)
    )
