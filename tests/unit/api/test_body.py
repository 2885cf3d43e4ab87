"""JSON bodies."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from darse.api.body import decode
from darse.engine.errors import InvalidParameter
from darse.wire.containers import CreateRequest, ExecConfig, PortBinding
from darse.wire.networks import EndpointSettings, NetworkConnect, NetworkCreate


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


def test_an_unknown_member_that_is_null_says_nothing() -> None:
    # docker's Python SDK sends the network's name there.
    assert create({"NetworkingConfig": {"mynet": None}}).NetworkingConfig.EndpointsConfig is None


def test_a_command_may_be_a_string() -> None:
    made = create({"Cmd": "date", "Entrypoint": "/bin/sh"})
    assert (made.Cmd, made.Entrypoint) == (["date"], ["/bin/sh"])
    assert decode(b'{"Cmd":"ls","detachKeys":"ctrl-x","Container":"c"}', ExecConfig).DetachKeys == "ctrl-x"


def test_members_of_other_versions_are_accepted() -> None:
    create({"Image": "x", "PortSpecs": [], "Runtime": "runc", "HostConfig": {"KernelMemory": 0, "LxcConf": []}})
    create({"Image": "x", "name": "dockerode-sends-it-here-too", "platform": ""})
    assert decode(b'{"Name":"n","CheckDuplicate":true}', NetworkCreate).Name == "n"
    assert decode(b'{"Container":"c","EndpointConfig":{}}', NetworkConnect).Container == "c"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "invalid JSON"),
        (b"{", "invalid JSON"),
        (b"[]", "an object is wanted"),
        (b"null", "an object is wanted"),
        (b'"x"', "an object is wanted"),
        (b"{} {}", "invalid JSON"),
        (b'{"Imgae":"x"}', 'unknown field "Imgae" at $'),
        (b'{"HostConfig":{"Memry":1}}', 'unknown field "Memry" at $.HostConfig'),
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


def test_what_it_repeats_of_a_mistake_is_bounded() -> None:
    with pytest.raises(InvalidParameter) as raised:
        create({"x" * 100_000: 1})
    assert len(str(raised.value)) < 200
