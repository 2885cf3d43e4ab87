"""Options of bridge networks (`docker network create --opt …`), by the names that docker gave them."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from darse.core.errors import InvalidParameter
from darse.networks.model import NetworkRecord

BRIDGE_NAME = "com.docker.network.bridge.name"
DEFAULT_BRIDGE = "com.docker.network.bridge.default_bridge"
ICC = "com.docker.network.bridge.enable_icc"
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
HOST_BINDING = "com.docker.network.bridge.host_binding_ipv4"
INHIBIT_IPV4 = "com.docker.network.bridge.inhibit_ipv4"
TRUSTED_INTERFACES = "com.docker.network.bridge.trusted_host_interfaces"
MTU = "com.docker.network.driver.mtu"
GATEWAY_MODES: Final = {
    4: "com.docker.network.bridge.gateway_mode_ipv4",
    6: "com.docker.network.bridge.gateway_mode_ipv6",
}
#: The source address that what leaves the host gets, instead of that of the interface it leaves by.
HOST_ADDRESSES: Final = {4: "com.docker.network.host_ipv4", 6: "com.docker.network.host_ipv6"}
NAT, NAT_UNPROTECTED, ROUTED, ISOLATED = "nat", "nat-unprotected", "routed", "isolated"
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")
_INTERFACE = re.compile(r"[^\s/:\"\\\0*]{1,15}\Z")


def flag(record: NetworkRecord, name: str, *, default: bool = True) -> bool:
    """A switch. Raises InvalidParameter for what is no boolean."""
    text = record.options.get(name, str(default)).lower()
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


def gateway_mode(record: NetworkRecord, version: int) -> str:
    """How a family of a network is connected to what is outside. Raises InvalidParameter."""
    mode = record.options.get(GATEWAY_MODES[version], "") or NAT
    if mode not in (NAT, NAT_UNPROTECTED, ROUTED, ISOLATED):
        raise InvalidParameter(f'unknown gateway mode "{mode}" in option {GATEWAY_MODES[version]}')
    if mode == ISOLATED and not record.internal:
        raise InvalidParameter(
            f"gateway mode 'isolated' can only be used for an internal network ({GATEWAY_MODES[version]})"
        )
    return mode


def trusted_interfaces(record: NetworkRecord) -> list[str]:
    """The host's interfaces from which containers' published ports are reached directly. Raises InvalidParameter."""
    names = [name for name in record.options.get(TRUSTED_INTERFACES, "").split(":") if name]
    for name in names:
        if _INTERFACE.match(name) is None:
            raise InvalidParameter(f"invalid interface name {name!r} in option {TRUSTED_INTERFACES}")
    return names


def outgoing_address(record: NetworkRecord, version: int) -> str:
    """The source address of what leaves the host; empty: that of the interface. Raises InvalidParameter."""
    text = record.options.get(HOST_ADDRESSES[version], "")
    if text:
        try:
            ipaddress.IPv4Address(text) if version == 4 else ipaddress.IPv6Address(text)
        except ValueError:
            raise InvalidParameter(
                f"invalid IPv{version} address {text!r} in option {HOST_ADDRESSES[version]}"
            ) from None
    return text


def check(record: NetworkRecord) -> None:
    """Raise InvalidParameter for options of a bridge that cannot be."""
    for name in (ICC, MASQUERADE):
        flag(record, name)
    flag(record, INHIBIT_IPV4, default=False)
    mtu(record)
    host_address(record)
    trusted_interfaces(record)
    for version in (4, 6):
        gateway_mode(record, version)
        outgoing_address(record, version)


def bridge_gateway(record: NetworkRecord, version: int) -> str:
    """The address that the bridge has, of a family; empty when it has none."""
    pool = record.pool(version)
    if pool is None or gateway_mode(record, version) == ISOLATED:
        return ""
    return "" if version == 4 and flag(record, INHIBIT_IPV4, default=False) else pool.gateway
