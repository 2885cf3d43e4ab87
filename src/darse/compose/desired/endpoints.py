"""A service on its networks, and its ports."""

from __future__ import annotations

from darse.compose.errors import ComposeError
from darse.compose.model.project import Project
from darse.compose.model.service import Service, ServiceNetwork
from darse.port_specs import InvalidPort, parse_ports
from darse.wire.host_config import PortBinding, PortMap
from darse.wire.networks import EndpointIPAMConfig, EndpointSettings

_INTERFACE_NAME = "com.docker.network.endpoint.ifname"


def network_mode(project: Project, service: Service) -> str:
    """`NetworkMode`: what the service says, else the network of the highest priority."""
    if service.network_mode:
        return service.network_mode
    ordered = by_priority(service)
    return project.networks[ordered[0]].name if ordered else "none"


def endpoints(
    project: Project, name: str, service: Service, container: str, links: list[str], *, with_aliases: bool = True
) -> dict[str, EndpointSettings] | None:
    """The endpoints of a container, that of its first network first; None where it shares another's.

    `with_aliases` False: a one-off container is not found by the service's name.
    """
    if service.network_mode:
        return None
    found: dict[str, EndpointSettings] = {}
    for key in by_priority(service):
        given = service.networks[key] or ServiceNetwork()
        address = given.mac_address
        if not found and service.mac_address:
            if address and address != service.mac_address:
                raise ComposeError(
                    f"the service-level mac_address should have the same value as network {key}",
                    ("services", name, "mac_address"),
                )
            address = service.mac_address
        options = dict(given.driver_opts)
        if given.interface_name:
            options[_INTERFACE_NAME] = given.interface_name
        found[project.networks[key].name] = EndpointSettings(
            IPAMConfig=_addresses(given),
            Links=links or None,
            Aliases=[container, *([name, *given.aliases] if with_aliases else [])],
            MacAddress=address,
            DriverOpts=options or None,
            GwPriority=given.gw_priority,
        )
    return found


def by_priority(service: Service) -> list[str]:
    """The networks of a service, that of the highest priority first."""
    return sorted(service.networks, key=lambda key: (-(service.networks[key] or ServiceNetwork()).priority, key))


def _addresses(given: ServiceNetwork) -> EndpointIPAMConfig | None:
    if not (given.ipv4_address or given.ipv6_address or given.link_local_ips):
        return None
    return EndpointIPAMConfig(given.ipv4_address, given.ipv6_address, given.link_local_ips or None)


def ports(service: Service) -> tuple[dict[str, dict[str, object]] | None, PortMap]:
    """`ExposedPorts` and `PortBindings`. Raises ComposeError."""
    try:
        _, exposed = parse_ports([], service.expose)
    except InvalidPort as error:
        raise ComposeError(str(error)) from error
    bindings: PortMap = {}
    for port in service.ports:
        key = f"{port.target}/{port.protocol or 'tcp'}"
        exposed[key] = {}
        bound = bindings.setdefault(key, [])
        if bound is not None:
            bound.append(PortBinding(HostIp=port.host_ip, HostPort=port.published))
    return exposed or None, bindings
