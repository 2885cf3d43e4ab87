"""The audit log of the API: who asked for a change, what it was, when, and how it was answered (`audit-log`).

A record is made when a request is answered, whatever the answer: a stream's at its end, HTTP/2's when it begins. Of a
request it has the path without its parameters, which may be confidential, as build arguments are.
"""

from __future__ import annotations

import logging
import re
import ssl
from typing import TYPE_CHECKING, Any

from darse.audit import AuditLog
from darse.linux.net.sockets import peer_credentials

if TYPE_CHECKING:
    import asyncio

    from darse import aiohttp_server as web
    from darse.core.config import EngineConfig

_log = logging.getLogger("darse.audit")
_READING = frozenset(("GET", "HEAD", "OPTIONS"))
# What changes nothing, whatever its method; and what does, for it takes input.
_NO_CHANGE = re.compile(r"(?:/v[0-9.]+)?(?:/containers/.+/(?:wait|resize)|/exec/[^/]+/resize)")
_CHANGE = re.compile(r"(?:/v[0-9.]+)?/containers/.+/attach/ws")


class RequestAudit:
    """Records the requests that change something."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    def begin(self, request: web.BaseRequest) -> dict[str, Any] | None:
        """What is to be recorded of a request when it is answered; None for one that changes nothing.

        Now, for a connection that has been closed does not say any more who was there.
        """
        path = request.path
        if request.method in _READING:
            if _CHANGE.fullmatch(path) is None:
                return None
        elif _NO_CHANGE.fullmatch(path) is not None:
            return None
        on_behalf_of = request.headers.get("Darse-User", "")[:64]
        return {
            "door": "api",
            "method": request.method,
            "path": path[:2048],
            **client_of(request.transport),
            **({"user": on_behalf_of} if on_behalf_of else {}),
        }

    def end(self, begun: dict[str, Any], status: int) -> None:
        """Record a request that has been answered; status 0: it was not."""
        self._log.record(**begun, status=status)

    def record_http2(self, transport: asyncio.Transport | None) -> None:
        """Record that somebody speaks gRPC on a connection of their own: builds."""
        self._log.record(door="api", method="PRI", path="*", status=200, **client_of(transport))

    def close(self) -> None:
        """Write what has been recorded."""
        self._log.close()


def open_audit(config: EngineConfig) -> RequestAudit | None:
    """The log that the configuration names; None without one. Raises OSError."""
    if config.audit_log is None:
        return None
    log = AuditLog(config.audit_log, max_size=config.audit_log_max_size, max_files=config.audit_log_max_file)
    _log.info("requests that change something are recorded in %s", config.audit_log)
    return RequestAudit(log)


def client_of(transport: asyncio.Transport | None) -> dict[str, Any]:
    """Who is at the other end: user and process of a unix socket, or address and certificate."""
    found = transport.get_extra_info("socket") if transport is not None else None
    if transport is None or found is None:
        return {}
    if (credentials := peer_credentials(found)) is not None:
        return {"uid": credentials.uid, "pid": credentials.pid}
    peer = transport.get_extra_info("peername")
    client: dict[str, Any] = {"address": str(peer[0])} if peer else {}
    tls = transport.get_extra_info("ssl_object")
    if isinstance(tls, ssl.SSLObject) and (certificate := tls.getpeercert()):
        subject: Any = certificate.get("subject", ())
        names = [value for pairs in subject for key, value in pairs if key == "commonName"]
        client |= {"certificate": names[0]} if names else {}
    return client
