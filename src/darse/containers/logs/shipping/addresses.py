"""Where receivers are: `tcp://host:port`, `udp://…`, `tcp+tls://…`, `unix:///path`, `unixgram:///path`."""

from __future__ import annotations

import ssl
from urllib.parse import SplitResult, urlsplit

import msgspec

TRANSPORTS = ("tcp", "tcp+tls", "udp", "unix", "unixgram")


class Address(msgspec.Struct, frozen=True):
    """A host and port, or a path, and how to get there: one of TRANSPORTS."""

    transport: str
    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        """As people write it."""
        return f"{self.transport}://{self.path}" if self.path else f"{self.transport}://{self.host}:{self.port}"


class TLSFiles(msgspec.Struct, frozen=True):
    """The files and choices of a TLS connection; "" stands for none."""

    ca: str = ""
    certificate: str = ""
    key: str = ""
    server_name: str = ""
    verify: bool = True

    def context(self) -> ssl.SSLContext:
        """Read the files. Raises OSError, which ssl.SSLError is one of."""
        context = ssl.create_default_context(cafile=self.ca or None)
        # As for registries (darse.distribution.hosts): private authorities often have no key usage.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate:
            context.load_cert_chain(self.certificate, self.key or None)
        return context


def split(text: str) -> SplitResult | None:
    """The parts of an address; None when it is none of a transport that we know."""
    scheme, separator, _ = text.partition("://")
    if not separator or scheme not in (*TRANSPORTS, "tls"):
        return None
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return None
    return parts
