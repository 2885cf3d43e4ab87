"""Every form of a variable, set, empty and not set."""

from __future__ import annotations

import pytest

from darse.compose.interpolation.template import InvalidTemplate, MissingVariable, TooLong, substitute, variables

_SET = {"SET": "value", "EMPTY": "", "_under1": "u"}


def replaced(text: str) -> tuple[str, list[str]]:
    unset: list[str] = []
    return substitute(text, _SET.get, unset.append), unset


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$SET", "value"),
        ("${SET}", "value"),
        ("a${SET}b$SET.c", "avaluebvalue.c"),
        ("$_under1-x", "u-x"),
        ("$$SET", "$SET"),
        ("$$$SET", "$value"),
        ("$1 $ $", "$1 $ $"),
        ("${SET:-d}", "value"),
        ("${EMPTY:-d}", "d"),
        ("${UNSET:-d}", "d"),
        ("${SET-d}", "value"),
        ("${EMPTY-d}", ""),
        ("${UNSET-d}", "d"),
        ("${SET:+r}", "r"),
        ("${EMPTY:+r}", ""),
        ("${UNSET:+r}", ""),
        ("${SET+r}", "r"),
        ("${EMPTY+r}", "r"),
        ("${UNSET+r}", ""),
        ("${SET:?e}", "value"),
        ("${EMPTY?e}", ""),
        ("${UNSET:-${SET}}", "value"),
        ("${UNSET:-${OTHER:-x}y}z", "xyz"),
        ("${UNSET:-a:-b}", "a:-b"),
        ('${UNSET:-{"a":{"b":1}}}', '{"a":{"b":1}}'),
        ("${UNSET:-}", ""),
        ("${UNSET:-$$}", "$"),
        ("${SET:+${SET}${SET}}", "valuevalue"),
        ("${SET:-${NEVER:?read}}", "value"),
        ("${UNSET:-é}", "é"),
    ],
)
def test_forms(text: str, result: str) -> None:
    assert replaced(text) == (result, [])


def test_what_is_not_set_is_empty_and_reported() -> None:
    assert replaced("a$UNSET${OTHER}b") == ("ab", ["UNSET", "OTHER"])


@pytest.mark.parametrize("text", ["${", "${}", "${1}", "${SET", "${SET:-d", "${SET!x}", "${SET:}", "${ SET}"])
def test_invalid_templates(text: str) -> None:
    with pytest.raises(InvalidTemplate):
        replaced(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${UNSET:?}", "required variable UNSET is missing a value"),
        ("${UNSET?say ${SET}}", "required variable UNSET is missing a value: say value"),
        ("${EMPTY:?e}", "required variable EMPTY is missing a value: e"),
    ],
)
def test_required_variables(text: str, message: str) -> None:
    with pytest.raises(MissingVariable, match="^" + message.replace("$", "\\$") + "$"):
        replaced(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("no variable, $$SET and $ 1", []),
        ("$A-${B}", [("A", "", "", False), ("B", "", "", False)]),
        ("${A:-1}${B-2}", [("A", "1", "", False), ("B", "2", "", False)]),
        ("${A:+1}${B+2}", [("A", "", "1", False), ("B", "", "2", False)]),
        ("${A:?must}${B?}", [("A", "", "", True), ("B", "", "", True)]),
        ("${A:-${B:-c}}", [("A", "${B:-c}", "", False), ("B", "c", "", False)]),
    ],
)
def test_the_variables_of_a_text(text: str, found: list[tuple[str, str, str, bool]]) -> None:
    assert [(one.name, one.default, one.alternate, one.is_required) for one in variables(text)] == found


def test_a_brace_that_does_not_end_has_no_variables() -> None:
    for text in ("${A", "${}", "${1}"):
        with pytest.raises(InvalidTemplate):
            variables(text)


def test_variables_of_variables_end_before_they_fill_the_memory() -> None:
    known = {"A": "x" * 1000}

    def grow() -> None:
        for _ in range(40):
            known["A"] = substitute("$A${A}${NONE:-$A}$A", known.get, lambda _: None)

    with pytest.raises(TooLong):
        grow()
    assert len(known["A"]) < 8 << 20
