"""A container's configuration over its image's."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from darse.containers.lifecycle.create import Creation, check_name, merged
from darse.core.config import EngineConfig
from darse.core.errors import InvalidParameter
from darse.runtime.oci.spec import MASKED_PATHS
from darse.wire.containers import ContainerConfig
from darse.wire.host_config import HostConfig
from tests.unit.runtime.facts import facts

IMAGE = ContainerConfig(
    Entrypoint=["/entry"],
    Cmd=["default"],
    Env=["PATH=/bin", "A=image"],
    User="app",
    WorkingDir="/srv",
    Labels={"from": "image", "both": "image"},
    ExposedPorts={"80/tcp": {}},
    StopSignal="SIGINT",
    StopTimeout=3,
)


@pytest.mark.parametrize(
    ("entrypoint", "command", "expected"),
    [
        (None, None, ["/entry", "default"]),
        (None, ["mine"], ["/entry", "mine"]),
        (["/mine"], None, ["/mine"]),
        (["/mine"], ["arg"], ["/mine", "arg"]),
        ([""], ["only"], ["only"]),
        ([], None, ["default"]),
    ],
)
def test_entrypoint_and_command_are_merged_as_docker_does(entrypoint, command, expected):
    result = merged(ContainerConfig(Entrypoint=entrypoint, Cmd=command), IMAGE)
    assert [*(result.Entrypoint or ()), *(result.Cmd or ())] == expected


def test_the_container_wins_and_the_image_fills_the_gaps():
    result = merged(ContainerConfig(Env=["A=mine", "B=1"], Labels={"both": "mine"}, StopTimeout=0), IMAGE)
    assert result.Env == ["PATH=/bin", "A=mine", "B=1"]
    assert result.Labels == {"from": "image", "both": "mine"}
    assert (result.User, result.WorkingDir, result.StopSignal) == ("app", "/srv", "SIGINT")
    assert result.StopTimeout == 0
    assert result.ExposedPorts == {"80/tcp": {}}


def test_a_name_may_have_the_apis_slash():
    assert check_name("/web-1.x_y") == "web-1.x_y"


@pytest.mark.parametrize("name", ["", "a", "-web", "we b", "a/b", "../x", "x\n", "é1", "x" * 256, "web\0"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(InvalidParameter, match="Invalid container name"):
        check_name(name)


def test_counters_of_temperature_are_masked_where_nothing_else_is_said():
    context = SimpleNamespace(
        config=EngineConfig(),
        facts=facts(thermal_counters=("/sys/cpu0/thermal_throttle",)),
        networks=SimpleNamespace(default_bridge=object),
    )
    creation = cast(Any, Creation(cast(Any, context), cast(Any, None)))
    assert creation.with_defaults(HostConfig()).MaskedPaths == [*MASKED_PATHS, "/sys/cpu0/thermal_throttle"]
    assert creation.with_defaults(HostConfig(MaskedPaths=["/proc/keys"])).MaskedPaths == ["/proc/keys"]
    assert creation.with_defaults(HostConfig(Privileged=True)).MaskedPaths is None
