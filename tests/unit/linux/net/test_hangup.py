"""A client that is gone, and one that has only ended its input."""

import asyncio
import socket

from darse.linux.net.hangup import HangupWatch


async def test_the_end_of_input_is_no_hangup_and_a_close_is():
    ours, theirs = socket.socketpair()
    gone = asyncio.Event()
    watch = HangupWatch(ours.fileno(), gone.set)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(ours, ended.set)
    theirs.shutdown(socket.SHUT_WR)
    # The loop hears of both in one look at its descriptors.
    await asyncio.wait_for(ended.wait(), 5)
    asyncio.get_running_loop().remove_reader(ours)
    assert not gone.is_set()
    theirs.close()
    await asyncio.wait_for(gone.wait(), 5)
    watch.close()
    ours.close()
