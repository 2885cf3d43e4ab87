"""Query fields."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from yarl import URL

from darse.api import query
from darse.core.errors import InvalidParameter
from darse.core.times import parse_time


def asked(text: str) -> Any:
    return SimpleNamespace(query=URL(f"http://x/?{text}", encoded=True).query)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        ("all=1", True),
        ("all=true", True),
        ("all=anything", True),
        ("all=", False),
        ("all=0", False),
        ("all=False", False),
        ("all=no", False),
        ("all=None", False),
    ],
)
def test_flag(text: str, expected: bool) -> None:
    assert query.flag(asked(text), "all") is expected


def test_number() -> None:
    assert query.number(asked("t=-5"), "t") == -5
    assert query.number(asked(""), "t", 7) == 7
    for bad in ("t=1.5", "t=x", "t=1e3", "t=99999999999999999999", "t=%D9%A1", "t=1_0"):
        with pytest.raises(InvalidParameter):
            query.number(asked(bad), "t")


@pytest.mark.parametrize("text", ["", "h=", "h=-1", "h=65536", "h=x", "h=1.0"])
def test_size_refuses(text: str) -> None:
    with pytest.raises(InvalidParameter):
        query.size(asked(text), "h")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("1136073600", 1136073600 * 10**9),
        ("1136073600.000000001", 1136073600 * 10**9 + 1),
        ("1136073600.5", 1136073600 * 10**9 + 500_000_000),
        ("-5", -5 * 10**9),
        ("2006-01-01", 1136073600 * 10**9),
        ("2006-01-01T00:00:00Z", 1136073600 * 10**9),
        ("2006-01-01T00:00", 1136073600 * 10**9),
        ("2006-01-01T01:00:00+01:00", 1136073600 * 10**9),
        ("2006-01-01T00:00:00.123456789Z", 1136073600 * 10**9 + 123456789),
    ],
)
def test_time(text: str, expected: int) -> None:
    assert parse_time(text, "since") == expected


@pytest.mark.parametrize("text", ["x", "1.2.3", "2006-13-01", "2006-01-01T25:00", "10 m", "", "nan", "1e9", "9" * 30])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(InvalidParameter, match="since"):
        parse_time(text, "since")


def test_a_duration_counts_back_from_now() -> None:
    import time

    assert abs(parse_time("1m30s", "since") - (time.time_ns() - 90 * 10**9)) < 10**9


def test_a_platform_that_is_nested_too_deeply() -> None:
    with pytest.raises(InvalidParameter, match="failed to parse platform: nested too deeply"):
        query.platform(asked("platform=" + '{"x":' + "[" * 100_000))
