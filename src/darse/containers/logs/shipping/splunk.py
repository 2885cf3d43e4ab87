"""The driver `splunk`: the HTTP event collector, POST /services/collector/event/1.0.

A batch is delivered when the collector has answered 200. Its other answers are errors like any other: the batch is
sent again later, so a token that is wrong today loses nothing.
"""

from __future__ import annotations

import ssl
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from darse.aiohttp_server import http_client
from darse.containers.logs.shipping.addresses import TLSFiles
from darse.containers.logs.shipping.messages import Clock, Message
from darse.containers.logs.shipping.origin import Origin
from darse.containers.logs.shipping.receivers import RemoteDriver
from darse.core import executors
from darse.core.errors import InvalidParameter

if TYPE_CHECKING:
    import aiohttp

_OPTIONS: Final = frozenset(
    "splunk-url splunk-token splunk-source splunk-sourcetype splunk-index splunk-capath splunk-caname "
    "splunk-insecureskipverify splunk-format splunk-verify-connection splunk-gzip splunk-gzip-level splunk-index-ack "
    "tag labels labels-regex env env-regex".split()
)
_FORMATS: Final = ("inline", "json", "raw")
_BOOLEANS: Final = ("splunk-insecureskipverify", "splunk-verify-connection", "splunk-gzip", "splunk-index-ack")
_TRUE: Final = ("1", "t", "T", "true", "TRUE", "True")
_FALSE: Final = ("0", "f", "F", "false", "FALSE", "False")
_PATH: Final = "/services/collector/event/1.0"
_ANSWER_SECONDS: Final = 30


def _check(options: Mapping[str, str]) -> None:
    _url(options)
    if "splunk-token" not in options:
        raise InvalidParameter("splunk: splunk-token is expected")
    for name in _BOOLEANS:
        if options.get(name, "true") not in _TRUE + _FALSE:
            raise InvalidParameter(f'strconv.ParseBool: parsing "{options[name]}": invalid syntax')
    form = options.get("splunk-format", "inline")
    if form not in _FORMATS:
        raise InvalidParameter(f"unknown format specified {form}, supported formats are inline, json and raw")
    level = options.get("splunk-gzip-level", "-1")
    if level not in ("-1", *"0123456789"):
        raise InvalidParameter(
            f"not supported level '{level}' for splunk-gzip-level (supported values between -1 and 9)"
        )


def _url(options: Mapping[str, str]) -> str:
    given = options.get("splunk-url")
    if given is None:
        raise InvalidParameter("splunk: splunk-url is expected")
    try:
        parts = urlsplit(given)
        _ = parts.port
    except ValueError:
        raise InvalidParameter(f"splunk: failed to parse {given} as url value in splunk-url") from None
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or parts.query:
        raise InvalidParameter("splunk: expected format scheme://dns_name_or_ip:port for splunk-url")
    return f"{parts.scheme}://{parts.netloc}{_PATH}"


class SplunkReceiver:
    """A client of a collector."""

    def __init__(self, origin: Origin) -> None:
        self._options = origin.options
        self._events = _Events(origin)
        self._session: aiohttp.ClientSession | None = None
        self._delivered = 0

    async def connect(self, wake: Callable[[], None]) -> None:
        """Nothing is asked yet: the first batch is. Raises OSError for a certificate that cannot be read."""
        # In a thread: the import makes two TLS contexts, which takes longer than the event loop may be held.
        aiohttp = await executors.storage.run(http_client)
        connector = aiohttp.TCPConnector(ssl=self._tls(), limit=1)
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS))

    def _tls(self) -> ssl.SSLContext:
        verify = self._options.get("splunk-insecureskipverify", "false") not in _TRUE
        return TLSFiles(ca=self._options.get("splunk-capath", ""), verify=verify).context()

    @property
    def delivered(self) -> int:
        """See `Receiver`."""
        return self._delivered

    @property
    def settled(self) -> int:
        """See `Receiver`."""
        return self._delivered

    async def send(self, messages: Sequence[Message]) -> None:
        """See `Receiver`."""
        body = b"".join(filter(None, map(self._events.encode, messages)))
        if body:
            await self._post(body)
        self._delivered += len(messages)

    async def _post(self, body: bytes) -> None:
        assert self._session is not None
        headers = {"Authorization": f"Splunk {self._options['splunk-token']}"}
        if self._options.get("splunk-gzip", "false") in _TRUE:
            packer = zlib.compressobj(int(self._options.get("splunk-gzip-level", "-1")), zlib.DEFLATED, 31)
            body = packer.compress(body) + packer.flush()
            headers["Content-Encoding"] = "gzip"
        name = self._options.get("splunk-caname")
        try:
            async with self._session.post(
                _url(self._options), data=body, headers=headers, server_hostname=name
            ) as response:
                if response.status != 200:
                    reply = (await response.content.read(500)).decode(errors="replace")
                    raise OSError(f"splunk: failed to send event - {response.status} {response.reason} - {reply}")
        except http_client().ClientError as error:
            raise OSError(str(error)) from error

    def check(self) -> None:
        """Between two requests nothing is held that could be lost."""

    async def finish(self) -> None:
        """Everything was answered for."""
        assert self._session is not None
        await self._session.close()

    def close(self) -> None:
        """See `Receiver`."""
        if self._session is not None and not self._session.closed:
            self._session.detach()


class _Events:
    """Makes events of messages."""

    def __init__(self, origin: Origin) -> None:
        options = origin.options
        self._form = options.get("splunk-format", "inline")
        self._tag = origin.tag if options.get("tag", "-") else ""
        self._attributes = origin.attributes
        self._common = {"host": origin.host} | {
            name: options[f"splunk-{name}"]
            for name in ("source", "sourcetype", "index")
            if options.get(f"splunk-{name}")
        }
        attributes = "".join(f"{name}={value} " for name, value in origin.attributes.items())
        self._prefix = (f"{self._tag} " if self._tag else "") + attributes
        self._clock = Clock()
        self._encoder = msgspec.json.Encoder()

    def encode(self, message: Message) -> bytes | None:
        """An event; None for what the collector refuses: a raw one of nothing but blanks."""
        text = message.text.decode(errors="replace")
        if self._form == "raw":
            if not text.strip():
                return None
            event: Any = self._prefix + text
        else:
            event = {"line": self._line(message, text), "source": message.stream.decode()}
            if self._tag:
                event["tag"] = self._tag
            if self._attributes:
                event["attrs"] = self._attributes
        moment = f"{self._clock.seconds(message.time)}.{message.time[20:26].decode()}"
        return self._encoder.encode({"event": event, "time": moment, **self._common})

    def _line(self, message: Message, text: str) -> Any:
        if self._form == "json":
            try:
                msgspec.json.decode(message.text)
            except (msgspec.DecodeError, RecursionError):
                return text
            return msgspec.Raw(message.text)
        return text


DRIVER = RemoteDriver(_OPTIONS, _check, SplunkReceiver)
