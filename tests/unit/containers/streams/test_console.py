"""One connection to conmon, many clients."""

import asyncio
import contextlib
import errno
import socket

import pytest

from darse.containers.streams import console
from darse.containers.streams.console import _HIGH_WATER, _MOST_GIVEN, STALLED_SECONDS, Attachment, ConsoleHub
from darse.containers.streams.output import STDERR, STDOUT
from darse.runtime.monitor import conmon as monitor
from darse.testing.clock import in_fake_time

_OF_CONMON = {STDOUT: monitor.STDOUT, STDERR: monitor.STDERR}


class _Conmon:
    """The other end of the socket."""

    def __init__(self):
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours.setblocking(False)

    def says(self, stream, data):
        self.theirs.send(bytes((_OF_CONMON[stream],)) + data)


@pytest.fixture
def conmon():
    conmon = _Conmon()
    yield conmon
    conmon.theirs.close()
    conmon.ours.close()


def _hub(conmon, **options):
    settings = {"terminal": False, "stdin_once": False, "keep_connected": False, "on_detach": lambda: None}
    return ConsoleHub(lambda: conmon.ours, **(settings | options))


def _attach(hub, *, running=True, **options):
    settings = {"terminal": False, "stdin": True, "outputs": frozenset({STDOUT, STDERR}), "detach_keys": None}
    attachment = Attachment(hub, **(settings | options))
    hub.add(attachment, running=running)
    return attachment


async def _collect(attachment):
    return [piece async for batch in attachment.output() for piece in batch]


def _data(pieces):
    return b"".join(data for _, data in pieces)


async def test_every_client_gets_the_streams_it_asked_for(conmon):
    hub = _hub(conmon)
    both, errors = _attach(hub), _attach(hub, outputs=frozenset({STDERR}))
    conmon.says(STDOUT, b"out")
    conmon.says(STDERR, b"err")
    conmon.theirs.close()
    hub.process_exited()
    assert await _collect(both) == [(STDOUT, b"out"), (STDERR, b"err")]
    assert await _collect(errors) == [(STDERR, b"err")]


async def test_a_client_from_before_the_start_misses_nothing(conmon):
    hub = _hub(conmon)
    attachment = _attach(hub, running=False)
    conmon.says(STDOUT, b"first")
    hub.connect()
    conmon.theirs.close()
    hub.process_exited()
    assert await _collect(attachment) == [(STDOUT, b"first")]


@in_fake_time
async def test_the_stream_ends_only_when_the_exit_is_on_record(conmon):
    hub = _hub(conmon)
    collecting = asyncio.create_task(_collect(_attach(hub)))
    conmon.theirs.close()
    done, _ = await asyncio.wait({collecting}, timeout=3600)
    assert not done
    hub.process_exited()
    assert await asyncio.wait_for(collecting, 5) == []


async def test_input_reaches_the_process_and_its_end_closes_stdin_of_one_client_only(conmon):
    hub = _hub(conmon, stdin_once=True, keep_connected=True)
    attachment = _attach(hub)
    await attachment.write(b"hello")
    assert conmon.theirs.recv(100) == b"hello"
    await attachment.close_stdin()
    assert conmon.theirs.recv(100) == b""


async def test_stdin_that_is_kept_open_stays_open(conmon):
    hub = _hub(conmon)
    attachment = _attach(hub)
    await attachment.close_stdin()
    await attachment.write(b"still")
    assert conmon.theirs.recv(100) == b"still"


async def test_the_slowest_client_sets_the_pace(conmon):
    hub = _hub(conmon)
    attachment = _attach(hub)
    conmon.theirs.setblocking(False)
    sent = 0
    for _ in range(2000):
        try:
            conmon.says(STDOUT, b"x" * 8192)
            sent += 8192
        except BlockingIOError:
            if attachment.full:
                break
            await asyncio.sleep(0)
    assert attachment.full
    assert sent < _HIGH_WATER * 3
    batches = attachment.output()
    assert len(_data(await anext(batches))) <= _MOST_GIVEN
    assert not attachment.full


async def _fill(conmon, attachment):
    """Have the process print until it has to wait for the attachment."""
    conmon.theirs.setblocking(False)
    while True:
        try:
            conmon.says(STDOUT, b"x" * 8192)
        except BlockingIOError:
            if attachment.full:
                return
            await asyncio.sleep(0)


@in_fake_time
async def test_an_onlooker_that_does_not_read_is_let_go(conmon):
    hub = _hub(conmon)
    left = asyncio.Event()
    stalled, reading = _attach(hub), _attach(hub)
    stalled.when_let_go(left.set)
    pieces = []

    async def read():
        async for batch in reading.output():
            pieces.extend(batch)

    task = asyncio.create_task(read())
    await _fill(conmon, stalled)
    await asyncio.wait_for(left.wait(), 2 * STALLED_SECONDS)
    assert await _collect(stalled) == []
    conmon.theirs.setblocking(True)
    await asyncio.to_thread(conmon.says, STDOUT, b"goes on")
    conmon.theirs.close()
    hub.process_exited()
    await asyncio.wait_for(task, 5)
    assert _data(pieces).endswith(b"goes on")


async def test_a_crowd_that_does_not_read_is_let_go_some_at_a_time(conmon, monkeypatch):
    monkeypatch.setattr(console, "STALLED_SECONDS", 0.1)
    hub = _hub(conmon)
    left = []
    crowd = [_attach(hub) for _ in range(3 * console._AT_ONCE)]
    for one in crowd:
        one.when_let_go(lambda: left.append(None))
    await _fill(conmon, crowd[-1])
    in_one_turn = before = 0
    async with asyncio.timeout(5):
        while len(left) < len(crowd):
            await asyncio.sleep(0)
            in_one_turn, before = max(in_one_turn, len(left) - before), len(left)
    assert in_one_turn <= console._AT_ONCE
    assert not hub.is_used


@in_fake_time
async def test_who_was_there_before_the_start_sets_the_pace_for_ever(conmon):
    hub = _hub(conmon)
    attachment = _attach(hub, running=False)
    hub.connect()
    await _fill(conmon, attachment)
    done, _ = await asyncio.wait({asyncio.create_task(_drained(conmon))}, timeout=100 * STALLED_SECONDS)
    assert not done
    assert attachment.full


async def _drained(conmon):
    while True:
        with contextlib.suppress(BlockingIOError):
            conmon.says(STDOUT, b"x")
            return
        await asyncio.sleep(STALLED_SECONDS)


@in_fake_time
async def test_a_slow_client_that_reads_is_kept(conmon):
    hub = _hub(conmon)
    attachment = _attach(hub)
    batches = attachment.output()
    for _ in range(5):
        await _fill(conmon, attachment)
        await asyncio.sleep(STALLED_SECONDS / 2)
        assert await anext(batches)
    assert hub.is_used


async def test_a_crowd_gets_everything_in_order_and_others_their_turn(conmon):
    hub = _hub(conmon, terminal=True)
    crowd = [_attach(hub, terminal=True) for _ in range(500)]
    collecting = [asyncio.create_task(_collect(one)) for one in crowd]
    turns = 0

    async def count():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    others = asyncio.create_task(count())
    for number in range(20):
        conmon.says(STDOUT, b"%d," % number)
    conmon.theirs.close()
    hub.process_exited()
    expected = b"".join(b"%d," % number for number in range(20))
    assert set(map(_data, await asyncio.wait_for(asyncio.gather(*collecting), 20))) == {expected}
    others.cancel()
    assert turns > 20 * 500 / console._AT_ONCE


async def test_nobody_attached_costs_nothing(conmon):
    hub = _hub(conmon)
    attachment = _attach(hub)
    await attachment.close()
    assert conmon.theirs.recv(100) == b""


@pytest.mark.parametrize("gone", [FileNotFoundError, ConnectionRefusedError])
@in_fake_time
async def test_a_process_that_has_just_ended_has_empty_streams(conmon, gone):
    def connect():
        raise gone

    hub = ConsoleHub(connect, terminal=False, stdin_once=False, keep_connected=False, on_detach=lambda: None)
    collecting = asyncio.create_task(_collect(_attach(hub)))
    done, _ = await asyncio.wait({collecting}, timeout=3600)
    assert not done
    hub.process_exited()
    assert await asyncio.wait_for(collecting, 5) == []


async def test_a_console_that_cannot_be_reached_for_other_reasons_is_an_error():
    def connect():
        raise OSError(errno.EMFILE, "Too many open files")

    hub = ConsoleHub(connect, terminal=False, stdin_once=False, keep_connected=False, on_detach=lambda: None)
    with pytest.raises(OSError, match="Too many open files"):
        _attach(hub)
