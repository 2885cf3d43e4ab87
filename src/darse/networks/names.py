"""What name lookups in a container read: the contents of /etc/hosts and /etc/resolv.conf. Pure functions."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence

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
    whole = f"{hostname}.{domain}" if domain else hostname
    short, dot, _ = whole.partition(".")
    own = f"{whole} {short}" if dot else whole
    lines += [f"{address}\t{own}" for address in addresses if address]
    return ("\n".join(lines) + "\n").encode()


def resolv_conf(
    host: str,
    servers: Sequence[str],
    search: Sequence[str],
    options: Sequence[str],
    *,
    keep_loopback: bool,
    ipv6: bool = False,
) -> bytes:
    """/etc/resolv.conf: the host's, with what was asked for instead.

    A name server on the host's loopback cannot be reached from a namespace of its own, nor one with an IPv6 address
    from a container without `ipv6`: unless `keep_loopback` (the container has the host's network) such are left out
    and, when none is left, public ones take their place, as docker does. `search` of "." means no domain at all.
    """
    own = [*_values(host, "nameserver")]
    reachable = [server for server in own if keep_loopback or _is_reachable(server, ipv6=ipv6)]
    if reachable == own and (own or keep_loopback) and not (servers or search or options):
        return host.encode()
    chosen = list(servers) or reachable or list(_FALLBACK)
    # Of several lines the last one counts, resolv.conf(5).
    domains = list(search) or [word for line in _values(host, "search")[-1:] for word in line.split()]
    wanted = list(options) or [word for line in _values(host, "options") for word in line.split()]
    lines = [f"nameserver {server}" for server in chosen]
    if domains and domains != ["."]:
        lines.append(f"search {' '.join(domains)}")
    if wanted:
        lines.append(f"options {' '.join(wanted)}")
    return ("\n".join(lines) + "\n").encode()


def host_resolv_conf(read: Callable[[str], str]) -> str:
    """The host's resolv.conf; where systemd-resolved answers on the loopback, the one with the servers it asks."""
    text = read("/etc/resolv.conf")
    if _values(text, "nameserver") == ["127.0.0.53"]:
        return read("/run/systemd/resolve/resolv.conf") or text
    return text


def _values(text: str, keyword: str) -> list[str]:
    found = []
    for line in text.splitlines():
        words = line.split(maxsplit=1)
        if len(words) == 2 and words[0] == keyword:
            found.append(words[1].strip())
    return found


def _is_reachable(server: str, *, ipv6: bool) -> bool:
    try:
        address = ipaddress.ip_address(server.partition("%")[0])
    except ValueError:
        return True
    return not address.is_loopback and (ipv6 or address.version == 4)
