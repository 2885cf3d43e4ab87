"""A channel of calls over a transport that is open already."""

from __future__ import annotations

import asyncio

from grpclib.client import Channel, Handler
from grpclib.encoding.proto import ProtoCodec
from grpclib.protocol import H2Protocol

from darse.buildkit.transport.connection import BoundedProtocol
from darse.buildkit.transport.status import DetailsCodec


class TransportChannel(Channel):
    """Calls the gRPC server at the other end of a transport. A channel whose transport is lost is not opened again."""

    def __init__(self) -> None:
        super().__init__("localhost", codec=ProtoCodec(), status_details_codec=DetailsCodec())
        self.protocol = BoundedProtocol(Handler(), self._config, self._h2_config)

    def open(self, transport: asyncio.Transport, early: bytes = b"") -> None:
        """Take a transport. early: what the peer has sent already."""
        transport.set_protocol(self.protocol)
        self.protocol.connection_made(transport)
        self._protocol = self.protocol
        if early:
            self.protocol.data_received(early)

    @property
    def is_lost(self) -> bool:
        """Whether the connection is over."""
        return self.protocol.lost.is_set() or self._protocol is None

    async def _create_connection(self) -> H2Protocol:
        raise ConnectionError("the client's session is closed")

    def close(self) -> None:
        """Close the connection."""
        if self._protocol is not None:
            super().close()
            self._protocol = None
