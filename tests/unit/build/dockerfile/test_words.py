"""Quoting and variables: tables from the Dockerfile reference, and generated texts whose meaning is known."""

from __future__ import annotations

import time

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from darse.build.dockerfile.words import WordError, WordReader
from tests.unit.build.many import many, some

_VARIABLES = {"a": "1", "empty": "", "path": "/x/y.tar.gz", "foo": "foobarbaz", "sp": "one two", "nl": "x\ny", "é": "e"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain", "plain"),
        ("$a", "1"),
        ("${a}", "1"),
        ("x$a.y", "x1.y"),
        ("$ab", ""),
        ("${a}b", "1b"),
        ("$", "$"),
        ("$.", "$."),
        ("\\$a", "$a"),
        ("'$a'", "$a"),
        ('"$a"', "1"),
        ('"\\$a"', "$a"),
        ('"\\a"', "\\a"),
        ("\\a", "a"),
        ("'a\\'", "a\\"),
        ("x\\", "x"),
        ("a'b'\"c\"", "abc"),
        ("$é", "e"),
        ("$1", ""),
        ("${@}x", "x"),
        ("$12x", "x"),
        ("${empty-w}", ""),
        ("${empty:-w}", "w"),
        ("${none-w}", "w"),
        ("${none:-w}", "w"),
        ("${a:-w}", "1"),
        ("${a+w}", "w"),
        ("${a:+w}", "w"),
        ("${empty+w}", "w"),
        ("${empty:+w}", ""),
        ("${none+w}", ""),
        ("${none:-$a}", "1"),
        ("${none:-${none:-${a}}}", "1"),
        ('${none:-"x y"}', "x y"),
        ("${none:-a\\}b}", "a}b"),
        ("${a?w}", "1"),
        ("${empty?w}", ""),
        ("${foo#foo}", "barbaz"),
        ("${foo#f*b}", "arbaz"),
        ("${foo##f*b}", "az"),
        ("${foo#b}", "foobarbaz"),
        ("${foo%baz}", "foobar"),
        ("${foo%b*}", "foobar"),
        ("${foo%%b*}", "foo"),
        ("${foo#???}", "barbaz"),
        ("${foo%?}", "foobarba"),
        ("${path##*/}", "y.tar.gz"),
        ("${path%.*}", "/x/y.tar"),
        ("${path%%.*}", "/x/y"),
        ("${foo/ba/X}", "fooXrbaz"),
        ("${foo//ba/X}", "fooXrXz"),
        ("${foo//ba/}", "foorz"),
        ("${foo/b*/X}", "fooX"),
        ("${foo/o*a/X}", "fXz"),
        ("${path//\\//_}", "_x_y.tar.gz"),
        ("${none/a/b}", ""),
        ("${foo//nothing/X}", "foobarbaz"),
        ("${empty//*/X}", "X"),
        ("${nl#*}", "x\ny"),
        ("${nl##*}", "\ny"),
    ],
)
def test_expands(text: str, expected: str) -> None:
    assert WordReader().expand(text, _VARIABLES).text == expected
    assert WordReader().word(text, _VARIABLES) == expected


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("'a", "unexpected end of statement while looking for matching single-quote"),
        ('"a', "unexpected end of statement while looking for matching double-quote"),
        ("${", "syntax error: missing '}'"),
        ("${a", "syntax error: missing '}'"),
        ("${a:", "syntax error: missing '}'"),
        ("${a:-", "syntax error: missing '}'"),
        ("${a:-b", "syntax error: missing '}'"),
        ("${}", "syntax error: bad substitution"),
        ("${:a}", "syntax error: bad substitution"),
        ("${{a}}", "syntax error: bad substitution"),
        ("${a b}", "unsupported modifier ( ) in substitution"),
        ("${a:,b}", "unsupported modifier (:,) in substitution"),
        ("${a:#b}", "unsupported modifier (:#) in substitution"),
        ("${a/b}", "syntax error: missing '/' in ${}"),
        ("${a/b/c", "syntax error: missing '}'"),
        ("${none?}", "none: is not allowed to be unset"),
        ("${none:?oh no}", "none: oh no"),
        ("${empty:?}", "empty: is not allowed to be empty"),
        ("${foo#a\\b}", "invalid pattern (a\\b) in substitution: invalid escape '\\b'"),
        ("${a:-" * 200 + "}" * 200, "syntax error: more than 100 substitutions inside each other"),
    ],
)
def test_refuses(text: str, error: str) -> None:
    with pytest.raises(WordError) as raised:
        WordReader().expand(text, _VARIABLES)
    assert str(raised.value).endswith(f": {error}")
    assert str(raised.value).startswith('failed to process "')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ()),
        (" a  b ", ("a", "b")),
        ("'a b' c", ("a b", "c")),
        ("a\\ b", ("a b",)),
        ("$sp", ("one", "two")),
        ('"$sp"', ("one two",)),
        ("x$sp.y", ("xone", "two.y")),
        ("x${none:-y}z w", ("xyz", "w")),
        ("'' a", ("a",)),
        ("<< EOF x", ("<< EOF", "x")),
    ],
)
def test_splits_words(text: str, words: tuple[str, ...]) -> None:
    assert WordReader().expand(text, _VARIABLES).words == words


def test_reports_which_variables_were_there() -> None:
    expansion = WordReader().expand("$a ${none:-$other} ${foo%x}", _VARIABLES)
    assert expansion.used == {"a", "foo"}
    assert expansion.missing == {"none", "other"}


@pytest.mark.parametrize(
    ("reader", "text", "expected"),
    [
        (WordReader("`"), "`$a \\$a", "$a \\1"),
        (WordReader(raw_quotes=True), "'a' \"$a\"", "'a' \"1\""),
        (WordReader(raw_escapes=True), '\\$a "\\$a" ${none:-\\x}', '\\$a "\\$a" x'.replace('"', "")),
        (WordReader(skip_quotes=True), "'$a\" \\'", "'1\" '"),
        (WordReader(keep_unset=True), "$none ${none} ${none:-$a} ${none/x/y} ${none//x/y} ${none#x} $a", None),
    ],
)
def test_other_ways_of_reading(reader: WordReader, text: str, expected: str | None) -> None:
    result = reader.expand(text, _VARIABLES).text
    assert result == (expected or "$none ${none} ${none:-1} ${none/x/y} ${none//x/y} ${none#x} 1")


def test_patterns_that_are_meant_to_be_slow_are_not() -> None:
    started = time.process_time()
    WordReader().expand("${a##" + "*a" * 200 + "b}", {"a": "a" * 20_000})
    assert time.process_time() - started < 2


# Texts that are made of parts, each with its meaning.

_NAMES = st.sampled_from(["a", "empty", "none", "foo", "sp"])
_LETTERS = st.text("abf o", max_size=3)
_GLOB = st.lists(st.sampled_from(["f", "o", "b", "a", "*", "?"]), max_size=4).map("".join)


def _glob(pattern: str, text: str) -> bool:
    """Whether all of a text matches, letter by letter."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(_glob(pattern[1:], text[at:]) for at in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and _glob(pattern[1:], text[1:])


def _trimmed(value: str, pattern: str, kind: str) -> str:
    lengths = [
        length
        for length in range(len(value) + 1)
        if _glob(pattern, value[:length] if kind[0] == "#" else value[len(value) - length :])
    ]
    if not lengths:
        return value
    length = max(lengths) if len(kind) == 2 else min(lengths)
    return value[length:] if kind[0] == "#" else value[: len(value) - length]


def _replaced(value: str, pattern: str, word: str, every: bool) -> str:
    result, at, last = "", 0, -1
    while at <= len(value):
        ends = [end for end in range(at, len(value) + 1) if _glob(pattern, value[at:end])]
        end = max(ends, default=None)
        if end is not None and (end > at or at != last):
            result += word
            if not every:
                return result + value[end:]
            last = end
            if end > at:
                at = end
                continue
        result += value[at : at + 1]
        at += 1
    return result


_Part = tuple[str, str]


def _defaulted(name: str, modifier: str, word: _Part) -> _Part:
    value = _VARIABLES.get(name)
    present = value is not None and (":" not in modifier or value != "")
    given, missing = (value or "", word[1]) if modifier.endswith("-") else (word[1], "")
    return f"${{{name}{modifier}{word[0]}}}", given if present else missing


_SIMPLE: st.SearchStrategy[_Part] = st.one_of(
    _LETTERS.map(lambda text: (text, text)),
    _LETTERS.map(lambda text: (f"'{text}$a\"'", f'{text}$a"')),
    st.sampled_from([("\\$", "$"), ("\\'", "'"), ('"\\""', '"'), ("\\\\", "\\"), ('"\'"', "'"), ("<", "<")]),
    _NAMES.map(lambda name: (f"${{{name}}}", _VARIABLES.get(name, ""))),
    _NAMES.map(lambda name: (f'"${name}"', _VARIABLES.get(name, ""))),
    st.tuples(_NAMES, _GLOB, st.sampled_from(["#", "##", "%", "%%"]))
    # A second mark at the beginning of the pattern is part of the operator.
    .map(
        lambda given: (
            f"${{{given[0]}{given[2]}{given[1]}}}",
            _trimmed(_VARIABLES.get(given[0], ""), given[1], given[2]),
        )
    ),
    st.tuples(_NAMES, _GLOB.filter(bool), _LETTERS, st.booleans()).map(
        lambda given: (
            f"${{{given[0]}/{'/' if given[3] else ''}{given[1]}/{given[2]}}}",
            _replaced(_VARIABLES.get(given[0], ""), given[1], given[2], given[3]),
        )
    ),
)
_PARTS: st.SearchStrategy[_Part] = st.recursive(
    _SIMPLE,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(
            lambda parts: ("".join(one for one, _ in parts), "".join(one for _, one in parts))
        ),
        st.builds(_defaulted, _NAMES, st.sampled_from(["-", ":-", "+", ":+"]), inner),
    ),
    max_leaves=8,
)


@given(_PARTS)
def _texts_of_known_meaning(part: _Part) -> None:
    text, meaning = part
    assert WordReader().expand(text, _VARIABLES).text == meaning


@given(st.text("${}:-+?#%/\\\"'ab *<\n", max_size=20))
def _any_text(text: str) -> None:
    """Whatever is written, there is a result or an error; a text without marks is its own meaning."""
    reader = WordReader()
    try:
        first = reader.expand(text, _VARIABLES)
    except WordError:
        return
    if not set(text) & set("$\\\"'"):
        assert first.text == text
        if "<" not in text:
            assert list(first.words) == text.split()


test_texts_of_known_meaning = some(_texts_of_known_meaning)
test_texts_of_known_meaning_many = many(_texts_of_known_meaning)
test_any_text = some(_any_text)
test_any_text_many = many(_any_text)


def test_no_program_outlives_its_search() -> None:
    WordReader().expand("${v#a*} ${v/b?/c}", {"v": "aabbc"})
    assert re2._Regexp._make.cache_info().currsize == 0
