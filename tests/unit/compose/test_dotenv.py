"""Files of variables, line by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from darse.compose.dotenv import parse, parse_raw, read_files
from darse.compose.errors import ComposeError

_ENVIRONMENT = {"OUTSIDE": "o"}


def parsed(text: str) -> dict[str, str]:
    variables: dict[str, str] = {}
    parse(text, variables, _ENVIRONMENT.get, lambda name: None)
    return variables


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("A=1", {"A": "1"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("# c\n\n  A = 1 \n", {"A": "1"}),
        ("A: 1", {"A": "1"}),
        ("export A=1", {"A": "1"}),
        ("exported=1", {"exported": "1"}),
        ("A=", {"A": ""}),
        ("A=a b # c", {"A": "a b"}),
        ("A=a#b", {"A": "a#b"}),
        ("A='a # b' # c\nB=2", {"A": "a # b", "B": "2"}),
        ("A='$OUTSIDE ${X}'", {"A": "$OUTSIDE ${X}"}),
        ("A='it\\'s'", {"A": "it's"}),
        ("A='a\\nb'", {"A": "a\\nb"}),
        ('A="a\\nb\\t\\"c\\""', {"A": 'a\nb\t"c"'}),
        ('A="$OUTSIDE"', {"A": "o"}),
        ('A="\\$OUTSIDE"', {"A": "$OUTSIDE"}),
        ('A="two\nlines"', {"A": "two\nlines"}),
        ("A=1\nB=${A}2", {"A": "1", "B": "12"}),
        ("A=${NONE:-d}", {"A": "d"}),
        ("OUTSIDE", {"OUTSIDE": "o"}),
        ("NOWHERE", {}),
        ("A.b-c[0]=1", {"A.b-c[0]": "1"}),
        ("\ufeffA=1", {"A": "1"}),
        ("A=a=b", {"A": "a=b"}),
    ],
)
def test_files(text: str, variables: dict[str, str]) -> None:
    assert parsed(text) == variables


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A=1\nB%=2", 'line 2: unexpected character "%" in variable name "B%=2"'),
        ("A B=1", "line 1: key cannot contain a space"),
        ("A='x", "line 1: unterminated quoted value 'x"),
        ("A=${B", 'line 1: invalid template: "${B"'),
        ("\nA=${B:?no}", "line 2: required variable B is missing a value: no"),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(ComposeError) as error:
        parsed(text)
    assert str(error.value) == message


def test_raw_files_keep_values_as_they_are() -> None:
    variables: dict[str, str] = {}
    parse_raw("# c\nA='x' $Y # z\n  B=\nOUTSIDE\nNOWHERE\n", variables, _ENVIRONMENT.get)
    assert variables == {"A": "'x' $Y # z", "B": "", "OUTSIDE": "o"}


@pytest.mark.parametrize("text", ["=x", "a b=1"])
def test_errors_of_raw_files(text: str) -> None:
    with pytest.raises(ComposeError, match=r"^line 1: "):
        parse_raw(text, {}, _ENVIRONMENT.get)


def test_later_files_use_and_replace_earlier_ones(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("A=1\nB=1\n")
    (tmp_path / "b").write_text("B=${A}2\n")
    found = read_files([str(tmp_path / "a"), str(tmp_path / "b")], {}, lambda name: None)
    assert found == {"A": "1", "B": "12"}


def test_a_missing_file_and_a_directory(tmp_path: Path) -> None:
    with pytest.raises(ComposeError, match="couldn't find env file"):
        read_files([str(tmp_path / "none")], {}, lambda name: None)
    with pytest.raises(ComposeError, match="is a directory"):
        read_files([str(tmp_path)], {}, lambda name: None)
