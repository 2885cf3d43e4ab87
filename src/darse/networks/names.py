"""What name lookups in a container read: the contents of /etc/hosts and /etc/resolv.conf. Pure functions."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

_LOCALHOST = (
    ("127.0.0.1", "localhost"),
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("fe00::", "ip6-localnet"),
    ("ff00::", "ip6-mcastprefix"),
    ("ff02::1", "ip6-allnodes"),
    ("ff02::2", "ip6-allrouters"),
)
_FALLBACK = ("8.8.8.8", "8.8.4.4")
HOST_GATEWAY = "host-gateway"


def hosts_file(hostname: str, domain: str, addresses: Iterable[str], extra: Iterable[str], host_gateway: str) -> bytes:
    """/etc/hosts: localhost, `--add-host` entries (`name:address`), then the container itself."""
    lines = [f"{address}\t{names}" for address, names in _LOCALHOST]
    for entry in extra:
        name, _, address = entry.partition(":")
        lines.append(f"{host_gateway if address == HOST_GATEWAY else address.strip('[]')}\t{name}")
    own = f"{hostname}.{domain} {hostname}" if domain else hostname
    lines += [f"{address}\t{own}" for address in addresses if address]
    return ("\n".join(lines) + "\n").encode()


def resolv_conf(
    host: str,
    servers: Sequence[str],
    search: Sequence[str],
    options: Sequence[str],
    *,
    keep_loopback: bool,
) -> bytes:
    """/etc/resolv.conf: the host's, with what was asked for instead.

    A name server on the host's loopback cannot be reached from a namespace of its own: unless `keep_loopback`, such
    are left out and, when none is left, public ones take their place, as docker does.
    """
    untouched = not (servers or search or options)
    if untouched and (keep_loopback or (_values(host, "nameserver") and not _has_loopback(host))):
        return host.encode()
    chosen = list(servers)
    if not chosen:
        chosen = [one for one in _values(host, "nameserver") if keep_loopback or not _is_loopback(one)]
        chosen = chosen or list(_FALLBACK)
    domains = list(search) or [word for line in _values(host, "search") for word in line.split()]
    wanted = list(options) or [word for line in _values(host, "options") for word in line.split()]
    lines = [f"nameserver {server}" for server in chosen]
    if domains and domains != ["."]:
        lines.append(f"search {' '.join(domains)}")
    if wanted:
        lines.append(f"options {' '.join(wanted)}")
    return ("\n".join(lines) + "\n").encode()


def _values(text: str, keyword: str) -> list[str]:
    found = []
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == keyword and rest.strip():
            found.append(rest.strip())
    return found


def _has_loopback(text: str) -> bool:
    return any(_is_loopback(server) for server in _values(text, "nameserver"))


def _is_loopback(server: str) -> bool:
    try:
        return ipaddress.ip_address(server.partition("%")[0]).is_loopback
    except ValueError:
        return False
