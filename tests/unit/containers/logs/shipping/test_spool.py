"""Messages of a log, and places in it."""

import asyncio
import os
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darse.containers.logs.files import LogFiles
from darse.containers.logs.shipping import messages
from darse.containers.logs.shipping.messages import LONGEST, Assembler, Clock
from darse.containers.logs.shipping.spool import Position, PositionFile, Spool
from darse.testing.blocking import on_this_thread

MOMENT = b"2026-01-02T03:04:05.123456789+00:00"


def cri(stream: str, text: bytes, pieces: list[int]) -> list[bytes]:
    """A line as conmon may have written it, cut at these places."""
    places = [0, *sorted(place % (len(text) + 1) for place in pieces), len(text)]
    parts = [text[begin:end] for begin, end in pairwise(places)]
    kinds = [b"P"] * (len(parts) - 1) + [b"F"]
    return [b"%b %b %b %b" % (MOMENT, stream.encode(), kind, part) for kind, part in zip(kinds, parts, strict=True)]


LINES = st.lists(
    st.tuples(
        st.sampled_from(["stdout", "stderr"]),
        st.binary(max_size=50).map(lambda text: text.replace(b"\n", b"")),
        st.sampled_from([1, 1, 1, 1000]),
        st.lists(st.integers(0, 100_000), max_size=3),
    ),
    max_size=12,
)


@given(LINES)
def test_messages_are_whole_lines_however_they_were_cut(lines):
    log = [part for stream, text, times, cuts in lines for part in cri(stream, text * times, cuts)]
    found = Assembler({}).messages(log)
    joined: list[tuple[bytes, bytes]] = []
    for message in found:
        assert len(message.text) <= LONGEST
        if message.part is not None and message.part.ordinal > 1:
            stream, text = joined.pop()
            assert stream == message.stream
            joined.append((stream, text + message.text))
        else:
            joined.append((message.stream, message.text))
    assert joined == [(stream.encode(), text * times) for stream, text, times, _ in lines]


def test_a_line_of_the_longest_size_is_no_part():
    (message,) = Assembler({}).messages(cri("stdout", b"x" * LONGEST, []))
    assert message.part is None
    first, second = Assembler({}).messages(cri("stdout", b"x" * LONGEST + b"y", [5]))
    assert (first.part.ordinal, first.part.last) == (1, False)
    assert (second.part.ordinal, second.part.last, second.text) == (2, True, b"y")
    assert first.part.id == second.part.id


def test_torn_lines_are_passed_over():
    assert Assembler({}).messages([b"", b"2026", MOMENT + b" stdout F"]) == []


def test_times():
    clock = Clock()
    assert (clock.seconds(MOMENT), clock.nanoseconds(MOMENT)) == (1767323045, 123456789)


async def read_all(spool, *, ended=True):
    found = []
    while (batch := await spool.read(ended=ended)) is not None:
        found.append(batch)
    return found


def three_files(directory: Path) -> LogFiles:
    """A log of two rotated files and a current one, with lines that go on from one to the next."""
    files = LogFiles(directory / "c.log")
    files.path(1).write_bytes(MOMENT + b" stdout F 1\n" + MOMENT + b" stdout P 2a\n" + MOMENT + b" stderr F 3\n")
    files.path(2).write_bytes(MOMENT + b" stdout P 2b\n" + MOMENT + b" stderr P 4\n")
    files.current.write_bytes(MOMENT + b" stdout F 2c\n" + MOMENT + b" stdout P 5")
    return files


ALL = [b"1", b"3", b"2a2b2c", b"4"]


async def test_a_log_is_read_across_its_files(tmp_path):
    spool = Spool(three_files(tmp_path), Position())
    batches = await read_all(spool)
    spool.close()
    assert [message.text for batch in batches for message in batch.messages] == ALL


async def test_a_log_is_read_beside_the_event_loop(tmp_path, monkeypatch):
    pread, threads = os.pread, set()

    def watched(*arguments):
        threads.add(threading.get_ident())
        return pread(*arguments)

    monkeypatch.setattr(os, "pread", watched)
    spool = Spool(three_files(tmp_path), Position())
    with on_this_thread(tmp_path) as seen:
        await read_all(spool)
    spool.close()
    assert seen == []
    assert threads
    assert threading.get_ident() not in threads


async def test_a_log_that_is_moved_while_it_is_opened_is_read_to_its_end(tmp_path, monkeypatch):
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    files = three_files(before)
    loop, begun, go_on, open_ = asyncio.get_running_loop(), asyncio.Event(), threading.Event(), LogFiles.open

    def slow(self, sequence):
        loop.call_soon_threadsafe(begun.set)
        assert go_on.wait(10)
        return open_(self, sequence)

    monkeypatch.setattr(LogFiles, "open", slow)
    spool = Spool(files, Position())
    reading = asyncio.create_task(read_all(spool))
    await begun.wait()
    before.rename(after)
    spool.move(LogFiles(after / files.current.name))
    go_on.set()
    assert [message.text for batch in await reading for message in batch.messages] == ALL
    spool.close()


async def test_a_log_that_is_moved_between_its_files_is_read_to_its_end(tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    files = three_files(before)
    spool = Spool(files, Position())
    batches = [await spool.read(ended=True)]
    before.rename(after)
    spool.move(LogFiles(after / files.current.name))
    batches += await read_all(spool)
    assert [message.text for batch in batches for message in batch.messages] == ALL
    spool.close()


async def test_the_end_of_a_line_is_waited_for_while_the_container_runs(tmp_path):
    files = three_files(tmp_path)
    spool = Spool(files, Position())
    batches = await read_all(spool, ended=False)
    assert [message.text for batch in batches for message in batch.messages] == ALL[:-1]
    with open(files.current, "ab") as log:
        log.write(b"\n" + MOMENT + b" stderr F x\n")
    batches = await read_all(spool, ended=False)
    assert [message.text for batch in batches for message in batch.messages] == [b"4x"]
    spool.close()


@pytest.mark.parametrize("delivered", range(5))
async def test_reading_goes_on_after_any_message(tmp_path, delivered):
    files, notes = three_files(tmp_path), PositionFile(tmp_path / "position")
    position, left = Position(), delivered
    spool = Spool(files, position)
    for batch in await read_all(spool):
        if left >= len(batch.messages):
            position, left = batch.end, left - len(batch.messages)
        else:
            position = Position(batch.begin.sequence, batch.begin.offset, batch.begin.unfinished, left)
            break
    spool.close()
    notes.save(position)
    again = Spool(files, notes.load())
    assert [message.text for batch in await read_all(again) for message in batch.messages] == ALL[delivered:]
    again.close()


async def test_what_retention_took_is_passed_over(tmp_path):
    files = three_files(tmp_path)
    files.remove_rotated(1)
    spool = Spool(files, Position(1, 12))
    assert [message.text for batch in await read_all(spool) for message in batch.messages] == [b"2b2c", b"4"]
    spool.close()


def test_a_spoilt_note_is_none(tmp_path):
    notes = PositionFile(tmp_path / "position")
    assert notes.load() == Position()
    notes.path.write_bytes(b"\0\0")
    assert notes.load() == Position()


def test_the_longest_message_is_dockers():
    assert messages.LONGEST == 16384
