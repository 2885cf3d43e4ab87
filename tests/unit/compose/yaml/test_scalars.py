"""What plain scalars mean to compose: a table, as docker compose v2 reads each."""

from __future__ import annotations

import math

import pytest

from darse.compose.yaml.scalars import needs_quotes, resolve

TABLE = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "nULL": "nULL",
    "true": True,
    "True": True,
    "TRUE": True,
    "tRUE": "tRUE",
    "false": False,
    "False": False,
    "FALSE": False,
    "yes": "yes",
    "no": "no",
    "on": "on",
    "off": "off",
    "y": "y",
    "N": "N",
    "0": 0,
    "-0": 0,
    "+5": 5,
    "-17": -17,
    "017": 15,
    "08": 8.0,
    "0o17": 15,
    "0O17": 15,
    "0x1F": 31,
    "0X1f": 31,
    "-0x10": -16,
    "0b101": 5,
    "-0b101": -5,
    "1_000": 1000,
    "_1": "_1",
    "18446744073709551615": 18446744073709551615,
    "18446744073709551616": 18446744073709551616.0,
    "1.0": 1.0,
    "1.50": 1.5,
    "1.": 1.0,
    ".5": 0.5,
    "-.5": -0.5,
    "1e3": 1000.0,
    "1E-3": 0.001,
    "1e400": "1e400",
    "1.2.3": "1.2.3",
    ".": ".",
    "..": "..",
    "-": "-",
    "+": "+",
    "0x": "0x",
    "0xg": "0xg",
    "22:22": "22:22",
    "1:20:30": "1:20:30",
    ".inf": math.inf,
    "+.INF": math.inf,
    "-.Inf": -math.inf,
    "Infinity": "Infinity",
    "2001-01-01": "2001-01-01",
    "2001-12-14T21:59:43Z": "2001-12-14T21:59:43Z",
    "2001-12-14 21:59:43.1": "2001-12-14 21:59:43.1",
    "12e03": 12000.0,
    "1e": "1e",
    "٣": "٣",
    "nginx:1.25": "nginx:1.25",
    "=": "=",
}


def test_the_table_is_long_enough() -> None:
    assert len(TABLE) >= 60


@pytest.mark.parametrize(("text", "value"), TABLE.items())
def test_plain_scalars(text: str, value: object) -> None:
    found = resolve(text)
    assert (type(found), found) == (type(value), value)


def test_not_a_number() -> None:
    found = resolve(".nan")
    assert isinstance(found, float)
    assert math.isnan(found)


@pytest.mark.parametrize("text", ["yes", "On", "n", "1", "1.5", "null", "~", "", "true", "2001-01-01", "1:20", "0x1"])
def test_strings_that_are_written_in_quotes(text: str) -> None:
    assert needs_quotes(text)


@pytest.mark.parametrize("text", ["nginx", "a b", "1.2.3", "10m", "1:a", "yesterday", "-x"])
def test_strings_that_are_written_plain(text: str) -> None:
    assert not needs_quotes(text)
