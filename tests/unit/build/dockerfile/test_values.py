"""Values of flags, places, and suggestions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darse.build.dockerfile import values
from darse.build.dockerfile.source import excerpt
from darse.build.dockerfile.suggest import _distance, suggested, suggestion
from darse.durations import go_duration


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("0", 0), ("1s", 10**9), ("-1.5h", -5400 * 10**9), ("+1m2s", 62 * 10**9), (".5s", 5 * 10**8), ("1us1µs1μs", 3000)],
)
def test_durations(text: str, nanoseconds: int) -> None:
    assert values.duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "-", "1", "1x", ".s", "s", "1s2", "1..2s", "9999999999h", " 1s"])
def test_refuses_durations(text: str) -> None:
    with pytest.raises(ValueError, match="time:"):
        values.duration(text)


@given(st.integers(0, 10**15))
def test_durations_are_read_as_they_are_written(nanoseconds: int) -> None:
    assert values.duration(go_duration(nanoseconds)) == nanoseconds


@given(st.lists(st.text('a,"b ', max_size=4), min_size=1))
def test_fields_are_read_as_they_are_written(fields: list[str]) -> None:
    text = ",".join('"' + field.replace('"', '""') + '"' for field in fields)
    assert values.fields(text) == fields


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("2k", 2048), ("1.5 MB", 1572864), ("1GiB", 1 << 30), ("0", 0)])
def test_sizes(text: str, number: int) -> None:
    assert values.size(text) == number


@pytest.mark.parametrize("text", ["", "k", "1x", "-1", "1 2", "1kk"])
def test_refuses_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        values.size(text)


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
