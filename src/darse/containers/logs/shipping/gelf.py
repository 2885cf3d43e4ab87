"""The driver `gelf`: the Graylog Extended Log Format 1.1, over UDP (compressed and in chunks) or TCP.

https://go2docs.graylog.org/current/getting_in_log_data/gelf.html. JSON has no bytes: what is not UTF-8 is replaced.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from darse.containers.logs.shipping.addresses import Address, split
from darse.containers.logs.shipping.connections import DatagramConnection, StreamConnection
from darse.containers.logs.shipping.messages import Clock, Message
from darse.containers.logs.shipping.origin import Origin
from darse.containers.logs.shipping.receivers import ConnectionReceiver, RemoteDriver
from darse.core.errors import InvalidParameter

_OPTIONS: Final = frozenset(
    "gelf-address gelf-compression-type gelf-compression-level gelf-tcp-max-reconnect gelf-tcp-reconnect-delay "
    "tag labels labels-regex env env-regex".split()
)
_ERROR, _INFO = 3, 6
# A datagram that no Ethernet breaks up: what go-gelf sends.
_CHUNK: Final = 1420
_HEAD: Final = 12
_MOST_CHUNKS: Final = 128
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}\Z", re.ASCII)


def _check(options: Mapping[str, str]) -> None:
    address = _address(options)
    kind = options.get("gelf-compression-type")
    level = options.get("gelf-compression-level")
    if address.transport != "udp" and (kind is not None or level is not None):
        raise InvalidParameter("compression is only supported on UDP")
    if kind is not None and kind not in ("gzip", "zlib", "none"):
        raise InvalidParameter(f'unknown value "{kind}" for log opt "gelf-compression-type" for gelf log driver')
    if level is not None and not (_INTEGER.match(level) and -1 <= int(level) <= 9):
        raise InvalidParameter(f'unknown value "{level}" for log opt "gelf-compression-level" for gelf log driver')
    for name in ("gelf-tcp-max-reconnect", "gelf-tcp-reconnect-delay"):
        value = options.get(name)
        if value is None:
            continue
        if address.transport != "tcp":
            raise InvalidParameter(f'"{name}" is only valid for TCP')
        if not (_INTEGER.match(value) and int(value) >= 0):
            raise InvalidParameter(f'"{name}" must be a positive integer')


def _address(options: Mapping[str, str]) -> Address:
    text = options.get("gelf-address", "")
    if not text:
        raise InvalidParameter("gelf-address is a required parameter")
    parts = split(text)
    if parts is None:
        raise InvalidParameter(f"gelf-address should be in form proto://address, got {text}")
    if parts.scheme not in ("tcp", "udp"):
        raise InvalidParameter("gelf: endpoint needs to be TCP or UDP")
    if parts.port is None:
        raise InvalidParameter("gelf: please provide gelf-address as proto://host:port")
    return Address(parts.scheme, parts.hostname or "localhost", parts.port)


class GelfReceiver(ConnectionReceiver):
    """A connection to a Graylog, or to something that reads its format."""

    def __init__(self, origin: Origin) -> None:
        address = _address(origin.options)
        self._stream = StreamConnection(address) if address.transport == "tcp" else None
        self._datagrams = DatagramConnection(address)
        super().__init__(self._stream or self._datagrams)
        self._events = _Events(origin)
        self._level = int(origin.options.get("gelf-compression-level", "1"))
        self._compress = _COMPRESSIONS[origin.options.get("gelf-compression-type", "gzip")]

    async def send(self, messages: Sequence[Message]) -> None:
        """See `Receiver`."""
        if self._stream is not None:
            await self._stream.send([self._events.encode(message) + b"\0" for message in messages])
            return
        for message in messages:
            await self._datagrams.send(_chunks(self._compress(self._events.encode(message), self._level)))


class _Events:
    """Makes JSON of messages."""

    def __init__(self, origin: Origin) -> None:
        self._common: dict[str, Any] = {"version": "1.1", "host": origin.host}
        self._more: dict[str, Any] = {
            "_container_id": origin.id,
            "_container_name": origin.name,
            "_image_id": origin.image_id,
            "_image_name": origin.image_name,
            "_command": origin.command,
            "_tag": origin.tag,
            "_created": origin.created,
            **{name if name.startswith("_") else f"_{name}": value for name, value in origin.attributes.items()},
        }
        self._clock = Clock()
        self._encoder = msgspec.json.Encoder()

    def encode(self, message: Message) -> bytes:
        """A message as an object."""
        milliseconds = int(message.time[20:23])
        return self._encoder.encode(
            {
                **self._common,
                "short_message": message.text.decode(errors="replace"),
                "timestamp": self._clock.seconds(message.time) + milliseconds / 1000,
                "level": _ERROR if message.is_error else _INFO,
                **self._more,
            }
        )


def _gzip(data: bytes, level: int) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


_COMPRESSIONS: Final[dict[str, Callable[[bytes, int], bytes]]] = {
    "gzip": _gzip,
    "zlib": zlib.compress,
    "none": lambda data, _: data,
}


def _chunks(data: bytes) -> list[bytes]:
    """The datagrams of a message; the format allows 128, so a larger one is cut, as receivers drop it otherwise."""
    if len(data) <= _CHUNK:
        return [data]
    size = _CHUNK - _HEAD
    pieces = [data[begin : begin + size] for begin in range(0, len(data), size)][:_MOST_CHUNKS]
    identity = os.urandom(8)
    return [b"\x1e\x0f%b%c%c%b" % (identity, number, len(pieces), piece) for number, piece in enumerate(pieces)]


DRIVER = RemoteDriver(
    _OPTIONS, _check, GelfReceiver, lambda options: float(options.get("gelf-tcp-reconnect-delay") or 0.1)
)
