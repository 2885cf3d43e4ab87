"""A client of the engine's API, for whoever stands on it: the command, compose, dashboards, a cluster, tests.

    connection             the ways to an engine: unix sockets, tcp with or without TLS, ssh
    http                   HTTP/1.1 apart from sockets
    blocking, asynchronous the two clients
    requests/              the API's operations as typed requests, one module for each resource, for both clients
    documents/             the types of the JSON documents that the blocking client answers and takes
    messages               answers as structs where `darse.wire` has none

It imports nothing of an engine but the API's types, and these only where answers are to be typed. Where an engine is,
which everybody here and every command must know, stands in this module itself.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_HOST = "unix:///run/darse/darse.sock"
# The version of the API whose answers are read and printed: that of docker's client 28.
API_VERSION = "1.51"


class EngineEndpoint:
    """An engine's address and, for tcp, its transport security."""

    def __init__(
        self,
        host: str,
        *,
        is_default: bool = False,
        start: Callable[[str], None] | None = None,
        tls: bool = False,
        verify: bool = False,
        ca: str = "",
        certificate: str = "",
        key: str = "",
    ) -> None:
        """`host` is a URL; `start` starts an engine on a unix socket where none answers, and returns when it does."""
        self.host = host
        self.is_default = is_default
        self.start = start
        self.tls = tls
        self.verify = verify
        self.ca = ca
        self.certificate = certificate
        self.key = key
