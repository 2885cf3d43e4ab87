"""`port`: which ports of the host lead to a container, and from where they can be reached."""

from __future__ import annotations

import sys

from darse.cli.command_line.flags import Command, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import CliError
from darse.client.requests import containers
from darse.natural_order import natural

TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.client.documents.containers import NetworkSettingsDocument
    from darse.client.documents.host_config import PortBindingDocument


def port(invocation: Invocation) -> int:
    """Print which ports of the host lead to a container."""
    name, *requested = invocation.arguments
    settings = invocation.client.do(containers.inspect(name))["NetworkSettings"]
    ports = settings["Ports"] or {}
    if invocation.options.reachable:
        from darse.cli.command_line.help_pages import fitted

        sys.stdout.writelines(f"{line}\n" for line in fitted(_reachable(settings, requested)))
        return 0
    if not any(requested):
        lines = [f"{key} -> {_address(binding)}\n" for key, bindings in ports.items() for binding in bindings or ()]
        sys.stdout.writelines(sorted(lines, key=natural))
        return 0
    number, _, protocol = requested[0].partition("/")
    if not (number.isascii() and number.isdigit()):
        raise CliError(f'Error: invalid port ({number}): strconv.ParseUint: parsing "{number}": invalid syntax')
    bindings = ports.get(f"{number}/{protocol or 'tcp'}")
    if not bindings:
        raise CliError(f"Error: No public port '{requested[0]}' published for {name}")
    for binding in bindings:
        sys.stdout.write(f"{_address(binding)}\n")
    return 0


def _reachable(settings: NetworkSettingsDocument, requested: list[str]) -> list[str]:
    """A line for each port: where on the host it is, and from where it can be reached there."""
    ports = settings["Ports"] or {}
    ipv4_only = not any(network.get("GlobalIPv6Address") for network in (settings.get("Networks") or {}).values())
    asked = f"{requested[0]}{'' if '/' in requested[0] else '/tcp'}" if requested else ""
    lines = []
    for key, bindings in ports.items():
        if asked in ("", key):
            lines += [
                f"{key} -> {_address(one)}  {_from_where(one['HostIp'])}{_seen(one, ipv4_only)}"
                for one in bindings or ()
            ]
            if not bindings:
                lines.append(f"{key}  not published: from containers on its own networks")
    return sorted(lines, key=natural)


def _seen(binding: PortBindingDocument, ipv4_only: bool) -> str:
    return "; the container sees the host's address" if ipv4_only and ":" in binding["HostIp"] else ""


def _from_where(host_ip: str) -> str:
    from ipaddress import ip_address

    address = ip_address(host_ip or "0.0.0.0")  # noqa: S104 - every address
    if address.is_loopback:
        return "from the engine's host only"
    if not address.is_unspecified:
        return f"from whoever reaches {address}: the engine's host, its containers, and machines that are routed to it"
    loopback = "::1" if address.version == 6 else "127.0.0.1"
    return f"from everywhere: by every IPv{address.version} address of the engine's host, and {loopback}"


def _address(binding: PortBindingDocument) -> str:
    host = f"[{binding['HostIp']}]" if ":" in binding["HostIp"] else binding["HostIp"]
    return f"{host}:{binding['HostPort']}"


COMMANDS = {
    "container port": (
        Command(
            "container port",
            "[OPTIONS] CONTAINER [PRIVATE_PORT[/PROTO]]",
            "List port mappings or a specific mapping for the container",
            (switch("reachable", "Show from where each port can be reached"),),
            minimum=1,
            maximum=2,
        ),
        port,
    )
}
