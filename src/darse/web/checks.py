"""What every request is held against, and what every answer carries.

Host: a page of another site whose name an attacker lets point at this address (DNS rebinding) sends that name.
Origin: of whatever changes something, and of websockets, which no browser keeps to their own site (RFC 6455 10.2).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

from darse.aiohttp_server import BaseRequest

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'{style}; img-src 'self'; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY.format(style=""),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    # Not no-referrer: with it browsers send `Origin: null` with forms (Fetch standard, 3.2).
    "Referrer-Policy": "same-origin",
    "Server": "darse",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
READING = frozenset(("GET", "HEAD"))


class Site:
    """The names and the port by which the dashboard is reached."""

    def __init__(self, address: str, port: int, names: Iterable[str] = (), *, tls: bool = False) -> None:
        """address: what it listens on; names: further ones by which browsers come."""
        hosts = {name.lower().rstrip(".") for name in names}
        own = ipaddress.ip_address(address)
        if own.is_loopback:
            hosts |= {"localhost", "127.0.0.1", "[::1]"}
        elif not own.is_unspecified:
            hosts.add(f"[{own}]" if own.version == 6 else str(own))
        self.scheme = "https" if tls else "http"
        default = 443 if tls else 80
        self.hosts = {f"{host}:{port}" for host in hosts} | (hosts if port == default else set())
        self._origins = {f"{self.scheme}://{host}" for host in self.hosts}

    def knows_host(self, request: BaseRequest) -> bool:
        """Whether a request is meant for this site."""
        hosts = request.headers.getall("Host", [])
        return len(hosts) == 1 and hosts[0].lower() in self.hosts

    def is_own_origin(self, request: BaseRequest) -> bool:
        """Whether a request comes from one of this site's pages; one that does not say is refused."""
        origins = request.headers.getall("Origin", [])
        return (
            len(origins) == 1
            and origins[0].lower() in self._origins
            and origins[0].lower() == f"{self.scheme}://{request.headers.get('Host', '').lower()}"
        )

    def is_from_elsewhere(self, request: BaseRequest) -> bool:
        """Whether a browser says that another site asks for something that is no page (Fetch Metadata)."""
        return request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site") and (
            request.headers.get("Sec-Fetch-Mode") != "navigate" or request.headers.get("Sec-Fetch-Dest") != "document"
        )


def is_websocket(request: BaseRequest) -> bool:
    """Whether a request asks for a websocket."""
    return request.headers.get("Upgrade", "").lower() == "websocket"
