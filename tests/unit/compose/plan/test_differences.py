"""In what a container differs from its service."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from darse.compose.plan.differences import differences
from darse.wire.containers import ContainerInspect, CreateRequest

_IMAGE = {"Env": ["PATH=/bin", "LANG=C"], "Cmd": ["sh"], "Labels": {"of": "image"}, "WorkingDir": "/srv"}


def _actual(config: dict[str, Any], host: dict[str, Any], networks: tuple[str, ...] = ()) -> ContainerInspect:
    """A container with these members; what differences does not look at is empty."""
    document: dict[str, Any] = {
        "Id": "1" * 64,
        "Config": {"Image": "web", "Cmd": ["sh"], "WorkingDir": "/srv", "Env": ["PATH=/bin", "LANG=C"], **config},
        "HostConfig": {"ShmSize": 64 << 20, "IpcMode": "private", **host},
        "NetworkSettings": {"Networks": {name: {} for name in networks}},
    }

    class Shown:
        Config = msgspec.convert(document["Config"], CreateRequest.__mro__[1])
        HostConfig = msgspec.convert(document["HostConfig"], type(CreateRequest().HostConfig))
        NetworkSettings = type("Settings", (), {"Networks": document["NetworkSettings"]["Networks"]})

    shown: Any = Shown
    return shown  # type: ignore[no-any-return]


def _desired(host: dict[str, Any] | None = None, **config: Any) -> CreateRequest:
    return msgspec.convert({"Image": "web", "HostConfig": host or {}, **config}, CreateRequest)


def test_what_only_the_image_and_the_engine_say_is_no_difference() -> None:
    assert differences(_desired(), _actual({"Labels": {"of": "image"}}, {}), _IMAGE) == []


@pytest.mark.parametrize(
    ("desired", "actual", "expected"),
    [
        (
            _desired(Env=["A=2"]),
            _actual({"Env": ["A=1", "PATH=/bin", "LANG=C"]}, {}),
            (("environment", "A"), "1", "2"),
        ),
        (_desired(), _actual({"Env": ["A=1", "PATH=/bin", "LANG=C"]}, {}), (("environment", "A"), "1", None)),
        (_desired(Labels={"a": "b"}), _actual({}, {}), (("labels", "a"), None, "b")),
        (_desired(Cmd=["true"]), _actual({}, {}), (("command",), ["sh"], ["true"])),
        (_desired(), _actual({"Cmd": ["true"]}, {}), (("command",), ["true"], ["sh"])),
        (_desired({"Memory": 1}), _actual({}, {"Memory": 2}), (("mem_limit",), 2, 1)),
        (_desired(), _actual({}, {"CapAdd": ["NET_ADMIN"]}), (("cap_add",), ["NET_ADMIN"], None)),
        (_desired({"ShmSize": 1}), _actual({}, {}), (("shm_size",), 64 << 20, 1)),
        (
            _desired({"RestartPolicy": {"Name": "always"}}),
            _actual({}, {"RestartPolicy": {"Name": "no"}}),
            (("restart",), None, {"Name": "always"}),
        ),
        (
            _desired(NetworkingConfig={"EndpointsConfig": {"front": {}, "back": {}}}),
            _actual({}, {}, ("back",)),
            (("networks", "front"), None, "front"),
        ),
    ],
)
def test_one_difference(desired: CreateRequest, actual: ContainerInspect, expected: tuple[Any, ...]) -> None:
    (found,) = differences(desired, actual, _IMAGE)
    assert (found.path, found.before, found.after) == expected
