"""Every attribute of the schema, down to the last: it reaches the request, or another test or a refusal has it.

The attributes are taken from the schema itself, so a new one fails here until it is decided. What is written goes the
whole way: a file, the loader, the model, the request.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

import darse.compose.schema
from darse.compose.desired.create_request import ContainerContext, create_request
from darse.compose.desired.resources import network_request, volume_request
from darse.compose.errors import ComposeError
from darse.compose.loading.loader import LoadSettings
from darse.compose.model.project import Project
from darse.compose.project import ProjectFiles, ProjectOptions

from . import test_create_request as attributes

TESTS = Path(__file__).resolve().parents[3]
SCHEMA = json.loads((Path(darse.compose.schema.__file__).parent / "compose-spec.json").read_text())


def _resolved(node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        node = SCHEMA["definitions"][node["$ref"].rpartition("/")[2]]
    return node


def _leaves(node: dict[str, Any], path: str) -> Iterator[str]:
    """The attributes below a node that have none of their own: `ports[].target`, `labels.*`."""
    node = _resolved(node)
    below = []
    for one in map(_resolved, node.get("oneOf") or node.get("anyOf") or [node]):
        for name, value in one.get("properties", {}).items():
            below += _leaves(value, f"{path}.{name}" if path else name)
        for name, value in {} if "properties" in one else one.get("patternProperties", {}).items():
            below += _leaves(value, f"{path}.*") if name != "^x-" else ()
        if isinstance(items := one.get("items"), dict):
            below += _leaves(items, f"{path}[]")
        if one is not node and ("oneOf" in one or "anyOf" in one):
            below += [leaf for leaf in _leaves(one, path) if leaf != path]
    yield from dict.fromkeys(below or [path])


LEAVES = frozenset(_leaves(SCHEMA["definitions"]["service"], ""))


class Reach(NamedTuple):
    """What is written in the service, a path of the request, and what is there then."""

    written: dict[str, Any]
    path: str
    expected: Any


def _device(kind: str) -> dict[str, Any]:
    return {"blkio_config": {kind: [{"path": "/dev/sda", "rate": "1k"}]}}


def _endpoint(**given: Any) -> dict[str, Any]:
    return {"networks": {"default": given}}


def _gpu(**given: Any) -> dict[str, Any]:
    return {"gpus": [{"driver": "nvidia", **given}]}


def _reserved(**given: Any) -> dict[str, Any]:
    return {"deploy": {"resources": {"reservations": {"devices": [{"capabilities": ["gpu"], **given}]}}}}


def _port(**given: Any) -> dict[str, Any]:
    return {"ports": [{"target": 80, **given}]}


def _volume(**given: Any) -> dict[str, Any]:
    return {"volumes": [{"type": "volume", "source": "data", "target": "/t", **given}]}


def _bind(**given: Any) -> dict[str, Any]:
    return {"volumes": [{"type": "bind", "source": "/h", "target": "/t", "bind": given}]}


_HOST = "HostConfig."
_ENDPOINT = "NetworkingConfig.EndpointsConfig.p_default."
_MOUNT = f"{_HOST}Mounts.0."
_HEALTH = {"healthcheck": {"test": ["CMD", "true"]}}
_SECOND = 1_000_000_000
REACHED: dict[str, Reach] = {
    "annotations.*": Reach({"annotations": {"a": 1}}, f"{_HOST}Annotations", {"a": "1"}),
    "annotations[]": Reach({"annotations": ["a=1"]}, f"{_HOST}Annotations", {"a": "1"}),
    "labels.*": Reach({"labels": {"a": 1}}, "Labels.a", "1"),
    "labels[]": Reach({"labels": ["a=1"]}, "Labels.a", "1"),
    "environment.*": Reach({"environment": {"A": 1}}, "Env", ["A=1"]),
    "environment[]": Reach({"environment": ["A=1"]}, "Env", ["A=1"]),
    "sysctls.*": Reach({"sysctls": {"a": 1}}, f"{_HOST}Sysctls", {"a": "1"}),
    "sysctls[]": Reach({"sysctls": ["a=1"]}, f"{_HOST}Sysctls", {"a": "1"}),
    "extra_hosts.*[]": Reach({"extra_hosts": {"h": ["::1"]}}, f"{_HOST}ExtraHosts", ["h:::1"]),
    "extra_hosts[]": Reach({"extra_hosts": ["h=1.2.3.4"]}, f"{_HOST}ExtraHosts", ["h:1.2.3.4"]),
    **{
        f"blkio_config.{kind}[].{part}": Reach(_device(kind), f"{_HOST}{member}", [{"Path": "/dev/sda", "Rate": 1024}])
        for kind, member in (
            ("device_read_bps", "BlkioDeviceReadBps"),
            ("device_read_iops", "BlkioDeviceReadIOps"),
            ("device_write_bps", "BlkioDeviceWriteBps"),
            ("device_write_iops", "BlkioDeviceWriteIOps"),
        )
        for part in ("path", "rate")
    },
    "blkio_config.weight": Reach({"blkio_config": {"weight": 300}}, f"{_HOST}BlkioWeight", 300),
    **{
        f"blkio_config.weight_device[].{part}": Reach(
            {"blkio_config": {"weight_device": [{"path": "/dev/sda", "weight": 400}]}},
            f"{_HOST}BlkioWeightDevice",
            [{"Path": "/dev/sda", "Weight": 400}],
        )
        for part in ("path", "weight")
    },
    "cap_add[]": Reach({"cap_add": ["ALL"]}, f"{_HOST}CapAdd", ["ALL"]),
    "cap_drop[]": Reach({"cap_drop": ["ALL"]}, f"{_HOST}CapDrop", ["ALL"]),
    "command[]": Reach({"command": ["a", "b c"]}, "Cmd", ["a", "b c"]),
    "entrypoint[]": Reach({"entrypoint": ["a", "b c"]}, "Entrypoint", ["a", "b c"]),
    "device_cgroup_rules[]": Reach({"device_cgroup_rules": ["c 1:3 r"]}, f"{_HOST}DeviceCgroupRules", ["c 1:3 r"]),
    **{
        f"devices[].{part}": Reach(
            {"devices": [{"source": "/dev/null", "target": "/dev/x", "permissions": "r"}]},
            f"{_HOST}Devices",
            [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "r"}],
        )
        for part in ("source", "target", "permissions")
    },
    "dns[]": Reach({"dns": ["1.1.1.1"]}, f"{_HOST}Dns", ["1.1.1.1"]),
    "dns_opt[]": Reach({"dns_opt": ["ndots:1"]}, f"{_HOST}DnsOptions", ["ndots:1"]),
    "dns_search[]": Reach({"dns_search": ["a.b"]}, f"{_HOST}DnsSearch", ["a.b"]),
    "expose[]": Reach({"expose": [80, "81/udp"]}, "ExposedPorts", {"80/tcp": {}, "81/udp": {}}),
    "external_links[]": Reach({"external_links": ["a:b"]}, f"{_HOST}Links", ["a:b"]),
    "links[]": Reach({"links": ["other:o"]}, f"{_HOST}Links", ["p-other-1:o", "p-other-1:p-other-1"]),
    "volumes_from[]": Reach({"volumes_from": ["other:ro"]}, f"{_HOST}VolumesFrom", ["id-of-other:ro"]),
    "group_add[]": Reach({"group_add": [5]}, f"{_HOST}GroupAdd", ["5"]),
    "security_opt[]": Reach({"security_opt": ["no-new-privileges"]}, f"{_HOST}SecurityOpt", ["no-new-privileges"]),
    "tmpfs[]": Reach({"tmpfs": ["/t:size=1m"]}, f"{_HOST}Tmpfs", {"/t": "size=1m"}),
    **{
        f"ulimits.*.{part}": Reach(
            {"ulimits": {"nofile": {"soft": 5, "hard": 6}}},
            f"{_HOST}Ulimits",
            [{"Name": "nofile", "Soft": 5, "Hard": 6}],
        )
        for part in ("soft", "hard")
    },
    "logging.driver": Reach({"logging": {"driver": "none"}}, f"{_HOST}LogConfig.Type", "none"),
    "logging.options.*": Reach(
        {"logging": {"driver": "local", "options": {"max-file": 3}}}, f"{_HOST}LogConfig.Config", {"max-file": "3"}
    ),
    "healthcheck.disable": Reach({"healthcheck": {"disable": True}}, "Healthcheck", {"Test": ["NONE"]}),
    "healthcheck.test[]": Reach(_HEALTH, "Healthcheck.Test", ["CMD", "true"]),
    **{
        f"healthcheck.{name}": Reach(
            {"healthcheck": {**_HEALTH["healthcheck"], name: "90s"}}, f"Healthcheck.{member}", 90 * _SECOND
        )
        for name, member in (
            ("interval", "Interval"),
            ("timeout", "Timeout"),
            ("start_period", "StartPeriod"),
            ("start_interval", "StartInterval"),
        )
    },
    "healthcheck.retries": Reach({"healthcheck": {**_HEALTH["healthcheck"], "retries": 7}}, "Healthcheck.Retries", 7),
    "gpus[].capabilities[]": Reach(
        _gpu(capabilities=["video"]), f"{_HOST}DeviceRequests.0.Capabilities", [["video", "gpu"]]
    ),
    "gpus[].count": Reach(_gpu(count="all"), f"{_HOST}DeviceRequests.0.Count", -1),
    "gpus[].device_ids[]": Reach(_gpu(device_ids=["0"]), f"{_HOST}DeviceRequests.0.DeviceIDs", ["0"]),
    "gpus[].driver": Reach(_gpu(count=1), f"{_HOST}DeviceRequests.0.Driver", "nvidia"),
    "gpus[].options.*": Reach(_gpu(options={"a": 1}), f"{_HOST}DeviceRequests.0.Options", {"a": "1"}),
    "gpus[].options[]": Reach(_gpu(options=["a=1"]), f"{_HOST}DeviceRequests.0.Options", {"a": "1"}),
    **{
        f"deploy.resources.reservations.devices[].{leaf}": Reach(
            _reserved(**given), f"{_HOST}DeviceRequests.0.{member}", expected
        )
        for leaf, given, member, expected in (
            ("capabilities[]", {"count": 1}, "Capabilities", [["gpu"]]),
            ("count", {"count": 2}, "Count", 2),
            ("device_ids[]", {"device_ids": ["0"]}, "DeviceIDs", ["0"]),
            ("driver", {"driver": "nvidia", "count": 1}, "Driver", "nvidia"),
            ("options.*", {"options": {"a": 1}, "count": 1}, "Options", {"a": "1"}),
            ("options[]", {"options": ["a=1"], "count": 1}, "Options", {"a": "1"}),
        )
    },
    **{
        f"deploy.resources.{part}.{name}": Reach(
            {"deploy": {"resources": {part: {name: written}}}}, f"{_HOST}{member}", expected
        )
        for part, name, written, member, expected in (
            ("limits", "cpus", "0.5", "NanoCpus", 500_000_000),
            ("limits", "memory", "64m", "Memory", 64 << 20),
            ("limits", "pids", 5, "PidsLimit", 5),
            ("reservations", "memory", "32m", "MemoryReservation", 32 << 20),
        )
    },
    **{
        f"deploy.restart_policy.{name}": Reach(
            {"deploy": {"restart_policy": {"condition": "on-failure", "max_attempts": 3}}},
            f"{_HOST}RestartPolicy",
            {"Name": "on-failure", "MaximumRetryCount": 3},
        )
        for name in ("condition", "max_attempts")
    },
    "networks[]": Reach({"networks": ["default"]}, f"{_HOST}NetworkMode", "p_default"),
    "networks.*.aliases[]": Reach(_endpoint(aliases=["a"]), f"{_ENDPOINT}Aliases", ["p-web-1", "web", "a"]),
    "networks.*.driver_opts.*": Reach(_endpoint(driver_opts={"a": 1}), f"{_ENDPOINT}DriverOpts", {"a": "1"}),
    "networks.*.gw_priority": Reach(_endpoint(gw_priority=5), f"{_ENDPOINT}GwPriority", 5),
    "networks.*.interface_name": Reach(
        _endpoint(interface_name="eth9"), f"{_ENDPOINT}DriverOpts", {"com.docker.network.endpoint.ifname": "eth9"}
    ),
    "networks.*.ipv4_address": Reach(
        _endpoint(ipv4_address="10.0.0.9"), f"{_ENDPOINT}IPAMConfig", {"IPv4Address": "10.0.0.9"}
    ),
    "networks.*.ipv6_address": Reach(
        _endpoint(ipv6_address="fd::9"), f"{_ENDPOINT}IPAMConfig", {"IPv6Address": "fd::9"}
    ),
    "networks.*.link_local_ips[]": Reach(
        _endpoint(link_local_ips=["169.254.1.1"]), f"{_ENDPOINT}IPAMConfig", {"LinkLocalIPs": ["169.254.1.1"]}
    ),
    "networks.*.mac_address": Reach(
        _endpoint(mac_address="02:00:00:00:00:01"), f"{_ENDPOINT}MacAddress", "02:00:00:00:00:01"
    ),
    "networks.*.priority": Reach(
        {"networks": {"default": {"priority": 1}, "front": {"priority": 2}}}, f"{_HOST}NetworkMode", "p_front"
    ),
    "ports[].target": Reach(_port(), f"{_HOST}PortBindings", {"80/tcp": [{"HostIp": "", "HostPort": ""}]}),
    "ports[].published": Reach(
        _port(published="8080"), f"{_HOST}PortBindings", {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}
    ),
    "ports[].host_ip": Reach(
        _port(host_ip="127.0.0.1"), f"{_HOST}PortBindings", {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}
    ),
    "ports[].protocol": Reach(_port(protocol="udp"), "ExposedPorts", {"80/udp": {}}),
    "volumes[].type": Reach(_volume(), f"{_HOST}Binds", ["p_data:/t:rw"]),
    "volumes[].source": Reach(_volume(source="/h", type="bind"), f"{_HOST}Binds", ["/h:/t:rw"]),
    "volumes[].target": Reach(_volume(target="/u"), f"{_HOST}Binds", ["p_data:/u:rw"]),
    "volumes[].read_only": Reach(_volume(read_only=True), f"{_HOST}Binds", ["p_data:/t:ro"]),
    "volumes[].consistency": Reach(
        _volume(consistency="cached", volume={"nocopy": True}), f"{_MOUNT}Consistency", "cached"
    ),
    "volumes[].bind.create_host_path": Reach(
        _bind(create_host_path=False),
        f"{_HOST}Mounts",
        [{"Type": "bind", "Source": "/h", "Target": "/t", "BindOptions": {}}],
    ),
    "volumes[].bind.propagation": Reach(_bind(propagation="rslave"), f"{_MOUNT}BindOptions.Propagation", "rslave"),
    "volumes[].bind.recursive": Reach(_bind(recursive="disabled"), f"{_MOUNT}BindOptions.NonRecursive", True),
    "volumes[].bind.selinux": Reach(_bind(selinux="Z"), f"{_HOST}Binds", ["/h:/t:rw,Z"]),
    "volumes[].image.subpath": Reach(
        _volume(type="image", source="busybox", image={"subpath": "bin"}), f"{_MOUNT}ImageOptions", {"Subpath": "bin"}
    ),
    "volumes[].tmpfs.size": Reach(
        {"volumes": [{"type": "tmpfs", "target": "/t", "tmpfs": {"size": "1m"}}]},
        f"{_MOUNT}TmpfsOptions.SizeBytes",
        1 << 20,
    ),
    "volumes[].tmpfs.mode": Reach(
        {"volumes": [{"type": "tmpfs", "target": "/t", "tmpfs": {"mode": 0o700}}]}, f"{_MOUNT}TmpfsOptions.Mode", 0o700
    ),
    "volumes[].volume.labels.*": Reach(
        _volume(volume={"labels": {"a": 1}}), f"{_MOUNT}VolumeOptions.Labels", {"a": "1"}
    ),
    "volumes[].volume.labels[]": Reach(
        _volume(volume={"labels": ["a=1"]}), f"{_MOUNT}VolumeOptions.Labels", {"a": "1"}
    ),
    "volumes[].volume.nocopy": Reach(_volume(volume={"nocopy": True}), f"{_MOUNT}VolumeOptions.NoCopy", True),
    "volumes[].volume.subpath": Reach(_volume(volume={"subpath": "s"}), f"{_MOUNT}VolumeOptions.Subpath", "s"),
    "configs[].source": Reach({"configs": [{"source": "file"}]}, f"{_MOUNT}Target", "/file"),
    "configs[].target": Reach({"configs": [{"source": "file", "target": "/c"}]}, f"{_MOUNT}Target", "/c"),
    "secrets[].source": Reach({"secrets": [{"source": "file"}]}, f"{_MOUNT}Target", "/run/secrets/file"),
    "secrets[].target": Reach({"secrets": [{"source": "file", "target": "s"}]}, f"{_MOUNT}Target", "/run/secrets/s"),
}
# Attributes that containers are not made of, with the test that has each.
_CONTENTS = "unit/compose/desired/test_create_request.py::test_configs_and_secrets_without_a_file_are_written"
_HOOKS = "unit/compose/operations/test_hooks.py::test_every_attribute_of_a_hook_reaches_the_exec"
TESTED = {
    "build": "unit/cli/commands/compose/test_building.py::test_all_attributes_reach_the_build",
    "develop.watch[].exec": _HOOKS,
    "develop": "clients/test_compose_watch.py::test_every_action",
    "post_start": _HOOKS,
    "pre_stop": _HOOKS,
    **{f"{kind}[].{name}": _CONTENTS for kind in ("configs", "secrets") for name in ("uid", "gid", "mode")},
    "depends_on": "unit/compose/plan/test_up.py::test_services_that_are_restarted_with_another_stop_before",
    "env_file": "unit/compose/test_corpus.py::test_config",
    "label_file": "unit/compose/test_corpus.py::test_config",
    "extends": "unit/compose/test_corpus.py::test_config",
    "profiles": "unit/compose/test_corpus.py::test_config",
    "provider": "clients/test_compose_providers.py::test_a_provider_gives_its_dependents_variables",
    "deploy.replicas": "unit/compose/plan/test_up.py::test_scaling_keeps_the_lowest_numbers",
}
# What says something to a cluster, and nothing to one engine; docs/compose.md names them.
OF_A_CLUSTER = (
    "deploy.endpoint_mode",
    "deploy.labels",
    "deploy.mode",
    "deploy.placement",
    "deploy.resources.reservations.cpus",
    "deploy.restart_policy.delay",
    "deploy.restart_policy.window",
    "deploy.rollback_config",
    "deploy.update_config",
    # Names and hints for people and proxies.
    "ports[].app_protocol",
    "ports[].mode",
    "ports[].name",
)
REFUSED: dict[str, dict[str, Any]] = {
    "credential_spec": {"credential_spec": {"file": "x"}},
    "models": {"models": ["m"]},
    "deploy.resources.reservations.generic_resources": {
        "deploy": {
            "resources": {
                "reservations": {"generic_resources": [{"discrete_resource_spec": {"kind": "a", "value": 1}}]}
            }
        }
    },
}
WARNED = {"pull_refresh_after": {"pull_policy": "refresh", "pull_refresh_after": "1h"}}


def _loaded(directory: Path, service: dict[str, Any], warnings: list[str] | None = None, **more: Any) -> Project:
    document = {
        "name": "p",
        "services": {"web": {"image": "busybox", **service}, "other": {"image": "busybox"}},
        "networks": {"default": {}, "front": {}},
        "volumes": {"data": {}},
        "configs": {"file": {"file": "/host/file"}},
        "secrets": {"file": {"file": "/host/secret"}},
        "models": {"m": {"model": "ai/small"}},
        **more,
    }
    file = directory / "compose.yaml"
    file.write_text(json.dumps(document))
    options = ProjectOptions(directory=str(directory), files=[str(file)])
    warn = warnings.append if warnings is not None else lambda _text: None
    return ProjectFiles(options, {}, warn).project([], LoadSettings())


def _request(project: Project) -> dict[str, Any]:
    context = ContainerContext(ids={"other": "id-of-other"}, linked={"other": ["p-other-1"]})
    found: dict[str, Any] = msgspec.to_builtins(create_request(project, "web", "p-web-1", 1, context))
    return found


@pytest.mark.parametrize("leaf", sorted(REACHED))
def test_it_reaches_the_request(leaf: str, tmp_path: Path) -> None:
    assert leaf in LEAVES
    written, path, expected = REACHED[leaf]
    assert attributes.part(_request(_loaded(tmp_path, written)), path) == expected


@pytest.mark.parametrize("leaf", sorted(REFUSED))
def test_it_is_refused(leaf: str, tmp_path: Path) -> None:
    with pytest.raises(ComposeError, match=r"services\.web"):
        _request(_loaded(tmp_path, REFUSED[leaf]))


@pytest.mark.parametrize("leaf", sorted(WARNED))
def test_it_is_warned_about(leaf: str, tmp_path: Path) -> None:
    warnings: list[str] = []
    _loaded(tmp_path, WARNED[leaf], warnings)
    assert f"services.web.{leaf} has no effect" in warnings


def test_no_attribute_of_the_schema_is_forgotten() -> None:
    """Each is in one of the tables; those without any below them are in those of test_create_request, too."""
    plain = attributes._REACH.keys() | attributes._REFUSED.keys() | attributes._ELSEWHERE
    begun = (*TESTED, *OF_A_CLUSTER, *REFUSED, *WARNED)
    forgotten = [leaf for leaf in LEAVES if leaf not in REACHED and leaf not in plain and not leaf.startswith(begun)]
    assert forgotten == []
    assert [one for one in begun if not any(leaf.startswith(one) for leaf in LEAVES)] == []


def test_the_tests_that_have_the_others_are_there() -> None:
    for place in TESTED.values():
        file, _, name = place.partition("::")
        assert f"def {name}" in (TESTS / file).read_text(), place


def test_the_documentation_names_what_has_no_effect() -> None:
    text = (TESTS.parent / "docs" / "compose.md").read_text()
    assert [one for one in OF_A_CLUSTER if f"`{one.replace('[]', '')}`" not in text] == []


# Networks and volumes at the top: what is written, and where in the request that makes them it is.
NETWORK: dict[str, tuple[dict[str, Any], str, Any]] = {
    "name": ({"name": "n"}, "Name", "n"),
    "driver": ({"driver": "macvlan"}, "Driver", "macvlan"),
    "driver_opts.*": ({"driver_opts": {"a": 1}}, "Options", {"a": "1"}),
    "attachable": ({"attachable": True}, "Attachable", True),
    "internal": ({"internal": True}, "Internal", True),
    "enable_ipv4": ({"enable_ipv4": False}, "EnableIPv4", False),
    "enable_ipv6": ({"enable_ipv6": True}, "EnableIPv6", True),
    "labels.*": ({"labels": {"a": 1}}, "Labels.a", "1"),
    "labels[]": ({"labels": ["a=1"]}, "Labels.a", "1"),
    "ipam.driver": ({"ipam": {"driver": "d"}}, "IPAM.Driver", "d"),
    **{
        f"ipam.config[].{name}": ({"ipam": {"config": [{name: written}]}}, f"IPAM.Config.0.{member}", written)
        for name, member, written in (
            ("subnet", "Subnet", "10.1.0.0/16"),
            ("gateway", "Gateway", "10.1.0.1"),
            ("ip_range", "IPRange", "10.1.1.0/24"),
        )
    },
    "ipam.config[].aux_addresses.*": (
        {"ipam": {"config": [{"subnet": "10.1.0.0/16", "aux_addresses": {"a": "10.1.0.2"}}]}},
        "IPAM.Config.0.AuxiliaryAddresses",
        {"a": "10.1.0.2"},
    ),
}
VOLUME: dict[str, tuple[dict[str, Any], str, Any]] = {
    "name": ({"name": "v"}, "Name", "v"),
    "driver": ({"driver": "d"}, "Driver", "d"),
    "driver_opts.*": ({"driver_opts": {"a": 1}}, "DriverOpts", {"a": "1"}),
    "labels.*": ({"labels": {"a": 1}}, "Labels.a", "1"),
    "labels[]": ({"labels": ["a=1"]}, "Labels.a", "1"),
}


@pytest.mark.parametrize("leaf", sorted(NETWORK))
def test_an_attribute_of_a_network(leaf: str, tmp_path: Path) -> None:
    written, path, expected = NETWORK[leaf]
    project = _loaded(tmp_path, {}, networks={"default": written})
    request = msgspec.to_builtins(network_request("p", "default", project.networks["default"]))
    assert attributes.part(request, path) == expected


@pytest.mark.parametrize("leaf", sorted(VOLUME))
def test_an_attribute_of_a_volume(leaf: str, tmp_path: Path) -> None:
    written, path, expected = VOLUME[leaf]
    project = _loaded(tmp_path, _volume(), volumes={"data": written})
    request = msgspec.to_builtins(volume_request("p", "data", project.volumes["data"]))
    assert attributes.part(request, path) == expected


def test_no_attribute_of_a_network_or_a_volume_is_forgotten(tmp_path: Path) -> None:
    external = {"external", "external.name"}
    assert set(_leaves(SCHEMA["definitions"]["network"], "")) - external == {*NETWORK, "ipam.options.*"}
    assert set(_leaves(SCHEMA["definitions"]["volume"], "")) - external == set(VOLUME)
    project = _loaded(tmp_path, _volume(), volumes={"data": {"external": {"name": "mine"}}})
    assert (project.volumes["data"].name, project.volumes["data"].external) == ("mine", True)
    warnings: list[str] = []
    _loaded(tmp_path, {}, warnings, networks={"default": {"ipam": {"options": {"a": "b"}}}})
    assert "networks.default.ipam.options has no effect" in warnings
