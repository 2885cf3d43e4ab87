"""Where an engine is, and in which version of its API it is spoken to."""

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
