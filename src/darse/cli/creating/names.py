"""Names of hosts: DNS, `--add-host`, `--link`."""

from __future__ import annotations

import sys

from darse.cli.command_line.flags import Options
from darse.cli.creating.values import is_address, is_domain
from darse.cli.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.client.documents.host_config import HostConfigDocument


def names(options: Options) -> HostConfigDocument:
    """The members of HostConfig; warns of name servers that containers will not reach. Raises InvalidArgument."""
    for address in options.dns:
        if not is_address(address):
            raise InvalidArgument(address, "dns", f"IP address is not correctly formatted: {address}")
        if address.startswith("127.") or address == "::1":
            sys.stderr.write(f"WARNING: Localhost DNS ({address}) may fail in containers.\n")
    for domain in options.dns_search:
        if not is_domain(domain):
            raise InvalidArgument(domain, "dns-search", f"{domain} is not a valid domain")
    for link in options.link:
        if not link:
            raise InvalidArgument(link, "link", "empty string specified for links")
        if link.count(":") > 1:
            raise InvalidArgument(link, "link", f"bad format for links: {link}")
    return {
        "Dns": options.dns,
        "DnsOptions": [*options.dns_option, *options.dns_opt],
        "DnsSearch": [domain if domain == "." else domain.strip().removesuffix(".") for domain in options.dns_search],
        "ExtraHosts": [_extra_host(text) for text in options.add_host],
        "Links": options.link or None,
    }


def _extra_host(text: str) -> str:
    name, separator, address = text.partition("=") if "=" in text else text.partition(":")
    if not separator or not name or not address:
        raise InvalidArgument(text, "add-host", f'bad format for add-host: "{text}"')
    address = address.strip("[]")
    if address != "host-gateway" and not is_address(address):
        raise InvalidArgument(text, "add-host", f'invalid IP address in add-host: "{address}"')
    return f"{name}:{address}"
