"""Documents: positions, tags, merge keys, and what hostile files try."""

from __future__ import annotations

from typing import Any

import pytest

from darse.compose.errors import ComposeError
from darse.compose.yaml.reader import DEEPEST, read


def value(text: str) -> Any:
    [document] = read(text.encode(), "compose.yaml")
    return document.value


def refused(text: str | bytes) -> str:
    content = text.encode() if isinstance(text, str) else text
    with pytest.raises(ComposeError) as error:
        read(content, "compose.yaml")
    return str(error.value)


def test_values() -> None:
    text = "a: 1\nb: '1'\nc: [x, ~]\n"
    assert value(text) == {"a": 1, "b": "1", "c": ["x", None]}


def test_tags_of_the_core_schema_are_read_and_others_ignored() -> None:
    assert value("a: !!str 1\nb: !!int '2'\nc: !!float 3\nd: !own x\n") == {"a": "1", "b": 2, "c": 3.0, "d": "x"}


def test_a_tag_that_the_value_is_not() -> None:
    assert refused("a: !!int x\n") == "compose.yaml:1:4: cannot decode `x` as a !!int"


def test_own_keys_are_before_merged_ones_and_the_first_of_several_mappings_wins() -> None:
    text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz:\n  <<: [*x, *y]\n  a: 0\n"
    assert value(text)["z"] == {"a": 0, "b": 1, "c": 2}


def test_a_quoted_merge_key_is_a_key() -> None:
    assert value("a: {'<<': 1}") == {"a": {"<<": 1}}


def test_a_merge_of_what_is_no_mapping() -> None:
    assert refused("a: {<<: 1}") == "compose.yaml:1:9: map merge requires map or sequence of maps as the value"


def test_duplicate_keys() -> None:
    assert refused("a: 1\nb: 2\na: 3\n") == 'compose.yaml:3:1: mapping key "a" already defined at line 1'


@pytest.mark.parametrize("key", ["1", "true", "~", "1.5", "[a]", "{a: b}"])
def test_keys_that_are_no_strings(key: str) -> None:
    assert "non-string key at top level" in refused(f"? {key}\n: x\n")


def test_reset_and_override_are_noted_with_their_paths() -> None:
    [document] = read(b"a: !reset null\nb: {c: !override [1], d: !reset []}\n", "f")
    assert document.value == {"b": {"c": [1]}}
    assert document.marked == [("a",), ("b", "c"), ("b", "d")]


def test_places_of_keys_entries_and_merged_values() -> None:
    [document] = read(b"x: &x\n  deep: 1\na:\n  <<: *x\n  list:\n    - one\n    - KEY=v\n", "f")
    places = {("a",): "f:3:1", ("a", "list", 1): "f:7:7", ("a", "deep"): "f:2:3", ("a", "list", "KEY"): "f:7:7"}
    assert {path: str(document.locate(path)[1]) for path in places} == places
    assert document.locate(("a", "none", "deeper"))[0] == 1


def test_aliases_that_multiply_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "aliases make more than 100000 values" in refused("\n".join(lines))


def test_merge_keys_that_multiply_are_refused() -> None:
    lines = ["a0: &a0 {x: {y: 1}}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 20)}], k{n}: 1}}" for n in range(1, 9)]
    assert "aliases make more than 100000 values" in refused("\n".join(lines))


def test_a_large_file_without_aliases_is_read() -> None:
    assert len(value("a: &a 1\nb: *a\nc:\n" + "  - x\n" * 120_000)["c"]) == 120_000


def test_an_alias_of_itself() -> None:
    assert refused("a: &a\n  b: *a\n") == "compose.yaml:1:4: an alias contains itself"


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 300 + "]" * 300, "a: " + "{a: " * 300, "- " * 5000])
def test_deep_nesting(text: str) -> None:
    message = refused(text)
    assert (
        f"nested more than {DEEPEST} deep" in message or "maximum nesting depth" in message
    )  # libyaml's own, where new


def test_syntax_errors_name_their_place() -> None:
    assert refused("a:\n  b: [1\nc: 2\n").startswith("compose.yaml:3:")
    assert refused("a: *nope\n") == "compose.yaml:1:4: unknown anchor 'nope' referenced"
    assert refused("a:\n\tb: 1\n") == "compose.yaml:2:1: yaml: a tab indents this line: YAML takes spaces only"
    assert "is a quote missing" in refused("a: b: c\n")
    assert refused(b"a: \xff\n") == "compose.yaml:1:4: invalid UTF-8 text"
    assert refused(b"a: \x01\n").startswith("compose.yaml:1:1: yaml: ")


def test_a_byte_order_mark_and_utf_16() -> None:
    assert value("\ufeffa: 1") == {"a": 1}
    [document] = read("a: é".encode("utf-16"), "f")
    assert document.value == {"a": "é"}


def test_several_documents() -> None:
    assert [one.value for one in read(b"a: 1\n---\n---\nb: 2\n", "f")] == [{"a": 1}, None, {"b": 2}]
