"""The driver `journald`: the journal's native protocol, https://systemd.io/JOURNAL_NATIVE_PROTOCOL/.

A message is a datagram of fields; one too large for that goes in a sealed memory file. Every byte survives.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from darse.containers.logs.shipping.addresses import Address
from darse.containers.logs.shipping.connections import DatagramConnection
from darse.containers.logs.shipping.messages import Message
from darse.containers.logs.shipping.origin import Origin
from darse.containers.logs.shipping.receivers import ConnectionReceiver, RemoteDriver
from darse.core.errors import InvalidParameter

_SOCKET: Final = Path("/run/systemd/journal/socket")
_OPTIONS: Final = frozenset("tag labels labels-regex env env-regex".split())
_ERROR, _INFO = 3, 6
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def _check(_: Mapping[str, str]) -> None:
    if not _SOCKET.exists():
        raise InvalidParameter("journald is not enabled on this host")


class JournaldReceiver(ConnectionReceiver):
    """A connection to the journal of this host."""

    def __init__(self, origin: Origin, socket_path: Path = _SOCKET) -> None:
        self._connection = DatagramConnection(Address("unixgram", path=str(socket_path)))
        super().__init__(self._connection)
        self._common = b"".join(_field(name, value.encode()) for name, value in _fields(origin).items())

    async def send(self, messages: Sequence[Message]) -> None:
        """See `Receiver`."""
        for message in messages:
            data = self._encode(message)
            try:
                await self._connection.send((data,))
            except OSError as error:
                if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                    raise
                await self._send_file(data)

    async def _send_file(self, data: bytes) -> None:
        descriptor = os.memfd_create("journal-message", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.write(descriptor, data)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
            await self._connection.send_with_descriptor(b"", descriptor)
        finally:
            os.close(descriptor)

    def _encode(self, message: Message) -> bytes:
        priority = _ERROR if message.is_error else _INFO
        parts = [
            _field("MESSAGE", message.text),
            b"PRIORITY=%d\nSYSLOG_TIMESTAMP=%bZ\n" % (priority, message.time[:29]),
            self._common,
        ]
        if message.part is not None:
            if not message.part.last:
                parts.append(b"CONTAINER_PARTIAL_MESSAGE=true\n")
            parts.append(_field("CONTAINER_PARTIAL_ID", message.part.id.encode()))
            parts.append(b"CONTAINER_PARTIAL_ORDINAL=%d\n" % message.part.ordinal)
            parts.append(b"CONTAINER_PARTIAL_LAST=%b\n" % (b"true" if message.part.last else b"false"))
        return b"".join(parts)


def _fields(origin: Origin) -> dict[str, str]:
    return {
        "CONTAINER_ID": origin.short_id,
        "CONTAINER_ID_FULL": origin.id,
        "CONTAINER_NAME": origin.name,
        "CONTAINER_TAG": origin.tag,
        "IMAGE_NAME": origin.image_name,
        "SYSLOG_IDENTIFIER": origin.tag,
        **{name: value for key, value in origin.attributes.items() if (name := _field_name(key))},
    }


def _field_name(text: str) -> str:
    """A name that the journal takes: capitals, digits and underscores, no underscore first."""
    return "".join(sign if sign.isascii() and sign.isalnum() else "_" for sign in text).upper().lstrip("_")


def _field(name: str, value: bytes) -> bytes:
    if b"\n" not in value:
        return b"%b=%b\n" % (name.encode(), value)
    return b"%b\n%b%b\n" % (name.encode(), struct.pack("<Q", len(value)), value)


DRIVER = RemoteDriver(_OPTIONS, _check, JournaldReceiver)
