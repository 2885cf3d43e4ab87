"""`--publish` and `--expose`."""

from __future__ import annotations

from darse.cli.creating.values import is_address
from darse.cli.errors import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def port_specs(publish: list[str], expose: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """`-p` and `--expose`: the port bindings and the exposed ports. Raises CliError."""
    bindings: dict[str, Any] = {}
    exposed: dict[str, Any] = {}
    for text in publish:
        for key, binding in _publish(text):
            exposed[key] = {}
            bindings.setdefault(key, []).append(binding)
    for text in expose:
        if ":" in text:
            raise CliError(f"invalid port format for --expose: {text}", 125)
        ports, _, protocol = text.partition("/")
        for port in _exposed_range(ports, text):
            exposed[f"{port}/{protocol or 'tcp'}"] = {}
    return bindings, exposed


def _exposed_range(ports: str, text: str) -> range:
    reason = "" if ports else "empty string specified for ports"
    first, _, last = ports.partition("-")
    for word in (first, last or first) if ports else ():
        if not word.isdecimal():
            reason = reason or f'strconv.ParseUint: parsing "{word}": invalid syntax'
        elif int(word) > 65535:
            reason = reason or f'strconv.ParseUint: parsing "{word}": value out of range'
    if not reason and int(last or first) < int(first):
        reason = f"invalid range specified for port: {ports}"
    if reason:
        raise CliError(f"invalid range format for --expose: {text}, error: {reason}", 125)
    return range(int(first), int(last or first) + 1)


def _publish(text: str) -> list[tuple[str, dict[str, str]]]:
    address, host, container, protocol = _split_publish(text)
    if not container:
        raise CliError(f"no port specified: {text if '=' not in text else f'{host}:/{protocol}'}<empty>", 125)
    if address and not is_address(address):
        raise CliError(f"invalid IP address: {address}", 125)
    inner = _port_range(container, "invalid containerPort", least=0)
    outer = _port_range(host, "invalid hostPort", least=0) if host else range(0)
    if protocol not in ("tcp", "udp", "sctp"):
        raise CliError(f"invalid proto: {protocol}", 125)
    if host and len(outer) != len(inner):
        if len(inner) > 1:
            raise CliError(f"invalid ranges specified for container and host Ports: {container} and {host}", 125)
        return [(f"{inner[0]}/{protocol}", {"HostIp": address, "HostPort": host})]
    return [
        (f"{port}/{protocol}", {"HostIp": address, "HostPort": str(outer[number]) if host else ""})
        for number, port in enumerate(inner)
    ]


def _split_publish(text: str) -> tuple[str, str, str, str]:
    if "=" in text:  # the long form: target=80,published=8080,protocol=tcp
        fields = dict(field.partition("=")[::2] for field in text.split(","))
        return "", fields.get("published", ""), fields.get("target", ""), fields.get("protocol", "tcp")
    rest, _, protocol = text.partition("/")
    head, _, container = rest.rpartition(":")
    address, host = "", head
    if head.startswith("["):
        address, _, host = head.partition("]")
        address, host = address[1:], host.removeprefix(":")
    elif ":" in head:
        address, _, host = head.rpartition(":")
    return address, host, container, (protocol or "tcp").lower()


def _port_range(text: str, complaint: str, *, least: int) -> range:
    first, _, last = text.partition("-")
    if first.isdecimal() and (last or first).isdecimal():
        low, high = int(first), int(last or first)
        if least <= low <= high < 65536:
            return range(low, high + 1)
    raise CliError(f"{complaint}: {text}", 125)
