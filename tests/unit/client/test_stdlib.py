"""JSON as `json` reads and writes it, with the modules below the standard library's."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darse.client import stdlib

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
_DOCUMENTS = ["", " ", "{", "[1,]", "[1] x", "\ufeff1", '"\ud800"', "nul", "1 ", "\t[1]\r\n", '{"a":1,"a":2}', "[" * 9]
_SPELLINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32-be"]


@given(_VALUES)
def test_values_are_written_as_json_writes_them(value: Any) -> None:
    text = stdlib.dumps(value)
    assert text == json.dumps(value)
    assert stdlib.loads(text) == stdlib.loads(text.encode()) == value


@pytest.mark.parametrize("text", _DOCUMENTS)
def test_what_is_no_json_is_refused_as_json_refuses_it(text: str) -> None:
    for document in (text, text.encode(errors="surrogatepass")):
        expected, found = (_outcome(loads, document) for loads in (json.loads, stdlib.loads))
        assert found == expected


@pytest.mark.parametrize("text", ["{bad", '{"a":1,}', "[1", '"x', '{"a"', '"\\x', "nul", "1e"])
def test_it_is_refused_also_where_nothing_has_loaded_json(text: str) -> None:
    code = (
        "import sys; from darse.client import stdlib; assert 'json' not in sys.modules\n"
        "try: stdlib.loads(sys.argv[1])\n"
        "except ValueError as error: print(error, end='')"
    )
    done = subprocess.run([sys.executable, "-c", code, text], check=True, capture_output=True, text=True)
    assert f"refused: {done.stdout}" == _outcome(json.loads, text)


def _outcome(loads: Callable[[str | bytes], Any], document: str | bytes) -> Any:
    try:
        return loads(document)
    except json.JSONDecodeError as error:
        return f"refused: {error}"


@pytest.mark.parametrize("encoding", _SPELLINGS)
def test_every_encoding_of_json_is_read(encoding: str) -> None:
    assert stdlib.loads('{"é": [1.5, -2, null]}'.encode(encoding)) == {"é": [1.5, -2, None]}


def test_numbers_beyond_json() -> None:
    found = stdlib.loads("[NaN, Infinity, -Infinity]")
    assert math.isnan(found[0])
    assert found[1:] == [math.inf, -math.inf]
    assert stdlib.dumps([math.inf]) == "[Infinity]"


def test_what_json_cannot_say_is_an_error() -> None:
    with pytest.raises(TypeError, match="bytes is not JSON serializable"):
        stdlib.dumps({"a": b""})


def test_a_python_with_other_c_modules_uses_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdlib, "_json", json)  # has neither scanner nor encoder of this form
    assert stdlib._c_functions() is None
    monkeypatch.setattr(stdlib, "_C", None)
    assert stdlib.loads("[1]") == [1]
    assert stdlib.dumps([1]) == "[1]"


def test_the_c_modules_have_what_is_used() -> None:
    """This fails where a Python has changed what lies below its documented modules."""
    assert stdlib._C is not None
    for module, names in (
        (stdlib.socket, "AF_UNIX SOCK_STREAM SOL_SOCKET SO_PEERCRED IPPROTO_TCP TCP_NODELAY MSG_PEEK MSG_DONTWAIT"),
        (stdlib.socket, "SHUT_RDWR SHUT_WR socket"),
        (stdlib.signal, "signal set_wakeup_fd valid_signals SIGWINCH SIGCHLD SIGPIPE SIGURG SIGKILL SIGSTOP"),
    ):
        assert all(hasattr(module, name) for name in names.split())
