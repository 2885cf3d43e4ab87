"""A process's output as clients get it."""

from collections.abc import AsyncIterator

from darse.api.multiplexing import contents, encoded, frames
from darse.client.streams import Frames
from darse.containers.streams.output import STDERR, STDOUT, Batch


def test_a_frame_is_the_stream_the_length_and_the_data():
    assert frames([(STDOUT, b"out"), (STDERR, b"")]) == b"\1\0\0\0\0\0\0\3out" + b"\2\0\0\0\0\0\0\0"


def test_the_client_takes_apart_what_is_put_together():
    batch = [(STDOUT, b"a" * 70_000), (STDERR, b"\0\n"), (STDOUT, b"b")]
    assert Frames().feed(frames(batch)) == batch


def test_contents_are_the_data_alone():
    assert contents([(STDOUT, b"out "), (STDERR, b"err")]) == b"out err"


async def test_batches_end_with_the_stream_that_is_made_of_them():
    closed = []

    async def batches() -> AsyncIterator[Batch]:
        try:
            while True:
                yield [(STDERR, b"x")]
        finally:
            closed.append(True)

    pieces = encoded(batches(), multiplexed=True)
    assert await anext(pieces) == b"\2\0\0\0\0\0\0\1x"
    await pieces.aclose()
    assert closed == [True]
