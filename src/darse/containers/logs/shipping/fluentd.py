"""The driver `fluentd`: the forward protocol, version 1, in its message mode, as docker sends it.

https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1. With `fluentd-request-ack` each message has
a chunk id, and is delivered when the receiver has named it; without, when the receiver's kernel has it.
"""

from __future__ import annotations

import base64
import re
import struct
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from darse.containers.logs.shipping.addresses import Address, TLSFiles
from darse.containers.logs.shipping.connections import StreamConnection
from darse.containers.logs.shipping.messages import Clock, Message
from darse.containers.logs.shipping.origin import Origin
from darse.containers.logs.shipping.receivers import ConnectionReceiver, RemoteDriver
from darse.core.errors import InvalidParameter
from darse.durations import InvalidDuration, parse_duration
from darse.units import InvalidSize, parse_size

_HOST: Final = "127.0.0.1"
_PORT: Final = 24224
_TRUE: Final = ("1", "t", "T", "true", "TRUE", "True")
_FALSE: Final = ("0", "f", "F", "false", "FALSE", "False")
_BOOLEANS: Final = (
    "fluentd-async",
    "fluentd-async-connect",
    "fluentd-request-ack",
    "fluentd-sub-second-precision",
)
_DURATIONS: Final = ("fluentd-retry-wait", "fluentd-async-reconnect-interval", "fluentd-write-timeout")
_OTHERS: Final = (
    "fluentd-address fluentd-buffer-limit fluentd-max-retries tag labels labels-regex env env-regex".split()
)
_OPTIONS: Final = frozenset((*_BOOLEANS, *_DURATIONS, *_OTHERS))
_EVENT_TIME: Final = struct.Struct(">II")


def _check(options: Mapping[str, str]) -> None:
    _address(options)
    for name in _BOOLEANS:
        _boolean(options, name)
    if options.get("fluentd-async") and options.get("fluentd-async-connect"):
        raise InvalidParameter("conflicting options: cannot specify both 'fluentd-async' and 'fluentd-async-connect'")
    for name in _DURATIONS:
        _duration(options, name)
    interval = _duration(options, "fluentd-async-reconnect-interval")
    if interval is not None and interval != 0 and not 0.1 <= interval <= 10:
        raise InvalidParameter(
            "invalid value for fluentd-async-reconnect-interval: value must be between 100ms and 10s"
        )
    retries = options.get("fluentd-max-retries", "")
    if retries and not (retries.isascii() and retries.isdecimal()):
        raise InvalidParameter(f'strconv.ParseUint: parsing "{retries}": invalid syntax')
    limit = options.get("fluentd-buffer-limit", "")
    try:
        parse_size(limit or "0")
    except InvalidSize as error:
        raise InvalidParameter(str(error)) from None


def _address(options: Mapping[str, str]) -> Address:
    given = options.get("fluentd-address", "")
    text = given if "://" in given else f"tcp://{given}"
    scheme, _, rest = text.partition("://")
    wrong = f"invalid fluentd-address ({given}): "
    if scheme == "unix":
        if not rest.strip("/"):
            raise InvalidParameter(f"{wrong}path is empty")
        return Address("unix", path=rest)
    if scheme not in ("tcp", "tls"):
        raise InvalidParameter(f"{wrong}unsupported scheme: '{scheme}'")
    if "/" in rest:
        raise InvalidParameter(f"{wrong}should not contain a path element")
    host, port = _HOST, ""
    found = re.match(r"(?:\[([^\]]*)\]|([^:\[\]]*))(?::([^:]*))?\Z", rest)
    if found is None:
        raise InvalidParameter(f"{wrong}too many colons in address")
    host = found[1] or found[2] or _HOST
    port = found[3] or str(_PORT)
    if not (port.isascii() and port.isdecimal() and int(port[:6]) < 1 << 16):
        raise InvalidParameter(f'{wrong}invalid port "{port}"')
    return Address("tcp+tls" if scheme == "tls" else "tcp", host, int(port))


def _boolean(options: Mapping[str, str], name: str) -> bool:
    value = options.get(name, "")
    if value and value not in _TRUE + _FALSE:
        raise InvalidParameter(f'strconv.ParseBool: parsing "{value}": invalid syntax')
    return value in _TRUE


def _duration(options: Mapping[str, str], name: str) -> float | None:
    """Seconds, or None where there is no such option."""
    value = options.get(name, "")
    if not value:
        return None
    try:
        return parse_duration(value) / 1e9
    except InvalidDuration as error:
        raise InvalidParameter(str(error)) from None


class FluentdReceiver(ConnectionReceiver):
    """A connection to a fluentd, or to something that speaks like it."""

    def __init__(self, origin: Origin) -> None:
        options = origin.options
        address = _address(options)
        self._connection = StreamConnection(address, TLSFiles() if address.transport == "tcp+tls" else None)
        super().__init__(self._connection)
        self._with_acks = _boolean(options, "fluentd-request-ack")
        self._events = _Events(origin, precise=_boolean(options, "fluentd-sub-second-precision"))
        self._acknowledged = 0
        self._answers = _Answers()

    @property
    def delivered(self) -> int:
        """See `Receiver`."""
        return self._acknowledged if self._with_acks else super().delivered

    @property
    def settled(self) -> int:
        """See `Receiver`."""
        return self._acknowledged if self._with_acks else super().settled

    async def send(self, messages: Sequence[Message]) -> None:
        """See `Receiver`; with acknowledgements it waits for them."""
        if not self._with_acks:
            await self._connection.send([self._events.encode(message, {}) for message in messages])
            return
        chunks = deque(base64.b64encode(uuid.uuid4().bytes).decode() for _ in messages)
        pieces = [
            self._events.encode(message, {"chunk": chunk}) for message, chunk in zip(messages, chunks, strict=True)
        ]
        await self._connection.send(pieces)
        while chunks:
            for answer in self._answers.feed(await self._connection.receive()):
                if chunks and answer == chunks[0]:
                    chunks.popleft()
                    self._acknowledged += 1

    async def finish(self) -> None:
        """See `Receiver`."""
        if not self._with_acks:
            await super().finish()


class _Events:
    """Makes events of messages."""

    def __init__(self, origin: Origin, *, precise: bool) -> None:
        self._tag = origin.tag
        self._common = {
            "container_id": origin.id,
            "container_name": f"/{origin.name}",
            "source": "",
            "log": b"",
            **origin.attributes,
        }
        self._precise = precise
        self._clock = Clock()
        self._encoder = msgspec.msgpack.Encoder()

    def encode(self, message: Message, option: dict[str, str]) -> bytes:
        """An event: tag, time, record, option."""
        record: dict[str, Any] = self._common | {"source": message.stream.decode(), "log": _text(message.text)}
        if message.part is not None:
            record["partial_message"] = "true"
            record["partial_id"] = message.part.id
            record["partial_ordinal"] = str(message.part.ordinal)
            record["partial_last"] = "true" if message.part.last else "false"
        moment: Any = self._clock.seconds(message.time)
        if self._precise:
            moment = msgspec.msgpack.Ext(0, _EVENT_TIME.pack(moment, self._clock.nanoseconds(message.time)))
        return self._encoder.encode((self._tag, moment, record, option))


def _text(data: bytes) -> msgspec.Raw | str:
    """A msgpack string of these very bytes: its type says text, and receivers take what is not UTF-8, too."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return msgspec.Raw(b"\xdb" + struct.pack(">I", len(data)) + data)


class _Answers:
    """Reads acknowledgements, `{"ack": CHUNK}`, from a stream."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """The chunk ids of the answers that are complete. They have no more than the one key."""
        found: list[str] = []
        self._rest += data
        while (begin := self._rest.find(b"\xa3ack")) >= 0:
            text = _string(self._rest[begin + 4 :])
            if text is None:
                return found
            value, size = text
            found.append(value)
            self._rest = self._rest[begin + 4 + size :]
        return found


def _string(data: bytes) -> tuple[str, int] | None:
    """A msgpack string at the beginning of the data, and the bytes that it takes; None when some are missing."""
    if not data:
        return None
    kind = data[0]
    head, length = 1, kind & 0x1F
    if kind >> 5 != 0b101:
        head = {0xD9: 2, 0xDA: 3, 0xDB: 5, 0xC4: 2}.get(kind, 0)
        if head == 0:
            raise OSError(f"the answer of fluentd is none: {data[:40]!r}")
        length = int.from_bytes(data[1:head], "big")
    if len(data) < head + length:
        return None
    return data[head : head + length].decode(errors="replace"), head + length


DRIVER = RemoteDriver(
    _OPTIONS, _check, FluentdReceiver, lambda options: _duration(options, "fluentd-retry-wait") or 0.1
)
