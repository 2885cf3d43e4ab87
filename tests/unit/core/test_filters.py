"""Filters of lists, prunes and events."""

from __future__ import annotations

import time

import pytest

from darse.core.errors import InvalidParameter
from darse.core.filters import Filters

ACCEPTED = ("name", "status", "label", "label!", "dangling", "id")


@pytest.mark.parametrize(
    "text",
    ['{"status":["exited","dead"]}', '{"status":{"exited":true,"dead":true,"paused":false}}'],
)
def test_both_forms(text: str) -> None:
    assert Filters.parse(text, ACCEPTED).values("status") == ["exited", "dead"]


@pytest.mark.parametrize("text", [None, "", "{}", '{"name":[]}', "null"])
def test_no_filter_at_all(text: str | None) -> None:
    assert not Filters.parse(text, ACCEPTED)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[", "invalid filter"),
        ("[]", "invalid filter"),
        ('"x"', "invalid filter"),
        ("[" * 100_000, "invalid filter"),
        ('{"what":["x"]}', "invalid filter 'what'"),
        ('{"name":"x"}', "invalid filter 'name'"),
        ('{"name":[1]}', "invalid filter 'name'"),
        ('{"name":{"x":"y"}}', "invalid filter 'name'"),
        ('{"name":["a\\u0000"]}', "invalid filter 'name'"),
    ],
)
def test_mistakes(text: str, words: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        Filters.parse(text, ACCEPTED)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("values", "expected"), [([], None), (["true"], True), (["1", "T"], True), (["false"], False), (["0"], False)]
)
def test_flag(values: list[str], expected: bool | None) -> None:
    assert Filters({"dangling": values}).flag("dangling") is expected


@pytest.mark.parametrize("values", [["maybe"], ["true", "false"]])
def test_flag_refuses_other_words(values: list[str]) -> None:
    with pytest.raises(InvalidParameter, match="invalid filter 'dangling="):
        Filters({"dangling": values}).flag("dangling")


def test_one() -> None:
    assert Filters().one("id") is None
    assert Filters({"id": ["x"]}).one("id") == "x"
    with pytest.raises(InvalidParameter):
        Filters({"id": ["x", "y"]}).one("id")


@pytest.mark.parametrize(
    ("wanted", "actual", "expected"),
    [
        ([], "web", True),
        (["web"], "web", True),
        (["we"], "web", True),
        (["^b"], "web", False),
        (["x", "b$"], "web", True),
        (["a.*c"], "abbc", True),
    ],
)
def test_search(wanted: list[str], actual: str, expected: bool) -> None:
    assert Filters({"name": wanted}).search("name", actual) is expected


@pytest.mark.parametrize("wanted", ["(", "(?<=w)eb", "web++"])
def test_search_finds_nothing_for_what_is_no_expression(wanted: str) -> None:
    """As docker does: it is the name itself that may still be meant."""
    assert not Filters({"name": [wanted]}).search("name", "web")
    assert Filters({"name": [wanted]}).search("name", wanted)
    assert Filters({"name": [wanted, "w"]}).search("name", "web")


def test_search_refuses_what_takes_too_long() -> None:
    filters = Filters({"name": [rf"(\pL{{1,9}}x){{1,{number}}}y" for number in range(1, 1000)]})
    begun = time.thread_time()
    with pytest.raises(InvalidParameter, match="invalid filter 'name': the expression"):
        [filters.search("name", f"web{number}") for number in range(1000)]
    assert time.thread_time() - begun < 0.25


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([], True),
        (["a"], True),
        (["a=1"], True),
        (["a=2"], False),
        (["a", "b"], False),
        (["a=1", "c="], True),
        (["c"], True),
    ],
)
def test_labels(wanted: list[str], expected: bool) -> None:
    assert Filters({"label": wanted}).labels({"a": "1", "c": ""}) is expected


@pytest.mark.parametrize(("unwanted", "expected"), [([], True), (["a"], False), (["a=2"], True), (["b", "a=1"], False)])
def test_without_labels(unwanted: list[str], expected: bool) -> None:
    assert Filters({"label!": unwanted}).without_labels({"a": "1"}) is expected


def test_prefix_and_exact() -> None:
    filters = Filters({"id": ["ab"], "status": ["exited"]})
    assert (filters.prefix("id", "abc"), filters.prefix("id", "cab")) == (True, False)
    assert (filters.exact("status", "exited"), filters.exact("status", "exit")) == (True, False)


def test_until() -> None:
    assert Filters().until_ns() is None
    assert Filters({"until": ["5"]}).until_ns() == 5 * 10**9
    ago = Filters({"until": ["24h"]}).until_ns()
    assert ago is not None
    assert abs(time.time_ns() - ago - 24 * 3600 * 10**9) < 10**9
    with pytest.raises(InvalidParameter, match="more than one until filter specified"):
        Filters({"until": ["1", "2"]}).until_ns()
    with pytest.raises(InvalidParameter, match="until"):
        Filters({"until": ["x"]}).until_ns()


def test_paths() -> None:
    names = ("team/app:1", "team/app")
    for pattern, found in (("team/app", True), ("team/*", True), ("*", False), ("team/ap[^p]", False), ("x", False)):
        assert Filters({"reference": [pattern]}).path("reference", *names) is found
    assert Filters().path("reference", *names)
    assert Filters({"reference": ["x", "*/app"]}).path("reference", *names)


@pytest.mark.parametrize("pattern", ["[" * 3000, "\\", "[a-z" * 1000, "a*" * 3000, "[^" + "é" * 5000 + "]"])
def test_no_pattern_takes_long(pattern: str) -> None:
    begun = time.thread_time()
    with pytest.raises(InvalidParameter, match="invalid filter 'reference'"):
        Filters({"reference": [pattern]}).path("reference", "a" * 250)
    assert time.thread_time() - begun < 0.2
