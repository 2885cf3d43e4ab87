"""What clients may ask of an endpoint: addresses, hardware address, aliases, options of the driver."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

from darse.core.errors import InvalidParameter
from darse.core.ids import may_be_id_prefix, short_id
from darse.networks.ipam import parse_address
from darse.wire.networks import EndpointSettings

#: The interface's name inside, and its kernel parameters.
IFNAME = "com.docker.network.endpoint.ifname"
SYSCTLS = "com.docker.network.endpoint.sysctls"

_MAC = re.compile(r"([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\Z")
# As the kernel takes them (dev_valid_name), without what would be a path of /proc/sys.
_INTERFACE = re.compile(r"(?!\.\.?\Z|all\Z|default\Z|lo\Z)[^\s/:\0]{1,15}\Z")
_SYSCTL = re.compile(r"net\.(ipv4|ipv6|mpls)\.(conf\.|neigh\.)?(?i:IFNAME)\.(?P<name>[a-z0-9_]+)=(?P<value>[^\s=]+)\Z")


def check_settings(settings: EndpointSettings) -> None:
    """Raise InvalidParameter for addresses that are none, and options that cannot be."""
    check_mac(settings.MacAddress)
    interface_name(settings.DriverOpts or {})
    sysctls(settings.DriverOpts or {})
    asked = settings.IPAMConfig
    if asked is not None:
        for text, version in ((asked.IPv4Address, 4), (asked.IPv6Address, 6)):
            if text:
                parse_address(text, f"IPv{version} address", version)
        for text in asked.LinkLocalIPs or ():
            link_local(text)


def endpoint_links(settings: EndpointSettings) -> dict[str, str]:
    """The links of an endpoint, `TARGET:ALIAS`: for each alias the name of the container that it stands for."""
    links = {}
    for text in settings.Links or ():
        target, _, alias = text.partition(":")
        target = target.removeprefix("/")
        # Of an id the short form is a name.
        name = short_id(target) if len(target) == 64 and may_be_id_prefix(target) else target
        links[alias.rpartition("/")[2] or target] = name
    return links


def refuse_user_defined(settings: EndpointSettings) -> None:
    """Raise InvalidParameter for what only user-defined networks have: chosen addresses, and aliases."""
    if settings.IPAMConfig is not None and (settings.IPAMConfig.IPv4Address or settings.IPAMConfig.IPv6Address):
        raise InvalidParameter(
            "invalid endpoint settings: user specified IP address is supported on user defined networks only"
        )
    if settings.Aliases:
        raise InvalidParameter("network-scoped aliases are only supported for user-defined networks")


def check_mac(text: str) -> None:
    """Raise InvalidParameter for what is no hardware address of one interface; empty: none is asked for."""
    if not text:
        return
    if _MAC.match(text) is None:
        raise InvalidParameter(f"invalid MAC address: {text}")
    octets = bytes.fromhex(text.replace(":", ""))
    if octets[0] & 1 or not any(octets):
        raise InvalidParameter(f"invalid MAC address: {text}: it is a group's, or nobody's")


def link_local(text: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    """An address of `--link-local-ip`, with the prefix that docker gives it. Raises InvalidParameter."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise InvalidParameter(f"invalid link-local IP address: {text}") from None
    return ipaddress.ip_interface(f"{address}/{16 if address.version == 4 else 64}")


def interface_name(options: Mapping[str, str]) -> str:
    """The name that the interface is to have inside; empty: any. Raises InvalidParameter."""
    name = options.get(IFNAME, "")
    if name and _INTERFACE.match(name) is None:
        raise InvalidParameter(f"invalid interface name {name!r} in option {IFNAME}: up to 15 characters, no / or :")
    return name


def sysctls(options: Mapping[str, str]) -> dict[str, str]:
    """The kernel parameters of the interface: values by names such as `net/ipv4/conf/IFNAME/log_martians`.

    Raises InvalidParameter.
    """
    found = {}
    for entry in filter(None, options.get(SYSCTLS, "").split(",")):
        if _SYSCTL.match(entry) is None:
            raise InvalidParameter(
                f"invalid sysctl {entry!r} in option {SYSCTLS}: must be net.ipv4, net.ipv6 or net.mpls, of the "
                "interface IFNAME, as net.ipv4.conf.IFNAME.log_martians=1"
            )
        name, _, value = entry.partition("=")
        # docker's command writes all of it in small letters.
        found[name.replace(".", "/").replace("/ifname/", "/IFNAME/")] = value
    return found
