"""Values of options: whatever is written in a flag or the file is a value, or a mistake that is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darse.core.config import AddressPool
from darse.core.errors import InvalidParameter
from darse.engine.configuration import values
from darse.engine.configuration.command_line import build, parse, read_file
from darse.engine.configuration.table import OPTIONS, Option

# What readers of addresses, URLs, numbers, paths and names trip over.
_HOSTILE = (
    *(
        "",
        "-1",
        "0",
        "\uff19",
        "1" * 5000,
        "1e400",
        "nan",
        "\0",
        "a\0b",
        "é",
        "..",
        "x" * 300,
        "=",
        "a=b",
        "a=\ud800",
        "//",
    ),
    *("[::1", "http://[::1", "http://a:99999", "tcp://[", "unix://", "tcp://a:b", "https://[fe80::1%25eth0]:1"),
    *(
        "1.2.3.4/33",
        "::/0",
        "fe80::1%eth0/64",
        "::ffff:1.2.3.4/96",
        "base=1,size=2",
        "base=10.0.0.0/8,size=1e3",
        "1:2:3",
    ),
)
_texts = st.sampled_from(_HOSTILE) | st.text(max_size=12)
_numbers = st.integers(-(10**30), 10**30) | st.sampled_from([float("inf"), float("nan"), 0.5])
_members = ("base", "size", "Soft", "Hard", "path", "runtimeArgs", "options", "http-proxy", "nofile", "kata")
_json = st.recursive(
    st.none() | st.booleans() | _numbers | _texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(_members) | st.sampled_from(_HOSTILE), inner, max_size=3)
    ),
    max_leaves=6,
)


def _mistake(read: Callable[[], dict[str, Any]]) -> str:
    """The mistake in what is read; any other exception is a failure."""
    try:
        build(read())
    except InvalidParameter as error:
        return str(error)
    return "none"


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.file_key)
def test_whatever_a_flag_says_is_a_value_or_a_mistake(option: Option) -> None:
    if not option.flag:
        return
    for text in [*_HOSTILE, *(f"{name}={text}" for name in ("nofile", "kata", "cdi") for text in _HOSTILE)]:
        assert _mistake(lambda: parse([f"--{option.flag}={text}"]).given).strip()  # noqa: B023


@settings(max_examples=60, deadline=None)
@given(option=st.sampled_from(OPTIONS), value=_json)
def test_whatever_the_file_says_is_a_value_or_a_mistake(
    tmp_path_factory: pytest.TempPathFactory, option: Option, value: Any
) -> None:
    file = tmp_path_factory.getbasetemp() / "daemon.json"
    file.write_text(json.dumps({option.file_key: value}))
    assert _mistake(lambda: read_file(file, must_exist=True)).strip()


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"nofile": "20:10"}, "less than or equal to hard limit: 20 > 10"),
        ({"nofile": "-1:10"}, r"less than or equal to hard limit: soft: -1 \(unlimited\), hard: 10"),
        ({"nofile": "-2"}, "invalid ulimit argument: nofile=-2"),
        ({"nofile": f"{2**63}"}, "invalid ulimit argument"),
        ({"nofile": {"Soft": 1}}, "invalid ulimit argument"),
        ({"nofile": {"Soft": 1, "Hard": [2]}}, "invalid ulimit argument"),
    ],
)
def test_limits_that_no_process_can_have(given_: dict[str, Any], words: str) -> None:
    """Accepted, each start of a container would fail by them."""
    with pytest.raises(InvalidParameter, match=words):
        values.ulimits(given_)


def test_a_limit_may_be_none() -> None:
    assert values.ulimits({"core": "-1", "nofile": "10:-1", "cpu": {"Soft": 3, "Hard": 3}}) == {
        "default_ulimits": {"core": (-1, -1), "nofile": (10, -1), "cpu": (3, 3)}
    }


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("base=10.9.1.1/16,size=24", AddressPool("10.9.0.0/16", 24)),
        ({"base": "fd00::/48", "size": 64}, AddressPool("fd00::/48", 64)),
        ("size=30,base=10.0.0.0/8", AddressPool("10.0.0.0/8", 30)),
        ("base=10.9.0.0/16,size=31", None),  # no room for a gateway and a container
        ("base=10.9.0.0/16,size=15", None),
        ("base=fd00::/48,size=127", None),
        ("base=10.9.0.0/16", None),
        ({"base": "10.9.0.0/16", "size": []}, None),
    ],
)
def test_pools_of_addresses(entry: Any, expected: AddressPool | None) -> None:
    if expected is not None:
        assert values.address_pools([entry]) == {"default_address_pools": (expected,)}
    else:
        with pytest.raises(InvalidParameter, match="invalid default address pool"):
            values.address_pools([entry])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://m.example", "https://m.example/"),
        ("http://m.example:5000/a/b//", "http://m.example:5000/a/b/"),
        ("m.example", None),
        ("ftp://m.example", None),
        ("https://", None),
        ("https://user:secret@m.example", None),  # it would be in `docker info`
        ("https://m.example/?a=b", None),
        ("https://m.example/#a", None),
    ],
)
def test_mirrors(text: str, expected: str | None) -> None:
    if expected is not None:
        assert values.mirrors([text]) == {"registry_mirrors": (expected,)}
    else:
        with pytest.raises(InvalidParameter, match="invalid mirror"):
            values.mirrors([text])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("r.example:5000", "r.example:5000"),
        ("http://r.example/", "r.example"),
        ("[::1]:5000", "[::1]:5000"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("r.example/path", None),
        ("r.example:port", None),
        ("-r.example", None),
        ("r example", None),
    ],
)
def test_registries_without_tls(text: str, expected: str | None) -> None:
    if expected is not None:
        assert values.insecure([text]) == {"insecure_registries": (expected,)}
    else:
        with pytest.raises(InvalidParameter, match="is not valid"):
            values.insecure([text])


def test_a_label_has_one_value() -> None:
    assert values.labels(["a=1", "b=", "a=1"]) == {"labels": ("a=1", "b=")}
    for given_ in (["a=1", "a=2"], ["a=", "a=2"]):
        with pytest.raises(InvalidParameter, match="conflict labels for a="):
            values.labels(given_)
    for text in ("a", "=1", ""):
        with pytest.raises(InvalidParameter, match="bad attribute format"):
            values.labels([text])


def test_names_of_runtimes_that_are_taken_or_are_paths() -> None:
    for name, words in (("crun", "reserved"), ("../x", "invalid runtime name"), ("", "invalid runtime name")):
        with pytest.raises(InvalidParameter, match=words):
            values.runtimes({name: "/opt/kata"})


def test_a_seccomp_profile_is_read_before_any_container_needs_it(tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    for text in (None, "{", "[" * 100_000):
        if text is not None:
            profile.write_text(text)
        with pytest.raises(InvalidParameter, match="opening seccomp profile"):
            values.seccomp(str(profile))
    profile.write_text("{}")
    assert values.seccomp(str(profile)) == {"seccomp_profile": str(profile)}
    assert values.seccomp("unconfined") == {"seccomp_profile": "unconfined"}
