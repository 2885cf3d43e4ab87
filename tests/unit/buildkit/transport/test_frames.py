"""DATA frames that are read without h2: what comes of them is what h2 alone makes of the same bytes."""

from __future__ import annotations

import random

import h2.config
import h2.connection
import h2.events
import pytest
from h2.exceptions import FlowControlError, ProtocolError
from h2.stream import StreamState

from darse.buildkit.transport.frames import DataRun, FrameReader

_BEGIN = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"


class Side:
    """The receiving one."""

    def __init__(self) -> None:
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.h2.initiate_connection()
        self.content: dict[int, bytes] = {}
        self.events: list[str] = []
        self.runs = 0

    def take(self, events: list[h2.events.Event]) -> None:
        for event in events:
            if isinstance(event, h2.events.DataReceived):
                self.give(event.stream_id, event.data, event.flow_controlled_length)
            else:
                self.events.append(repr(event))

    def give(self, stream: int, data: bytes, size: int) -> None:
        self.content[stream] = self.content.get(stream, b"") + data
        if size:
            self.h2.acknowledge_received_data(size, stream)

    def read(self, reader: FrameReader, data: bytes) -> None:
        reader.add(data)
        while (found := reader.next()) is not None:
            if isinstance(found, DataRun):
                self.runs += 1
                self.give(found.stream, found.data, len(found.data))
            else:
                self.take(self.h2.receive_data(found))

    def windows(self) -> list[int]:
        """What the client may send on what is open, and what is given back with the next update."""
        streams = [one for one in self.h2.streams.values() if one.state_machine.state is StreamState.OPEN]
        managers = [one._inbound_window_manager for one in streams]
        managers.append(self.h2._inbound_flow_control_window_manager)
        return [one.current_window_size + one._bytes_processed for one in managers]


def conversation(seed: int) -> bytes:
    """What a client sends on a few streams: plain and padded DATA, empty ones, ends, resets, pings, long headers."""
    chance = random.Random(seed)
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    client.data_to_send()
    sent, room, announced = bytearray(_BEGIN), {}, set()
    for _ in range(200):
        if len(room) < 3 or chance.random() < 0.05:
            stream = client.get_next_available_stream_id()
            headers = [(":method", "POST"), (":scheme", "http"), (":path", "/x"), (":authority", "x")]
            if chance.random() < 0.3:
                headers.append(("content-length", "100000"))
                announced.add(stream)
            if chance.random() < 0.2:
                headers.append(("x", "y" * 40_000))
            client.send_headers(stream, headers)
            room[stream] = 8000
        stream = chance.choice(list(room))
        size = max(0, min(chance.choice((0, 1, 100, 100, 100, 1000)), room[stream]))
        room[stream] -= size + 10
        for _ in range(chance.choice((1, 1, 5))):
            piece, size = size, 0
            client.send_data(stream, chance.randbytes(piece), pad_length=chance.choice((None, None, None, 3)))
        client.increment_flow_control_window(1000)
        match chance.randrange(12):
            case 0:
                client.ping(b"12345678")
            case 1:
                client.reset_stream(stream)
                del room[stream]
            case 2 if stream not in announced:
                client.send_data(stream, b"", end_stream=True)
                del room[stream]
        sent += client.data_to_send()
        # The other side gives all back.
        client.outbound_flow_control_window = 65_535
    return bytes(sent)


@pytest.mark.parametrize("seed", range(4))
def test_all_that_comes_is_what_h2_makes_of_it(seed: int) -> None:
    data, chance = conversation(seed), random.Random(seed)
    plain, own = Side(), Side()
    for start in range(0, len(data), 500):
        plain.take(plain.h2.receive_data(data[start : start + 500]))
    reader, at = FrameReader(own.h2), 0
    while at < len(data):
        size = chance.choice((1, 9, 10, 500, 60_000))
        own.read(reader, data[at : at + size])
        at += size
    assert own.content == plain.content
    assert own.events == plain.events
    assert own.windows() == plain.windows()
    assert own.runs > 20


def opened() -> tuple[Side, FrameReader]:
    side = Side()
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.send_headers(1, [(":method", "POST"), (":scheme", "http"), (":path", "/x"), (":authority", "x")])
    reader = FrameReader(side.h2)
    side.read(reader, _BEGIN + client.data_to_send())
    return side, reader


def plain_data(stream: int, size: int) -> bytes:
    return size.to_bytes(3) + b"\0\0" + stream.to_bytes(4) + bytes(size)


def test_more_than_the_window_is_refused() -> None:
    side, reader = opened()
    side.give = lambda *_: None  # type: ignore[assignment]  # nothing is given back
    with pytest.raises(FlowControlError):
        side.read(reader, plain_data(1, 16_384) * 4)


def test_data_within_a_block_of_headers_is_refused() -> None:
    side, reader = opened()
    with pytest.raises(ProtocolError):
        side.read(reader, b"\0\0\1\1\0\0\0\0\3\x82" + plain_data(1, 10))


@pytest.mark.parametrize("stream", [0, 2, 3], ids=["none", "even", "idle"])
def test_data_on_a_stream_that_is_not_open_is_refused(stream: int) -> None:
    side, reader = opened()
    with pytest.raises(ProtocolError):
        side.read(reader, plain_data(stream, 10))


def test_data_behind_goaway_is_refused() -> None:
    side, reader = opened()
    side.h2.close_connection()
    with pytest.raises(ProtocolError):
        side.read(reader, plain_data(1, 10))


def test_data_before_the_head_of_an_answer_is_refused() -> None:
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    client.send_headers(1, [(":method", "POST"), (":scheme", "http"), (":path", "/x"), (":authority", "x")])
    reader = FrameReader(client)
    reader.add(plain_data(1, 10))
    found = reader.next()
    assert isinstance(found, bytes)
    with pytest.raises(ProtocolError):
        client.receive_data(found)
