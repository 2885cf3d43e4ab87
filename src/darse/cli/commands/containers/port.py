"""`port`."""

from __future__ import annotations

import sys

from darse.cli.command_line.flags import Command
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import CliError
from darse.cli.output.format import natural
from darse.client.http import quote


def port(invocation: Invocation) -> int:
    """Print which ports of the host lead to a container."""
    name, *wanted = invocation.arguments
    ports = invocation.client.call("GET", f"/containers/{quote(name)}/json")["NetworkSettings"]["Ports"] or {}
    if not any(wanted):
        lines = [f"{key} -> {_address(binding)}\n" for key, bindings in ports.items() for binding in bindings or ()]
        sys.stdout.writelines(sorted(lines, key=natural))
        return 0
    number, _, protocol = wanted[0].partition("/")
    if not (number.isascii() and number.isdigit()):
        raise CliError(f'Error: invalid port ({number}): strconv.ParseUint: parsing "{number}": invalid syntax')
    bindings = ports.get(f"{number}/{protocol or 'tcp'}")
    if not bindings:
        raise CliError(f"Error: No public port '{wanted[0]}' published for {name}")
    for binding in bindings:
        sys.stdout.write(f"{_address(binding)}\n")
    return 0


def _address(binding: dict[str, str]) -> str:
    host = f"[{binding['HostIp']}]" if ":" in binding["HostIp"] else binding["HostIp"]
    return f"{host}:{binding['HostPort']}"


COMMANDS = {
    "container port": (
        Command(
            "container port",
            "CONTAINER [PRIVATE_PORT[/PROTO]]",
            "List port mappings or a specific mapping for the container",
            (),
            minimum=1,
            maximum=2,
        ),
        port,
    )
}
