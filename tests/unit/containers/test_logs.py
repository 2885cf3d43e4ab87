"""Reading the log that conmon writes."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darse.containers.logs import LogOptions, LogStream


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


async def _read(path, *, terminal=True, running=lambda: False, **options):
    stream = LogStream(path, LogOptions(**options), terminal=terminal, details="", running=running)
    return b"".join([piece async for piece in stream.frames()])


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(LOG)
    return path


async def test_every_byte_of_the_output_is_recovered(log):
    assert await _read(log) == b"one\ntwo\nthree\n\nprompt> "


async def test_streams_are_chosen(log):
    assert await _read(log, stderr=False) == b"one\nthree\n\nprompt> "
    assert await _read(log, stdout=False) == b"two\n"


async def test_without_a_terminal_each_line_is_a_frame_of_its_stream(log):
    assert (await _read(log, terminal=False)).startswith(b"\x01\0\0\0\0\0\0\x04one\n\x02\0\0\0\0\0\0\x04two\n")


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


async def test_a_container_that_never_ran_has_no_log(tmp_path):
    assert await _read(tmp_path / "absent") == b""


async def test_following_gets_what_is_written_later_and_ends_with_the_container(log):
    running = True
    stream = LogStream(log, LogOptions(follow=True, tail=0), terminal=True, details="", running=lambda: running)
    pieces = stream.frames()
    first = asyncio.create_task(anext(pieces))
    await asyncio.sleep(0)
    with log.open("ab") as file:
        file.write(_line(7, "stdout", "F", "later"))
    assert await asyncio.wait_for(first, 5) == b"later\n"
    running = False
    with log.open("ab") as file:
        file.write(_line(8, "stdout", "F", "last"))
    stream.container_ended()
    assert b"".join([piece async for piece in pieces]) == b"last\n"


@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.sampled_from("FP"), st.text("ab ", max_size=9))))
async def test_tail_is_always_the_end_of_the_whole(tmp_path_factory, entries):
    path = tmp_path_factory.mktemp("log") / "log"
    path.write_bytes(b"".join(_line(9, *entry) for entry in entries))
    whole = await _read(path)
    for tail in (0, 1, 2, 5):
        assert whole.endswith(await _read(path, tail=tail))
