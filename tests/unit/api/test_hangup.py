"""A client that is gone, and one that has only ended its input."""

import asyncio
import socket

from darse.linux.net.hangup import HangupWatch


async def test_the_end_of_input_is_no_hangup_and_a_close_is():
    ours, theirs = socket.socketpair()
    gone = asyncio.Event()
    watch = HangupWatch(ours.fileno(), gone.set)
    theirs.shutdown(socket.SHUT_WR)
    await asyncio.sleep(0.05)
    assert not gone.is_set()
    theirs.close()
    await asyncio.wait_for(gone.wait(), 5)
    watch.close()
    ours.close()
