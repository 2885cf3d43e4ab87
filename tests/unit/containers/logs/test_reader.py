"""Reading the log that conmon writes."""

import asyncio
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darse.containers.logs import LogOptions, LogStream
from darse.containers.logs.files import LogFiles
from darse.linux.fs.inotify import Inotify
from darse.testing.blocking import on_this_thread


def _line(second, stream, tag, text):
    return f"2026-01-02T03:04:{second:02d}.000000000+00:00 {stream} {tag} {text}\n".encode()


LOG = b"".join(
    [
        _line(1, "stdout", "F", "one"),
        _line(2, "stderr", "F", "two"),
        _line(3, "stdout", "P", "thr"),
        _line(4, "stdout", "F", "ee"),
        _line(5, "stdout", "F", ""),
        _line(6, "stdout", "P", "prompt> "),
    ]
)
_BASE = 1767323040  # 2026-01-02T03:04:00Z


async def _pieces(path, *, terminal=False, running=lambda: False, **options):
    stream = LogStream(LogFiles(path), Inotify(), LogOptions(**options), terminal=terminal, details="", running=running)
    return [piece async for batch in stream.output() for piece in batch]


async def _read(path, **options):
    return _data(await _pieces(path, **options))


def _data(pieces):
    return b"".join(data for _, data in pieces)


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(LOG)
    return path


async def test_every_byte_of_the_output_is_recovered(log):
    assert await _read(log) == b"one\ntwo\nthree\n\nprompt> "


async def test_a_log_is_read_beside_the_event_loop(log):
    files = LogFiles(log)
    files.rotate()
    log.touch()
    files.compress()
    log.unlink()  # as between the two steps of a rotation: the newest file is one that is unpacked
    with on_this_thread(log.parent) as seen:
        assert await _read(log) == b"one\ntwo\nthree\n\nprompt> "
    assert seen == []


async def test_streams_are_chosen(log):
    assert await _read(log, stderr=False) == b"one\nthree\n\nprompt> "
    assert await _read(log, stdout=False) == b"two\n"


async def test_without_a_terminal_each_line_is_a_piece_of_its_stream(log):
    assert (await _pieces(log))[:2] == [(1, b"one\n"), (2, b"two\n")]


async def test_with_a_terminal_there_is_one_stream(log):
    assert {stream for stream, _ in await _pieces(log, terminal=True)} == {1}


async def test_a_timestamp_stands_at_the_beginning_of_each_line_only(log):
    text = (await _read(log, timestamps=True)).decode().splitlines()
    assert text[2] == "2026-01-02T03:04:03.000000000Z three"


@pytest.mark.parametrize(
    ("tail", "expected"),
    [(0, b""), (1, b"prompt> "), (2, b"\nprompt> "), (3, b"three\n\nprompt> "), (99, b"one\ntwo\nthree\n\nprompt> ")],
)
async def test_tail_counts_whole_lines_and_an_unfinished_last_one(log, tail, expected):
    assert await _read(log, tail=tail) == expected


async def test_since_and_until_bound_the_time(log):
    assert await _read(log, since_ns=(_BASE + 2) * 10**9, until_ns=(_BASE + 4) * 10**9) == b"two\nthree\n"


async def test_a_clock_that_was_set_loses_and_doubles_nothing(tmp_path):
    """Stamps follow the clock: forward to :50 and back to :02."""
    path = tmp_path / "log"
    path.write_bytes(b"".join(_line(second, "stdout", "F", str(second)) for second in (1, 50, 2, 3)))
    assert await _read(path) == b"1\n50\n2\n3\n"
    assert await _read(path, until_ns=(_BASE + 10) * 10**9) == b"1\n2\n3\n"
    assert await _read(path, since_ns=(_BASE + 2) * 10**9) == b"50\n2\n3\n"
    assert await _read(path, tail=2) == b"2\n3\n"


async def test_following_goes_on_when_the_clock_is_set_back(tmp_path):
    """What is written after `since` was asked for is later, whatever its stamp is; in further files, too."""
    path = tmp_path / "c.log"
    path.write_bytes(_line(10, "stdout", "F", "old") + _line(30, "stdout", "F", "seen"))
    running = True
    options = LogOptions(since_ns=(_BASE + 20) * 10**9, follow=True)
    stream = LogStream(LogFiles(path), Inotify(), options, terminal=True, details="", running=lambda: running)
    batches = stream.output()
    assert await anext(batches) == [(1, b"seen\n")]
    with open(path, "ab") as file:
        following = asyncio.ensure_future(anext(batches))
        await asyncio.sleep(0)
        while not stream._caught_up:
            await asyncio.sleep(0.001)
        file.write(_line(5, "stdout", "F", "back"))
    assert await asyncio.wait_for(following, 5) == [(1, b"back\n")]
    for number in (1, 2):
        LogFiles(path).rotate()
        os.utime(f"{path}.{number}", (_BASE + 6, _BASE + 6))
        path.write_bytes(_line(6, "stdout", "F", f"file {number}"))
    assert await asyncio.wait_for(anext(batches), 5) == [(1, b"file 1\n")]
    assert await asyncio.wait_for(anext(batches), 5) == [(1, b"file 2\n")]
    running = False
    stream.container_ended()
    assert [batch async for batch in batches] == []


async def test_others_go_on_while_a_filter_drops_a_long_log(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(_line(1, "stdout", "F", "x" * 60) * 200_000)
    turns = 0

    async def turn():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    others = asyncio.create_task(turn())
    assert await _read(path, stdout=False) == b""
    others.cancel()
    assert turns > 10


async def test_a_container_that_never_ran_has_no_log(tmp_path):
    assert await _read(tmp_path / "absent") == b""


async def test_following_gets_what_is_written_later_and_ends_with_the_container(log):
    running = True
    stream = LogStream(
        LogFiles(log),
        Inotify(),
        LogOptions(follow=True, tail=1),
        terminal=True,
        details="",
        running=lambda: running,
    )
    batches = stream.output()
    assert await asyncio.wait_for(anext(batches), 5) == [(1, b"prompt> ")]
    first = asyncio.create_task(anext(batches))
    await asyncio.sleep(0)
    with log.open("ab") as file:
        file.write(_line(7, "stdout", "F", "later"))
    assert await asyncio.wait_for(first, 5) == [(1, b"later\n")]
    running = False
    with log.open("ab") as file:
        file.write(_line(8, "stdout", "F", "last"))
    stream.container_ended()
    assert [piece async for batch in batches for piece in batch] == [(1, b"last\n")]


@settings(deadline=None)  # it writes files: on a busy machine that takes what it takes
@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.sampled_from("FP"), st.text("ab ", max_size=9))))
async def test_tail_is_always_the_end_of_the_whole(tmp_path_factory, entries):
    path = tmp_path_factory.mktemp("log") / "log"
    path.write_bytes(b"".join(_line(9, *entry) for entry in entries))
    whole = await _read(path)
    for tail in (0, 1, 2, 5):
        assert whole.endswith(await _read(path, tail=tail))


def _numbered(number):
    return _line(number % 60, "stdout", "F", str(number))


def _rotated(directory, *, compress=False):
    """A log of three files: lines 0 to 9, 10 to 19 and 20 to 24."""
    log = directory / "c.log"
    files = LogFiles(log)
    for first in (0, 10):
        log.write_bytes(b"".join(_numbered(number) for number in range(first, first + 10)))
        files.rotate()
    log.write_bytes(b"".join(_numbered(number) for number in range(20, 25)))
    if compress:
        files.compress()
    return log


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("tail", [None, 0, 1, 5, 6, 15, 16, 24, 25, 99])
async def test_a_rotated_log_reads_as_one(tmp_path, compress, tail):
    log = _rotated(tmp_path, compress=compress)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == ({"c.log", "c.log.1.gz", "c.log.2.gz"} if compress else {"c.log", "c.log.1", "c.log.2"})
    wanted = range(25) if tail is None else range(max(0, 25 - tail), 25)
    assert await _read(log, tail=tail) == "".join(f"{number}\n" for number in wanted).encode()


async def test_while_conmon_has_made_no_new_file_the_log_ends_with_the_newest_numbered_one(tmp_path):
    log = _rotated(tmp_path)
    log.unlink()
    assert await _read(log, tail=2) == b"18\n19\n"
    LogFiles(log).compress()
    assert (tmp_path / "c.log.2").exists()  # conmon may still write to it


async def test_following_goes_on_through_rotations(tmp_path):
    log = tmp_path / "c.log"
    files = LogFiles(log)
    log.write_bytes(_numbered(0))
    running = True
    stream = LogStream(files, Inotify(), LogOptions(follow=True), terminal=True, details="", running=lambda: running)
    batches = stream.output()
    assert await anext(batches) == [(1, b"0\n")]
    for number in range(1, 20):
        with log.open("ab") as old:
            files.rotate()
            old.write(_numbered(2 * number - 1))  # as conmon, which has not heard of it yet
        log.write_bytes(_numbered(2 * number))
        if number % 3 == 0:
            files.compress()
        if number % 7 == 0:
            files.remove_rotated(files.oldest())
        got = b""
        while got.count(b"\n") < 2:
            got += _data(await asyncio.wait_for(anext(batches), 5))
        assert got == f"{2 * number - 1}\n{2 * number}\n".encode()
    running = False
    stream.container_ended()
    assert [batch async for batch in batches] == []


async def test_files_dropped_before_they_were_read_are_passed_over(tmp_path):
    log = _rotated(tmp_path)
    LogFiles(log).remove_rotated(1)
    assert (await _read(log)).startswith(b"10\n")
    LogFiles(log).empty(2)
    assert await _read(log) == b"20\n21\n22\n23\n24\n"
    assert LogFiles(log).newest() == 3


async def test_a_crash_during_compression_leaves_one_whole_file(tmp_path):
    log = _rotated(tmp_path, compress=True)
    (tmp_path / "c.log.1.gz.partial").write_bytes(b"half")
    (tmp_path / "c.log.2").write_bytes(b"".join(_numbered(number) for number in range(10, 20)))  # not unlinked yet
    assert await _read(log) == "".join(f"{number}\n" for number in range(25)).encode()
    LogFiles(log).compress()
    assert {path.name for path in tmp_path.iterdir()} == {"c.log", "c.log.1.gz", "c.log.2.gz"}


async def test_a_line_in_pieces_may_span_two_files(tmp_path):
    log = tmp_path / "c.log"
    log.write_bytes(_line(1, "stdout", "F", "a") + _line(2, "stdout", "P", "begin-"))
    LogFiles(log).rotate()
    log.write_bytes(_line(2, "stdout", "F", "end") + _line(3, "stdout", "F", "z"))
    assert await _read(log) == b"a\nbegin-end\nz\n"
    assert await _read(log, tail=2) == b"begin-end\nz\n"
    assert await _read(log, tail=1) == b"z\n"
