"""`--publish` and `--expose`."""

from __future__ import annotations

from typing import Any

from darse.cli.errors import CliError


def port_specs(publish: list[str], expose: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """`-p` and `--expose`: the port bindings and the exposed ports. Raises CliError."""
    bindings: dict[str, Any] = {}
    exposed: dict[str, Any] = {}
    for text in expose:
        ports, _, protocol = text.partition("/")
        for port in _port_range(ports, text):
            exposed[f"{port}/{protocol or 'tcp'}"] = {}
    for text in publish:
        for key, binding in _publish(text):
            exposed[key] = {}
            bindings.setdefault(key, []).append(binding)
    return bindings, exposed


def _publish(text: str) -> list[tuple[str, dict[str, str]]]:
    address, host, container, protocol = _split_publish(text)
    container_ports = _port_range(container, text)
    if not host:
        return [(f"{port}/{protocol}", {"HostIp": address, "HostPort": ""}) for port in container_ports]
    host_ports = _port_range(host, text)
    if len(host_ports) != len(container_ports):
        if len(container_ports) == 1:
            return [(f"{container_ports[0]}/{protocol}", {"HostIp": address, "HostPort": host})]
        raise CliError(
            f'invalid argument "{text}" for "-p, --publish" flag: invalid ranges specified for container '
            f"and host Ports: {container} and {host}",
            125,
        )
    return [
        (f"{inner}/{protocol}", {"HostIp": address, "HostPort": str(outer)})
        for inner, outer in zip(container_ports, host_ports, strict=True)
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
    elif "." in head:
        address, host = head, ""
    return address, host, container, (protocol or "tcp").lower()


def _port_range(text: str, whole: str) -> list[int]:
    first, _, last = text.partition("-")
    if not first.isdecimal() or (last and not last.isdecimal()):
        raise CliError(f'invalid argument "{whole}" for "-p, --publish" flag: invalid containerPort: {text}', 125)
    low, high = int(first), int(last or first)
    if not 0 < low <= high < 65536:
        raise CliError(f'invalid argument "{whole}" for "-p, --publish" flag: invalid containerPort: {text}', 125)
    return list(range(low, high + 1))
