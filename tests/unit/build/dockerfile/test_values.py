"""Lists with quotes, excerpts, and suggestions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darse.build.dockerfile import values
from darse.build.dockerfile.source import excerpt
from darse.build.dockerfile.suggest import _distance, suggested, suggestion


@given(st.lists(st.text('a,"b ', max_size=4), min_size=1))
def test_fields_are_read_as_they_are_written(fields: list[str]) -> None:
    text = ",".join('"' + field.replace('"', '""') + '"' for field in fields)
    assert values.fields(text) == fields


@pytest.mark.parametrize(
    ("word", "known", "found"),
    [("RUNN", ["RUN", "ENV"], "RUN"), ("run", ["RUN"], ""), ("abc", ["xyz"], ""), ("a", ["b", "c"], "b")],
)
def test_suggestions(word: str, known: list[str], found: str) -> None:
    assert suggestion(word, known, case_sensitive=False) == (found.lower() if word.islower() else found)


def test_a_word_that_is_known_has_no_suggestion() -> None:
    assert suggested("unknown flag: --link", "link", ["link", "lint"]) == "unknown flag: --link"


@given(st.text("ab", max_size=6), st.text("ab", max_size=6))
def test_distances(one: str, other: str) -> None:
    def slow(a: str, b: str) -> int:
        if not a or not b:
            return len(a) + len(b)
        return min(slow(a[1:], b) + 1, slow(a, b[1:]) + 1, slow(a[1:], b[1:]) + (a[0] != b[0]))

    assert _distance(one, other) == slow(one, other)


def test_excerpts() -> None:
    source = "1\n2\n3\n4\n5\n6\n7"
    assert excerpt(source, "f", [(4, 4)]).splitlines() == [
        "f:4", "-" * 20, "   2 |     2", "   3 |     3", "   4 | >>> 4", "   5 |     5", "   6 |     6", "-" * 20,
    ]  # fmt: skip
    assert excerpt(source, "f", [(1, 2)]).splitlines()[2:-1] == ["   1 | >>> 1", "   2 | >>> 2", "   3 |     3"]
    assert excerpt(source, "f", [(1, 1), (7, 9)]).count(">>>") == 2
    assert excerpt(source, "f", []) == ""
    assert excerpt(source, "f", [(9, 9)]) == ""
    assert excerpt("one", "f", [(1, 1)]).splitlines()[2] == "   1 | >>> one"
