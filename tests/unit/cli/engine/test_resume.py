"""Going on where a stream broke off: cut anywhere, a log is shown once, and whole."""

from __future__ import annotations

import pytest

from darse.cli.engine.resume import AttachedStream, StampedStream, api_time

_STAMP = b"2026-01-02T03:04:05.%09dZ "
# Two lines of the same time, a line without text, the same text twice, and a prompt at the end.
_LINES = [(1, b"one\n"), (2, b"same\n"), (2, b"same\n"), (3, b"\n"), (4, b"longer than before\n"), (5, b"$ ")]
_LOG = b"".join(_STAMP % number + text for number, text in _LINES)
_TEXT = b"".join(text for _, text in _LINES)


def _since(log: bytes, nanoseconds: int) -> bytes:
    """What an engine sends of the log from a time on."""
    found = [(number, text) for number, text in _LINES if not nanoseconds or number >= nanoseconds % 1_000_000_000]
    return b"".join(_STAMP % number + text for number, text in found)


@pytest.mark.parametrize("show", [False, True])
@pytest.mark.parametrize("cut", range(len(_LOG) + 1))
def test_a_log_cut_anywhere_is_shown_once_and_whole(cut: int, show: bool) -> None:
    stream = StampedStream(show_stamps=show)
    shown = stream.feed(_LOG[:cut])
    stream.again()
    rest = _since(_LOG, stream.since_ns())
    for begin in range(0, len(rest), 7):
        shown += stream.feed(rest[begin : begin + 7])
    assert shown == (_LOG if show else _TEXT)


def test_a_time_in_the_middle_of_a_long_line_is_a_frames() -> None:
    stream = StampedStream(show_stamps=False)
    frames = [_STAMP % 1 + b"begin", _STAMP % 2 + b" and end\n"]
    assert b"".join(stream.feed(frame, is_frame=True) for frame in frames) == b"begin and end\n"


def test_what_has_no_time_is_shown_as_it_is() -> None:
    text = b"error from a driver that gives its lines no time\n"
    assert StampedStream(show_stamps=False).feed(text) == text


def test_times_have_nine_digits() -> None:
    assert api_time(1_700_000_000_000_000_007) == "1700000000.000000007"


def test_an_attached_stream_finds_its_place_in_the_log() -> None:
    stream = AttachedStream(0)
    stream.note(b"tick\n" * 3)
    assert stream.missed(b"tick\n" * 5) == b"tick\n" * 2
    assert stream.missed(b"before\n" + b"tick\n" * 4) == b"tick\n"
    assert stream.missed(b"other") is None
    for number in range(50_000):
        stream.note(b"%d\n" % number)
    assert stream.since_ns > 0
    log = b"tick\n" * 3 + b"".join(b"%d\n" % number for number in range(50_002))
    assert stream.missed(log) == b"50000\n50001\n"
