"""Ports as people write them: `-p [ADDRESS:][HOST:]CONTAINER[/PROTOCOL]`, `--expose`, and the API's `80/tcp`.

A leaf: it knows no engine. Texts are those of docker's command line.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROTOCOLS = ("tcp", "udp", "sctp")


class InvalidPort(ValueError):
    """A text that names no port."""


def parse_ports(publish: list[str], expose: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """`-p` and `--expose`: the port bindings and the exposed ports. Raises InvalidPort."""
    bindings: dict[str, Any] = {}
    exposed: dict[str, Any] = {}
    for text in publish:
        for key, binding in parse_publish(text):
            exposed[key] = {}
            bindings.setdefault(key, []).append(binding)
    for text in expose:
        if ":" in text:
            raise InvalidPort(f"invalid port format for --expose: {text}")
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
        raise InvalidPort(f"invalid range format for --expose: {text}, error: {reason}")
    return range(int(first), int(last or first) + 1)


def parse_publish(text: str) -> list[tuple[str, dict[str, str]]]:
    """One `-p`: of each container's port its key in the API, and the address and port, or ports, of the host.

    Raises InvalidPort.
    """
    address, host, container, protocol = _split_publish(text)
    if not container:
        raise InvalidPort(f"no port specified: {text if '=' not in text else f'{host}:/{protocol}'}<empty>")
    if address and not _is_address(address):
        raise InvalidPort(f"invalid IP address: {address}")
    inner = _port_range(container, "invalid containerPort", least=0)
    outer = _port_range(host, "invalid hostPort", least=0) if host else range(0)
    if protocol not in PROTOCOLS:
        raise InvalidPort(f"invalid proto: {protocol}")
    if host and len(outer) != len(inner):
        if len(inner) > 1:
            raise InvalidPort(f"invalid ranges specified for container and host Ports: {container} and {host}")
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
    raise InvalidPort(f"{complaint}: {text}")


def _is_address(text: str) -> bool:
    """Whether it is an address of IPv4 or IPv6, without a zone: Go's net.ParseIP takes none."""
    import ipaddress  # noqa: PLC0415 - slow to import; most ports are published on every address

    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text
