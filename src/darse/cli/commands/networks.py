# ruff: noqa: N802 - methods of rows are named as the placeholders
"""Commands about networks: each is one request, whose body `create` and `connect` make of their flags."""

from __future__ import annotations

import sys
from typing import Any, ClassVar

from darse.cli.command_line.flags import Command, listing, number, parse_filters, string, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.command_line.key_values import comma_separated, key_values, strict_key_values
from darse.cli.commands import pruning
from darse.cli.commands.network_graph import GRAPH
from darse.cli.errors import ApiError, CliError
from darse.cli.output.format import FORMAT_HELP, Row, labels_text, write
from darse.client.requests import networks
from darse.natural_order import natural

TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.cli.command_line.flags import Options
    from darse.client.documents.networks import EndpointSettingsDocument, IPAMConfigDocument, NetworkCreateDocument

_TABLE = "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}"
_HEADINGS = {
    "ID": "NETWORK ID",
    "Name": "NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "IPv4": "IPV4",
    "IPv6": "IPV6",
    "Internal": "INTERNAL",
    "Labels": "LABELS",
    "CreatedAt": "CREATED AT",
}


class NetworkRow(Row):
    """A network of a list."""

    GO_NAME: ClassVar[str] = "*network.networkContext"

    def ID(self) -> str:
        return self.id_text(self.document["Id"])

    def Name(self) -> str:
        return str(self.document["Name"])

    def Driver(self) -> str:
        return str(self.document["Driver"])

    def Scope(self) -> str:
        return str(self.document["Scope"])

    def IPv4(self) -> str:
        return _boolean(self.document.get("EnableIPv4"))

    def IPv6(self) -> str:
        return _boolean(self.document.get("EnableIPv6"))

    def Internal(self) -> str:
        return _boolean(self.document.get("Internal"))

    def Labels(self) -> str:
        return labels_text(self.document.get("Labels"))

    def Label(self, name: str) -> str:
        return str((self.document.get("Labels") or {}).get(name, ""))

    def CreatedAt(self) -> str:
        from darse.durations import go_time

        return go_time(self.document["Created"])


def _boolean(value: object) -> str:
    return "true" if value else "false"


def create(invocation: Invocation) -> int:
    """Create a network and print its id."""
    options = invocation.options
    body: NetworkCreateDocument = {
        "Name": invocation.arguments[0],
        "Driver": options.driver,
        "Scope": options.scope,
        "Internal": options.internal,
        "Attachable": options.attachable,
        "Ingress": options.ingress,
        "ConfigOnly": options.config_only,
        "IPAM": {
            "Driver": options.ipam_driver,
            "Options": key_values(options.ipam_opt),
            "Config": _address_configurations(options),
        },
        "Options": key_values(options.opt),
        "Labels": key_values(options.label),
    }
    if options.config_from:
        body["ConfigFrom"] = {"Network": options.config_from}
    if "ipv4" in options.given:
        body["EnableIPv4"] = options.ipv4
    if "ipv6" in options.given:
        body["EnableIPv6"] = options.ipv6
    answer = invocation.client.do(networks.create(body))
    if answer.get("Warning"):
        sys.stderr.write(f"WARNING: {answer['Warning']}\n")
    sys.stdout.write(f"{answer['Id']}\n")
    return 0


def _address_configurations(options: Options) -> list[IPAMConfigDocument]:
    """One entry per subnet, with the range, gateway and reserved addresses that are in it. Raises CliError."""
    subnets, ranges = comma_separated(options.subnet), comma_separated(options.ip_range)
    gateways, reserved = comma_separated(options.gateway), key_values(options.aux_address)
    if len(subnets) < max(len(ranges), len(gateways)):
        raise CliError("every ip-range or gateway must have a corresponding subnet")
    if not subnets:
        if reserved:
            raise CliError(f"no matching subnet for aux-address {next(iter(reserved.values()))}")
        return []
    import ipaddress

    known: dict[str, Any] = {}
    for text in subnets:
        try:
            subnet = ipaddress.ip_interface(text).network
        except ValueError:
            raise CliError(f"invalid subnet: invalid CIDR address: {text}") from None
        if any(subnet.overlaps(other) for other in known.values() if other.version == subnet.version):
            raise CliError("multiple overlapping subnet configuration is not supported")
        known[text] = subnet
    configurations: dict[str, IPAMConfigDocument] = {text: {"Subnet": text} for text in subnets}

    def matching(text: str, what: str) -> IPAMConfigDocument:
        try:
            address = ipaddress.ip_interface(text).ip
        except ValueError:
            kind = "invalid CIDR address" if what == "range" else "invalid IP address"
            raise CliError(f"{kind}: {text}") from None
        for name, subnet in known.items():
            if address in subnet:
                return configurations[name]
        raise CliError(f"no matching subnet for {what} {text}")

    for text, what, key in [
        *((one, "range", "IPRange") for one in ranges),
        *((one, "gateway", "Gateway") for one in gateways),
    ]:
        found = matching(text, what)
        if given := found.get(key):
            relation = "on" if what == "range" else "for"
            raise CliError(
                f"cannot configure multiple {what}s ({text}, {given}) {relation} the same subnet ({found['Subnet']})"
            )
        if key == "IPRange":
            found["IPRange"] = text
        else:
            found["Gateway"] = text
    for name, text in reserved.items():
        found = matching(text, "aux-address")
        found["AuxiliaryAddresses"] = {**(found.get("AuxiliaryAddresses") or {}), name: text}
    return list(configurations.values())


def list_networks(invocation: Invocation) -> int:
    """Print the networks."""
    options = invocation.options
    found = invocation.client.do(networks.list_networks(filters=parse_filters(options.filter)))
    source = options.format
    if not source and not options.quiet:
        source = invocation.settings.member("networksFormat", str)
    if source in ("", "table"):
        source = "{{.ID}}" if options.quiet else _TABLE
    elif source == "raw":
        raw = "network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n"
        source = "network_id: {{.ID}}" if options.quiet else raw
    found.sort(key=lambda network: natural(network["Name"]))
    rows = (NetworkRow(one, truncate=not options.no_trunc) for one in found)
    write(source, rows, _HEADINGS, may_fit=source == _TABLE and not options.no_trunc)
    return 0


def remove(invocation: Invocation) -> int:
    """Remove networks; with --force missing ones are no failure."""
    status = 0
    for name in invocation.arguments:
        try:
            invocation.client.do(networks.remove(name))
        except ApiError as error:
            if invocation.options.force and error.http_status == 404:
                continue
            sys.stderr.write(f"{error}\n")
            status = 1
        else:
            sys.stdout.write(f"{name}\n")
    if status:
        raise CliError(f"exit status {status}", status)
    return 0


def connect(invocation: Invocation) -> int:
    """Connect a container to a network."""
    options = invocation.options
    network, container = invocation.arguments
    settings: EndpointSettingsDocument = {
        "IPAMConfig": {
            "IPv4Address": options.ip,
            "IPv6Address": options.ip6,
            "LinkLocalIPs": comma_separated(options.link_local_ip),
        },
        "Links": options.link,
        "Aliases": comma_separated(options.alias),
        "DriverOpts": strict_key_values(comma_separated(options.driver_opt)),
        "GwPriority": options.gw_priority,
    }
    invocation.client.do(networks.connect(network, container, settings))
    return 0


def disconnect(invocation: Invocation) -> int:
    """Disconnect a container from a network."""
    network, container = invocation.arguments
    invocation.client.do(networks.disconnect(network, container, force=invocation.options.force))
    return 0


COMMANDS = {
    "network graph": GRAPH,
    "network create": (
        Command(
            "network create",
            "[OPTIONS] NETWORK",
            "Create a network",
            (
                switch("attachable", "Enable manual container attachment"),
                listing("aux-address", "Auxiliary IPv4 or IPv6 addresses used by Network driver", value="map"),
                string("config-from", "The network from which to copy the configuration"),
                switch("config-only", "Create a configuration only network"),
                string("driver", "Driver to manage the Network", "d", default="bridge"),
                listing("gateway", "IPv4 or IPv6 Gateway for the master subnet", value="strings"),
                switch("ingress", "Create swarm routing-mesh network"),
                switch("internal", "Restrict external access to the network"),
                listing("ip-range", "Allocate container ip from a sub-range", value="strings"),
                string("ipam-driver", "IP Address Management Driver", default="default"),
                listing("ipam-opt", "Set IPAM driver specific options", value="map"),
                switch("ipv4", "Enable or disable IPv4 address assignment", default=True),
                switch("ipv6", "Enable or disable IPv6 address assignment"),
                listing("label", "Set metadata on a network"),
                listing("opt", "Set driver specific options", "o", "map"),
                string("scope", "Control the network's scope"),
                listing("subnet", "Subnet in CIDR format that represents a network segment", value="strings"),
            ),
            1,
            1,
        ),
        create,
    ),
    "network ls": (
        Command(
            "network ls",
            "[OPTIONS]",
            "List networks",
            (
                listing("filter", 'Provide filter values (e.g. "driver=bridge")', "f", "filter"),
                string("format", FORMAT_HELP),
                switch("no-trunc", "Do not truncate the output"),
                switch("quiet", "Only display network IDs", "q"),
            ),
        ),
        list_networks,
    ),
    "network rm": (
        Command(
            "network rm",
            "NETWORK [NETWORK...]",
            "Remove one or more networks",
            (switch("force", "Do not error if the network does not exist", "f"),),
            1,
            None,
        ),
        remove,
    ),
    "network prune": (
        Command(
            "network prune",
            "[OPTIONS]",
            "Remove all unused networks",
            (
                listing("filter", 'Provide filter values (e.g. "until=<timestamp>")', value="filter"),
                switch("force", "Do not prompt for confirmation", "f"),
            ),
        ),
        pruning.command(pruning.NETWORKS, shows_space=False),
    ),
    "network connect": (
        Command(
            "network connect",
            "[OPTIONS] NETWORK CONTAINER",
            "Connect a container to a network",
            (
                listing("alias", "Add network-scoped alias for the container", value="strings"),
                listing("driver-opt", "driver options for the network", value="strings"),
                number(
                    "gw-priority",
                    "Highest gw-priority provides the default gateway. Accepts positive and negative values.",
                    default=0,
                ),
                string("ip", 'IPv4 address (e.g., "172.30.100.104")'),
                string("ip6", 'IPv6 address (e.g., "2001:db8::33")'),
                listing("link", "Add link to another container"),
                listing("link-local-ip", "Add a link-local address for the container", value="strings"),
            ),
            2,
            2,
        ),
        connect,
    ),
    "network disconnect": (
        Command(
            "network disconnect",
            "[OPTIONS] NETWORK CONTAINER",
            "Disconnect a container from a network",
            (switch("force", "Force the container to disconnect from a network", "f"),),
            2,
            2,
        ),
        disconnect,
    ),
}
