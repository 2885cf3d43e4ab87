"""Durations, as Go reads and shows them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darse.durations import InvalidDuration, go_duration, parse_duration

_SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("-0", 0),
        ("0s", 0),
        ("5s", 5 * _SECOND),
        ("+5s", 5 * _SECOND),
        ("-5s", -5 * _SECOND),
        ("1m30s", 90 * _SECOND),
        ("1h15m30.918s", 4530 * _SECOND + 918_000_000),
        ("1.5h", 5400 * _SECOND),
        (".5s", _SECOND // 2),
        ("5.s", 5 * _SECOND),
        ("100ms", 100_000_000),
        ("1us", 1000),
        ("1\u00b5s", 1000),
        ("1\u03bcs", 1000),
        ("7ns", 7),
        ("0.000000001s", 1),
        ("0.33333333333333333333333s", 333_333_333),
        ("9223372036854775807ns", (1 << 63) - 1),
        ("1s1s", 2 * _SECOND),
    ],
)
def test_durations_are_read(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", 'time: invalid duration ""'),
        ("-", 'time: invalid duration "-"'),
        (".", 'time: invalid duration "."'),
        (".s", 'time: invalid duration ".s"'),
        ("s", 'time: invalid duration "s"'),
        ("5", 'time: missing unit in duration "5"'),
        ("1m5", 'time: missing unit in duration "1m5"'),
        ("5d", 'time: unknown unit "d" in duration "5d"'),
        ("1 s", 'time: unknown unit " s" in duration "1 s"'),
        ("5S", 'time: unknown unit "S" in duration "5S"'),
        ("--5s", 'time: invalid duration "--5s"'),
        ("9223372036854775808ns", 'time: invalid duration "9223372036854775808ns"'),
        ("9" * 5000 + "h", "time: invalid duration"),
        ("\u0663s", "time: invalid duration"),
    ],
)
def test_what_is_no_duration_is_refused_in_gos_words(text: str, error: str) -> None:
    with pytest.raises(InvalidDuration) as failure:
        parse_duration(text)
    assert str(failure.value).startswith(error)


@given(st.integers(-(1 << 63) + 1, (1 << 63) - 1))
def test_what_is_shown_is_read_again(nanoseconds: int) -> None:
    assert parse_duration(go_duration(nanoseconds)) == nanoseconds


@given(st.text(max_size=30))
def test_reading_never_fails_in_another_way(text: str) -> None:
    with contextlib.suppress(InvalidDuration):
        assert -(1 << 63) <= parse_duration(text) < 1 << 63
