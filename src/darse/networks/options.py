"""Options of bridge networks (`docker network create --opt …`), by the names that docker gave them."""

from __future__ import annotations

import ipaddress

from darse.core.errors import InvalidParameter
from darse.networks.model import NetworkRecord

BRIDGE_NAME = "com.docker.network.bridge.name"
DEFAULT_BRIDGE = "com.docker.network.bridge.default_bridge"
ICC = "com.docker.network.bridge.enable_icc"
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
HOST_BINDING = "com.docker.network.bridge.host_binding_ipv4"
MTU = "com.docker.network.driver.mtu"
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")


def flag(record: NetworkRecord, name: str) -> bool:
    """An option that is on unless it is switched off. Raises InvalidParameter for what is no boolean."""
    text = record.options.get(name, "true").lower()
    if text not in (*_TRUE, *_FALSE):
        raise InvalidParameter(f'invalid value for option {name}: "{record.options[name]}" is no boolean')
    return text in _TRUE


def mtu(record: NetworkRecord) -> int:
    """The largest packet in bytes, 0 when the option is not set. Raises InvalidParameter."""
    text = record.options.get(MTU, "")
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal()) or not 68 <= int(text[:9]) <= 65535:
        raise InvalidParameter(f"invalid MTU {text!r} in option {MTU}: 68 to 65535 bytes")
    return int(text)


def host_address(record: NetworkRecord) -> str:
    """The host's address that ports are published on unless they name another; empty when the option is not set.

    Raises InvalidParameter.
    """
    text = record.options.get(HOST_BINDING, "")
    if text:
        try:
            ipaddress.IPv4Address(text)
        except ValueError:
            raise InvalidParameter(f"invalid IPv4 address {text!r} in option {HOST_BINDING}") from None
    return text
