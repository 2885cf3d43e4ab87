from __future__ import annotations

import os
from pathlib import Path

import pytest

from darse.core.errors import InvalidParameter
from darse.runtime.oci.devices import block_device, device_nodes, device_rules
from darse.wire.host_config import DeviceMapping, HostConfig


def test_a_device_is_made_where_it_is_wanted_and_allowed() -> None:
    host = HostConfig(Devices=[DeviceMapping("/dev/zero", "/dev/nought", "r")])
    nodes = device_nodes(host)
    rules = device_rules(host, nodes)
    assert [(node["path"], node["type"], node["major"], node["minor"]) for node in nodes] == [
        ("/dev/nought", "c", 1, 5)
    ]
    assert rules[-1] == {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "r"}
    assert rules[0] == {"allow": False, "access": "rwm"}
    assert "access" not in nodes[0]


def test_a_link_to_a_device_is_that_device(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/full")
    [node] = device_nodes(HostConfig(Devices=[DeviceMapping(str(tmp_path / "link"), "/dev/x")]))
    assert (node["path"], node["minor"]) == ("/dev/x", 7)


@pytest.mark.parametrize(
    "mapping",
    [
        DeviceMapping("/dev/none-such", "/dev/x"),
        DeviceMapping("/etc/passwd", "/dev/x"),
        DeviceMapping("dev/null", "/dev/x"),
        DeviceMapping("/dev/null", "x"),
        DeviceMapping("/dev/null", "/dev/x", "rwx"),
        DeviceMapping("/dev/null", "/dev/x", "rwmr"),
        DeviceMapping("/" + "n" * 5000, "/dev/x"),
        DeviceMapping("/dev/\0", "/dev/x"),
        # Larger than any directory of devices: it is not searched to its end.
        DeviceMapping("/usr", "/dev/x"),
    ],
)
def test_what_is_no_device_is_refused(mapping: DeviceMapping) -> None:
    with pytest.raises(InvalidParameter):
        device_nodes(HostConfig(Devices=[mapping]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("c 1:3 mr", {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "mr"}),
        ("b 8:* rwm", {"allow": True, "type": "b", "major": 8, "access": "rwm"}),
        ("a *:* rwm", {"allow": True, "type": "a", "access": "rwm"}),
    ],
)
def test_cgroup_rules(text: str, expected: dict[str, object]) -> None:
    assert device_rules(HostConfig(DeviceCgroupRules=[text]), [])[-1] == expected


@pytest.mark.parametrize("text", ["", "c 1:3", "x 1:3 r", "c 1:3 x", "c 1:3 r\n", "c -1:3 r", f"c {'9' * 30}:1 r"])
def test_malformed_cgroup_rules_are_refused_in_docker_s_words(text: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        device_rules(HostConfig(DeviceCgroupRules=[text]), [])
    assert str(raised.value) == f"invalid device cgroup rule format: '{text}'"


def test_privileged_shows_the_host_s_devices_and_further_ones() -> None:
    host = HostConfig(Privileged=True, Devices=[DeviceMapping("/dev/zero", "/dev/nought"), DeviceMapping("/dev/null")])
    paths = [node["path"] for node in device_nodes(host)]
    assert paths.count("/dev/null") == 1
    assert "/dev/nought" in paths
    assert not {"/dev/ptmx", "/dev/console"} & set(paths)


def test_throttles_are_for_block_devices() -> None:
    for path in ("/dev/null", "null", "/none", "/" + "x" * 5000):
        with pytest.raises(InvalidParameter, match="is not a block device"):
            block_device(path)
    blocks = [f"/dev/{name}" for name in os.listdir("/sys/block") if os.path.exists(f"/dev/{name}")]
    if blocks:
        assert set(block_device(blocks[0])) == {"major", "minor"}
