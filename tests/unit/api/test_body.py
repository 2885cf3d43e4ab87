"""JSON bodies."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest

from darse.api import body
from darse.api.body import decode
from darse.core.errors import InvalidParameter
from darse.wire.containers import CreateRequest
from darse.wire.execs import ExecConfig
from darse.wire.host_config import Mount, PortBinding
from darse.wire.networks import EndpointSettings, NetworkCreate


def create(document: Any) -> CreateRequest:
    return decode(msgspec.json.encode(document), CreateRequest)


def test_names_match_whatever_their_case_the_exact_one_first() -> None:
    assert create({"image": "a"}).Image == "a"
    assert create({"IMAGE": "a", "Image": "b"}).Image == "b"
    assert create({"Image": "b", "IMAGE": "a"}).Image == "b"
    assert create({"hostconfig": {"privileged": True}}).HostConfig.Privileged


def test_null_is_the_zero_value_everywhere() -> None:
    made = create(
        {
            "Image": None,
            "Env": ["A=b", None],
            "ExposedPorts": {"80/tcp": None},
            "Labels": {"a": None},
            "HostConfig": {"PortBindings": {"80/tcp": [None, {"HostPort": "8080"}], "81/tcp": None}, "Memory": None},
            "NetworkingConfig": {"EndpointsConfig": {"net": None}},
        }
    )
    assert (made.Image, made.Env, made.ExposedPorts, made.Labels) == ("", ["A=b", ""], {"80/tcp": {}}, {"a": ""})
    assert made.HostConfig.PortBindings == {"80/tcp": [PortBinding(), PortBinding(HostPort="8080")], "81/tcp": None}
    assert made.NetworkingConfig.EndpointsConfig == {"net": EndpointSettings()}


def test_a_command_may_be_a_string() -> None:
    made = create({"Cmd": "date", "Entrypoint": "/bin/sh"})
    assert (made.Cmd, made.Entrypoint) == (["date"], ["/bin/sh"])
    assert decode(b'{"Cmd":"ls","detachKeys":"ctrl-x","Container":"c"}', ExecConfig).DetachKeys == "ctrl-x"


def test_members_that_no_field_has_are_passed_over() -> None:
    """Those of other versions, what SDKs send along, and what is misspelt, at any depth and of any type."""
    made = create(
        {
            "Image": "x",
            "PortSpecs": [],
            "name": "dockerode-sends-it-here-too",
            "Imgae": {"a": [1, None, "\0"]},
            "HostConfig": {"LxcConf": [], "Memry": 1, "Mounts": [{"Type": "tmpfs", "Colour": "red"}]},
            "NetworkingConfig": {"mynet": None},
        }
    )
    assert (made.Image, made.HostConfig.Mounts) == ("x", [Mount(Type="tmpfs")])
    assert made.NetworkingConfig.EndpointsConfig is None
    assert decode(b'{"Name":"n","CheckDuplicate":true}', NetworkCreate).Name == "n"


def test_a_member_without_effect_is_logged_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "_noted", set())
    with caplog.at_level(logging.DEBUG, "darse.api.body"):
        for _ in range(3):
            create({"HostConfig": {"Remember": 1, "x" * 100_000: 1}})
    told = [record.getMessage() for record in caplog.records]
    assert [text for text in told if "Remember" in text] == [
        "request bodies: member '$.HostConfig.Remember' has no effect"
    ]
    assert all(len(text) < 200 for text in told)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "invalid JSON"),
        (b"{", "invalid JSON"),
        (b"[]", "must be an object"),
        (b"null", "must be an object"),
        (b'"x"', "must be an object"),
        (b"{} {}", "invalid JSON"),
        (b'{"Image":5}', "Expected `str`, got `int` - at `$.Image`"),
        (b'{"HostConfig":{"Memory":"5"}}', "Expected `int`, got `str`"),
        (b'{"HostConfig":{"Memory":1.5}}', "Expected `int`, got `float`"),
        (b'{"HostConfig":{"Memory":1e400}}', "invalid JSON"),
        (b'{"HostConfig":{"Memory":9223372036854775808}}', "number out of range at $.HostConfig.Memory"),
        (b'{"HostConfig":{"Memory":' + b"9" * 10_000 + b"}}", "out of range"),
        (b'{"HostConfig":{"Privileged":1}}', "Expected `bool`, got `int`"),
        (b'{"Env":"A=b"}', "Expected `array | null`, got `str`"),
        (b'{"Env":["a\\u0000b"]}', "a string with a NUL at $.Env"),
        (b'{"Labels":{"a\\u0000":"b"}}', "a string with a NUL at $.Labels"),
        (b'{"Image":"\xff"}', "invalid JSON"),
        (b'{"Image":"\\ud800"}', "invalid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"ExposedPorts":{"x":' + b'{"x":' * 100_000, "nested too deeply"),
    ],
)
def test_mistakes(data: bytes, words: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        decode(data, CreateRequest)
    assert words in str(raised.value)
