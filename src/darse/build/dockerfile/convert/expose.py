"""Ports of EXPOSE: `[[IP:]HOST:]PORT[-PORT][/PROTOCOL]`, of which only port and protocol count."""

from __future__ import annotations

import ipaddress

from darse.build.dockerfile.checks import Checks
from darse.build.dockerfile.errors import DockerfileError
from darse.quoting import quote

_LAST = 65535


def exposed_ports(text: str, checks: Checks, lines: tuple[int, int]) -> list[str]:
    """The ports that one word stands for, `80/tcp`. Raises DockerfileError."""
    *before, container = text.split(":")
    host = before[-1] if before else ""
    address = ":".join(before[:-1])
    port, _, protocol = container.partition("/")
    if not port:
        raise DockerfileError(f"invalid port: {quote(text)}: no port specified")
    if protocol.lower() not in ("", "tcp", "udp", "sctp"):
        raise DockerfileError(f"invalid port: {quote(text)}: invalid proto: {protocol}")
    if protocol != protocol.lower():
        detail = f"Defined protocol '{text}' in EXPOSE instruction should be lowercase"
        checks.report("ExposeProtoCasing", lines, detail)
    if before:
        detail = f"EXPOSE instruction should not define an IP address or host-port mapping, found '{text}'"
        checks.report("ExposeInvalidFormat", lines, detail)
    if address:
        try:
            ipaddress.ip_address(address.strip("[]"))
        except ValueError:
            raise DockerfileError(f"invalid IP address: {address}") from None
    first, last = _range(port, "containerPort")
    if host:
        low, high = _range(host, "hostPort")
        if high - low != last - first and first != last:
            raise DockerfileError(f"invalid ranges specified for container and host Ports: {port} and {host}")
    return [f"{number}/{protocol.lower() or 'tcp'}" for number in range(first, last + 1)]


def _range(text: str, what: str) -> tuple[int, int]:
    start, dash, end = text.partition("-")
    numbers = [start, end] if dash else [start, start]
    if not all(number.isascii() and number.isdecimal() and int(number[:6]) <= _LAST for number in numbers):
        raise DockerfileError(f"invalid {what}: {text}")
    if int(numbers[1]) < int(numbers[0]):
        raise DockerfileError(f"invalid {what}: {text}")
    return int(numbers[0]), int(numbers[1])
