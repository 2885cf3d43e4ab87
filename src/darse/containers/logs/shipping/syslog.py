"""The driver `syslog`: RFC 3164, RFC 5424 (also with microseconds), and what local daemons read.

A message is a line: with TLS and RFC 5424 it is framed by its length (RFC 5425), else it ends with a line feed, over
UDP too, as docker sends it. Times are those at which the container wrote.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from darse.containers.logs.shipping.addresses import Address, TLSFiles, split
from darse.containers.logs.shipping.connections import DatagramConnection, StreamConnection
from darse.containers.logs.shipping.messages import Clock, Message
from darse.containers.logs.shipping.origin import Origin
from darse.containers.logs.shipping.receivers import RemoteDriver
from darse.core.errors import InvalidParameter

_FACILITIES: Final = (
    "kern user mail daemon auth syslog lpr news uucp cron authpriv ftp - - - - "
    "local0 local1 local2 local3 local4 local5 local6 local7"
).split()
_DAEMON: Final = 3
_ERROR, _INFO = 3, 6
_PORT: Final = 514
_LOCAL: Final = ("/dev/log", "/var/run/syslog", "/var/run/log")
_FORMATS: Final = ("", "rfc3164", "rfc5424", "rfc5424micro")
_OPTIONS: Final = frozenset(
    "syslog-address syslog-facility syslog-format syslog-tls-ca-cert syslog-tls-cert syslog-tls-key "
    "syslog-tls-skip-verify tag labels labels-regex env env-regex".split()
)


def _check(options: Mapping[str, str]) -> None:
    address = _address(options)
    if address is not None and address.path and not os.path.exists(address.path):
        raise InvalidParameter(f"stat {address.path}: no such file or directory")
    _facility(options)
    if options.get("syslog-format", "") not in _FORMATS:
        raise InvalidParameter("Invalid syslog format")


def _address(options: Mapping[str, str]) -> Address | None:
    """Where to; None for the daemon of this host."""
    text = options.get("syslog-address", "")
    if not text:
        return None
    parts = split(text)
    if parts is None or parts.scheme == "tls":
        raise InvalidParameter(f"syslog-address should be in form proto://address, got {text}")
    if parts.scheme in ("unix", "unixgram"):
        return Address(parts.scheme, path=parts.path)
    return Address(parts.scheme, parts.hostname or "localhost", parts.port or _PORT)


def _facility(options: Mapping[str, str]) -> int:
    text = options.get("syslog-facility", "")
    if not text:
        return _DAEMON
    if text in _FACILITIES and text != "-":
        return _FACILITIES.index(text)
    if text.isascii() and text.isdecimal() and int(text[:4]) < len(_FACILITIES):
        return int(text)
    raise InvalidParameter("invalid syslog facility")


class SyslogReceiver:
    """A connection to a syslog daemon."""

    def __init__(self, origin: Origin) -> None:
        self._options = origin.options
        self._format = _Format(origin)
        self._connection: StreamConnection | DatagramConnection | None = None

    async def connect(self, wake: Callable[[], None]) -> None:
        """Raises OSError."""
        address = _address(self._options)
        if address is not None:
            self._connection = self._new_connection(address)
            await self._connection.connect(wake)
            return
        failure: OSError = FileNotFoundError(2, "Unix syslog delivery error")
        for path in _LOCAL:
            for transport in ("unixgram", "unix"):
                self._connection = self._new_connection(Address(transport, path=path))
                try:
                    await self._connection.connect(wake)
                except OSError as error:
                    self._connection.close()
                    failure = error
                else:
                    return
        raise failure

    def _new_connection(self, address: Address) -> StreamConnection | DatagramConnection:
        if address.transport in ("udp", "unixgram"):
            return DatagramConnection(address)
        if address.transport != "tcp+tls":
            return StreamConnection(address)
        options = self._options
        files = TLSFiles(
            options.get("syslog-tls-ca-cert", ""),
            options.get("syslog-tls-cert", ""),
            options.get("syslog-tls-key", ""),
            verify="syslog-tls-skip-verify" not in options,
        )
        return StreamConnection(address, files)

    @property
    def delivered(self) -> int:
        """See `Receiver`."""
        return self._connection.delivered if self._connection is not None else 0

    @property
    def settled(self) -> int:
        """See `Receiver`."""
        return self._connection.settled if self._connection is not None else 0

    async def send(self, messages: Sequence[Message]) -> None:
        """See `Receiver`."""
        assert self._connection is not None
        pieces = [self._format.message(message) for message in messages]
        if isinstance(self._connection, StreamConnection):
            await self._connection.send(pieces)
            return
        for piece in pieces:
            await self._connection.send((piece,))

    def check(self) -> None:
        """See `Receiver`."""
        assert self._connection is not None
        self._connection.check()

    async def finish(self) -> None:
        """See `Receiver`."""
        assert self._connection is not None
        await self._connection.finish()

    def close(self) -> None:
        """See `Receiver`."""
        if self._connection is not None:
            self._connection.close()


class _Format:
    """Makes messages; what they have in common within a second is made once."""

    def __init__(self, origin: Origin) -> None:
        options = origin.options
        self._form = options.get("syslog-format", "")
        facility = _facility(options) * 8
        self._priorities = {b"stdout": facility + _INFO, b"stderr": facility + _ERROR}
        self._origin = origin
        self._process = os.getpid()
        address = _address(options)
        self._framed = self._form.startswith("rfc5424") and address is not None and address.transport == "tcp+tls"
        self._clock = Clock()
        self._heads: dict[tuple[int, bytes], bytes] = {}

    def message(self, message: Message) -> bytes:
        """A message, framed."""
        second = self._clock.seconds(message.time)
        head = self._heads.get((second, message.stream))
        if head is None:
            if len(self._heads) > 1:
                self._heads.clear()
            head = self._heads[second, message.stream] = self._head(second, self._priorities[message.stream])
        if self._form == "rfc5424micro":
            head = head.replace(b"\0", message.time[20:26], 1)
        data = head + message.text + b"\n"
        return b"%d %b" % (len(data), data) if self._framed else data

    def _head(self, second: int, priority: int) -> bytes:
        tag, host, local = self._origin.tag, self._origin.host, time.localtime(second)
        if self._form.startswith("rfc5424"):
            fraction = ".\0" if self._form == "rfc5424micro" else ""
            moment = time.strftime("%Y-%m-%dT%H:%M:%S", local) + fraction + _offset(local)
            return f"<{priority}>1 {moment} {host} {tag} {self._process} {tag} - ".encode()
        stamp = f"{_MONTHS[local.tm_mon - 1]} {local.tm_mday:2d} {time.strftime('%H:%M:%S', local)}"
        where = f" {host}" if self._form == "rfc3164" else ""
        return f"<{priority}>{stamp}{where} {tag}[{self._process}]: ".encode()


_MONTHS: Final = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def _offset(local: time.struct_time) -> str:
    """RFC 3339's offset from UTC."""
    minutes = local.tm_gmtoff // 60
    if minutes == 0:
        return "Z"
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


DRIVER = RemoteDriver(_OPTIONS, _check, SyslogReceiver)
