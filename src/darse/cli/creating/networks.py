"""`--network` and the flags that say more of the first one."""

from __future__ import annotations

from typing import Any

from darse.cli.creating.values import invalid
from darse.cli.flags import Options


def endpoints_and_mode(options: Options) -> tuple[dict[str, Any], str]:
    """`--network`, with docker's `name=…,ip=…` syntax; return the endpoints and the network mode."""
    endpoints: dict[str, Any] = {}
    mode = ""
    for text in [*options.network, *options.net]:
        name, settings = _network(text)
        mode = mode or name
        built_in = name in ("host", "none", "bridge", "default") or name.startswith("container:")
        if built_in and not settings:
            continue
        endpoints[name] = settings
    if mode and not mode.startswith("container:") and mode not in ("host", "none"):
        first = endpoints.setdefault(mode, {})
        if options.network_alias or options.net_alias:
            first["Aliases"] = [*options.network_alias, *options.net_alias]
        if options.ip or options.ip6:
            first["IPAMConfig"] = {"IPv4Address": options.ip, "IPv6Address": options.ip6}
        if options.mac_address:
            first["MacAddress"] = options.mac_address
        if mode in ("bridge", "default") and not first:
            del endpoints[mode]
    elif options.ip:
        endpoints["default"] = {"IPAMConfig": {"IPv4Address": options.ip}}
    return endpoints, mode


def _network(text: str) -> tuple[str, dict[str, Any]]:
    if "=" not in text:
        return text, {}
    name = ""
    settings: dict[str, Any] = {}
    for field in text.split(","):
        key, _, value = field.partition("=")
        if key == "name":
            name = value
        elif key == "alias":
            settings.setdefault("Aliases", []).append(value)
        elif key == "ip":
            settings.setdefault("IPAMConfig", {})["IPv4Address"] = value
        elif key == "ip6":
            settings.setdefault("IPAMConfig", {})["IPv6Address"] = value
        elif key == "mac-address":
            settings["MacAddress"] = value
        elif key == "gw-priority":
            settings["GwPriority"] = int(value)
        elif key == "driver-opt":
            option, _, setting = value.partition("=")
            settings.setdefault("DriverOpts", {})[option] = setting
        else:
            raise invalid(text, "network", f"invalid key {key} in {field}")
    if not name:
        raise invalid(text, "network", "network name/id is not specified")
    return name, settings
