"""Sizes, as docker reads and shows them."""

from __future__ import annotations

import pytest

from darse.units import InvalidSize, binary_size, human_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("100", 100),
        ("100b", 100),
        ("64k", 64 << 10),
        ("64K", 64 << 10),
        ("64kb", 64 << 10),
        ("64KiB", 64 << 10),
        ("64 m", 64 << 20),
        (" 64m ", 64 << 20),
        ("1.5g", 3 << 29),
        ("2t", 2 << 40),
        ("1p", 1 << 50),
        ("0.5", 0),
        ("9007199254740993", 9007199254740993),
        ("16777217.5k", 16777217 * 1024 + 512),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_units_of_logs_are_decimal() -> None:
    assert parse_size("10m", 1000) == 10_000_000
    assert parse_size("1.5kb", 1000) == 1500


@pytest.mark.parametrize(
    "text", ["", "m", "-1", "1.m", ".5m", "1x", "1mm", "1e3", "1,5m", "\u0663m", "9" * 40, "1m\n1"]
)
def test_what_is_no_size_is_refused_in_dockers_words(text: str) -> None:
    with pytest.raises(InvalidSize) as failure:
        parse_size(text)
    assert str(failure.value) == f"invalid size: '{text}'"


@pytest.mark.parametrize(
    ("size", "decimal", "binary"),
    [
        (0, "0B", "0B"),
        (999, "999B", "999B"),
        (1000, "1kB", "1000B"),
        (1024, "1.024kB", "1KiB"),
        (1_980_000, "1.98MB", "1.888MiB"),
    ],
)
def test_sizes_are_shown(size: int, decimal: str, binary: str) -> None:
    assert (human_size(size), binary_size(size)) == (decimal, binary)
