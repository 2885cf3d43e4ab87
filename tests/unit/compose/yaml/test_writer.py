"""Styles of strings, and that what is written reads back as the same values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darse.compose.yaml.reader import read
from darse.compose.yaml.writer import number, write


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"),
        ("yes", '"yes"'),
        ("", '""'),
        ("a: b", "'a: b'"),
        ("it's #1", "'it''s #1'"),
        (" lead", "' lead'"),
        ("a\nb", "|-\n  a\n  b"),
        ("a\nb\n", "|\n  a\n  b"),
        ("a\n\n", "|+\n  a\n"),
        (" a\nb", "|2-\n   a\n  b"),
        ("tab\there", '"tab\\there"'),
        ("a \nb", '"a \\nb"'),
        (None, "null"),
        (True, "true"),
        (1.0, "1"),
        ([], "[]"),
        ({}, "{}"),
    ],
)
def test_styles(value: Any, written: str) -> None:
    assert write({"k": value}) == f"k: {written}\n"


@pytest.mark.parametrize(
    ("value", "written"),
    [(1.5, "1.5"), (0.0001, "0.0001"), (1e-5, "1e-05"), (1e6, "1e+06"), (123456.5, "123456.5"), (-0.0, "-0")],
)
def test_numbers_are_go_s(value: float, written: str) -> None:
    assert number(value) == written


_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x85\u2028\u2029"), max_size=20)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | _TEXTS,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(_TEXTS, below, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(_TEXTS, _VALUES, max_size=4))
def test_what_is_written_reads_back(value: dict[str, Any]) -> None:
    [document] = read(write(value).encode(), "f")
    assert document.value == value
