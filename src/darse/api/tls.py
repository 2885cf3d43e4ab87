"""TLS whose two directions end apart, as docker's clients need it.

A client says that its input has ended by closing its half of the connection: over TLS, with a close_notify alert,
after which it goes on reading (RFC 8446 section 6.1). asyncio's own TLS answers that alert by closing the whole
connection, so `echo x | docker run -i … cat` would lose its output. Here the alert is the protocol's `eof_received`,
and writing goes on until the protocol closes.

The object is the protocol of the TCP transport below and the transport of the protocol above.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable, Iterable
from typing import Any, cast

from darse.core.config import TLS

_HANDSHAKE_SECONDS = 30
_PIECE = 256 * 1024
_PLAIN_HTTP = (b"GET ", b"POST", b"HEAD", b"PUT ", b"DELE", b"OPTI")
_log = logging.getLogger("darse.api")


def server_context(tls: TLS) -> ssl.SSLContext:
    """The listeners' TLS settings. Raises OSError, ssl.SSLError among them, for files that do not fit."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.load_cert_chain(tls.certificate, tls.key)
    if tls.ca is not None:
        context.load_verify_locations(tls.ca)
        context.verify_mode = ssl.CERT_REQUIRED
    # In our order: HTTP/2, which only gRPC is served on, for those alone that speak nothing else.
    context.set_alpn_protocols(["http/1.1", "h2"])
    return context


class TLSTransport(asyncio.Transport, asyncio.Protocol):
    """One connection."""

    def __init__(self, context: ssl.SSLContext, make_protocol: Callable[[], asyncio.Protocol]) -> None:
        super().__init__()
        self._context = context
        self._make_protocol = make_protocol
        self._protocol: asyncio.Protocol | None = None
        self._read_bio, self._write_bio = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._read_bio, self._write_bio, server_side=True)
        self._below: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reading = True
        self._input_ended = False
        self._closing = False

    # The protocol of the transport below

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the client's hello, not for ever."""
        self._below = cast(asyncio.Transport, transport)
        self._timer = asyncio.get_running_loop().call_later(_HANDSHAKE_SECONDS, self.abort)

    def data_received(self, data: bytes) -> None:
        """Decrypt."""
        if self._protocol is None and self._read_bio.pending == 0 and data.startswith(_PLAIN_HTTP):
            self._refuse_plain()
            return
        self._read_bio.write(data)
        if self._protocol is None and not self._shake_hands():
            return
        self._deliver()

    def _refuse_plain(self) -> None:
        assert self._below is not None
        # Go's words, which the docker CLI looks for.
        self._below.write(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
        self._closing = True
        self._below.close()

    def _shake_hands(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except (ssl.SSLError, ssl.CertificateError) as error:
            _log.info("TLS handshake with %s failed: %s", self.get_extra_info("peername"), error)
            self._flush()  # the alert
            self._closing = True
            assert self._below is not None
            self._below.close()
            return False
        self._flush()
        if self._timer is not None:
            self._timer.cancel()
        self._protocol = self._make_protocol()
        self._protocol.connection_made(self)
        return True

    def _deliver(self) -> None:
        """Give the protocol what can be decrypted, until it pauses."""
        while self._reading and not self._closing and not self._input_ended:
            try:
                data = self._tls.read(_PIECE)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                data = b""
            except ssl.SSLError as error:
                _log.debug("TLS connection with %s broke: %s", self.get_extra_info("peername"), error)
                self.abort()
                return
            if data:
                self._above.data_received(data)
            else:
                self._end_input()
        self._flush()

    def _end_input(self) -> None:
        if not self._input_ended:
            self._input_ended = True
            if not self._above.eof_received():
                self.close()

    def eof_received(self) -> bool:
        """The end of TCP's input, with or without a close_notify before it."""
        if self._protocol is None or self._closing:
            return False
        self._end_input()
        return not self._closing

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on that the connection is gone."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        if self._protocol is not None:
            self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass on that the client is slow."""
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that there is room again."""
        if self._protocol is not None:
            self._protocol.resume_writing()

    # The transport of the protocol above

    @property
    def _above(self) -> asyncio.Protocol:
        assert self._protocol is not None
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Replace the protocol above."""
        self._protocol = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol above."""
        return self._above

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What is known of the connection."""
        if name == "sslcontext":
            return self._context
        if name == "ssl_object":
            return self._tls
        if name == "peercert":
            return self._tls.getpeercert()
        return self._below.get_extra_info(name, default) if self._below is not None else default

    def is_closing(self) -> bool:
        """Whether writing is over."""
        return self._closing

    def is_reading(self) -> bool:
        """Whether the protocol above takes data."""
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        """Stop giving data."""
        if self._reading and not self._closing:
            self._reading = False
            if self._below is not None and not self._below.is_closing():
                self._below.pause_reading()

    def resume_reading(self) -> None:
        """Go on giving data."""
        if not self._reading and not self._closing:
            self._reading = True
            if self._below is not None and not self._below.is_closing():
                self._below.resume_reading()
            asyncio.get_running_loop().call_soon(self._deliver)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send."""
        if self._closing or not data:
            return
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._tls.write(rest) :]
        except ssl.SSLError as error:
            _log.debug("TLS connection with %s broke: %s", self.get_extra_info("peername"), error)
            self.abort()
            return
        self._flush()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Encrypt and send."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """The engine never ends its output before the connection."""
        return False

    def get_write_buffer_size(self) -> int:
        """Bytes that wait to be sent."""
        return self._below.get_write_buffer_size() if self._below is not None else 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When writing is slow."""
        if self._below is not None:
            self._below.set_write_buffer_limits(high, low)

    def close(self) -> None:
        """Say goodbye, and close when all is sent."""
        if self._closing:
            return
        self._closing = True
        with contextlib.suppress(ssl.SSLError):  # it wants the client's goodbye, which we do not wait for
            self._tls.unwrap()
        self._flush()
        if self._below is not None:
            self._below.close()

    def abort(self) -> None:
        """Close at once."""
        self._closing = True
        if self._below is not None:
            self._below.abort()

    def _flush(self) -> None:
        data = self._write_bio.read()
        if data and self._below is not None and not self._below.is_closing():
            self._below.write(data)
