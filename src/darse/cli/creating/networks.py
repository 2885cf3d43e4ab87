"""`--network` and the flags that say more of the first one."""

from __future__ import annotations

from darse.cli.command_line.flags import Options
from darse.cli.creating.values import is_integer
from darse.cli.errors import CliError, InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from darse.client.documents.networks import EndpointIPAMConfigDocument, EndpointSettingsDocument

_MAC = r"[0-9a-f]{2}([:-])([0-9a-f]{2}\1){4}[0-9a-f]{2}"
# Flags for the first network: the name of it in error messages, and the network's own setting.
_CONFLICTS = (
    ("network_alias", "alias", "--network-alias and per-network alias"),
    ("ip", "ip", "--ip and per-network IPv4 address"),
    ("ip6", "ip6", "--ip6 and per-network IPv6 address"),
    ("mac_address", "mac-address", "--mac-address and per-network MAC address"),
    ("link_local_ip", "link-local-ip", "--link-local-ip and per-network link-local IP addresses"),
)


def endpoints_and_mode(options: Options) -> tuple[dict[str, EndpointSettingsDocument], str]:
    """`--network`, with docker's `name=…,ip=…` syntax; return the endpoints and the network mode. Raises CliError."""
    networks = [_network(text) for text in [*options.network, *options.net]] or [{"name": "default"}]
    _add_flags(networks[0], options)
    endpoints: dict[str, EndpointSettingsDocument] = {}
    for network in networks:
        endpoint = _endpoint(network)
        if network["name"] in endpoints:
            raise CliError(f'network "{network["name"]}" is specified multiple times', 125)
        endpoints[network["name"]] = endpoint
    if len({_is_user_defined(name) for name in endpoints}) > 1:
        raise CliError("conflicting options: cannot attach both user-defined and non-user-defined network-modes", 125)
    mode = "" if not (options.network or options.net) else networks[0]["name"]
    if len(endpoints) == 1:
        endpoints = {name: endpoint for name, endpoint in endpoints.items() if endpoint}
    return endpoints, mode


def _is_user_defined(name: str) -> bool:
    return name not in ("host", "none", "bridge", "default") and not name.startswith("container:")


def _add_flags(network: dict[str, Any], options: Options) -> None:
    given = {
        "alias": [*options.network_alias, *options.net_alias],
        **{"ip": options.ip, "ip6": options.ip6, "mac-address": options.mac_address},
        "link-local-ip": options.link_local_ip,
    }
    for _, key, words in _CONFLICTS:
        if given[key] and network.get(key):
            raise CliError(f"conflicting options: cannot specify both {words}", 125)
        if given[key]:
            network[key] = given[key]
    if options.link and _is_user_defined(network["name"]):
        network["links"] = options.link


def _endpoint(network: dict[str, Any]) -> EndpointSettingsDocument:
    """The API's EndpointSettings."""
    name = network["name"]
    if not name.strip():
        raise CliError("no name set for network", 125)
    if network.get("alias") and not _is_user_defined(name):
        raise CliError("network-scoped aliases are only supported for user-defined networks", 125)
    mac = network.get("mac-address")
    if mac and not _is_mac(mac):
        raise CliError(f"{mac} is not a valid mac address", 125)
    addresses: EndpointIPAMConfigDocument = {  # type: ignore[assignment]
        member: network[key]
        for key, member in (("ip", "IPv4Address"), ("ip6", "IPv6Address"), ("link-local-ip", "LinkLocalIPs"))
        if network.get(key)
    }
    settings = {
        "Aliases": network.get("alias"),
        "DriverOpts": network.get("driver-opt"),
        "GwPriority": network.get("gw-priority"),
        "IPAMConfig": addresses,
        "Links": network.get("links"),
        "MacAddress": mac,
    }
    return {member: value for member, value in settings.items() if value}  # type: ignore[return-value]


def _is_mac(text: str) -> bool:
    import re

    return re.fullmatch(_MAC, text, re.IGNORECASE) is not None


def _network(text: str) -> dict[str, Any]:
    """One `--network`: a name, or fields. Raises InvalidArgument."""
    if "=" not in text:
        return {"name": text}
    network: dict[str, Any] = {}
    for field in text.split(","):
        key, _, value = field.partition("=")
        if key in ("name", "ip", "ip6", "mac-address"):
            network[key] = value
        elif key in ("alias", "link-local-ip"):
            network.setdefault(key, []).append(value)
        elif key == "gw-priority":
            if not is_integer(value):
                raise InvalidArgument(text, "network", f"invalid gw-priority ({value}): invalid syntax")
            network[key] = int(value)
        elif key == "driver-opt":
            option, equals, setting = value.partition("=")
            if not equals:
                raise InvalidArgument(text, "network", "invalid key value pair format in driver options")
            network.setdefault(key, {})[option] = setting
        else:
            raise InvalidArgument(text, "network", f"invalid field key {key}")
    if "name" not in network:
        raise InvalidArgument(text, "network", "network name/id is not specified")
    return network
