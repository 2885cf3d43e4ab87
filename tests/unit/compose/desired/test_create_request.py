"""Every attribute of a service reaches the request that creates its container, or is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from darse.compose.desired.create_request import ContainerContext, create_request
from darse.compose.desired.mounts import file_contents
from darse.compose.errors import ComposeError
from darse.compose.model.forms import to_project
from darse.compose.model.project import Project
from darse.compose.model.service import Service
from darse.wire.containers import MountPoint

# What an attribute is where the request shows it: a value of the file, and a path of the request with its value.
_REACH: dict[str, tuple[Any, str, Any]] = {
    "annotations": ({"a": "b"}, "HostConfig.Annotations", {"a": "b"}),
    "cap_add": (["NET_ADMIN"], "HostConfig.CapAdd", ["NET_ADMIN"]),
    "cap_drop": (["MKNOD"], "HostConfig.CapDrop", ["MKNOD"]),
    "cgroup_parent": ("/p", "HostConfig.CgroupParent", "/p"),
    "cgroup": ("private", "HostConfig.CgroupnsMode", "private"),
    "cpu_count": (2, "HostConfig.CpuCount", 2),
    "cpu_percent": (50, "HostConfig.CpuPercent", 5000),
    "cpu_period": (20000, "HostConfig.CpuPeriod", 20000),
    "cpu_quota": (10000, "HostConfig.CpuQuota", 10000),
    "cpu_rt_period": (1000, "HostConfig.CpuRealtimePeriod", 1000),
    "cpu_rt_runtime": (400, "HostConfig.CpuRealtimeRuntime", 400),
    "cpus": (0.1, "HostConfig.NanoCpus", 100_000_000),
    "cpuset": ("0-1", "HostConfig.CpusetCpus", "0-1"),
    "cpu_shares": (73, "HostConfig.CpuShares", 73),
    "command": (["a", "b"], "Cmd", ["a", "b"]),
    "depends_on": (
        {"other": {"condition": "service_started"}},
        "Labels.com.docker.compose.depends_on",
        "other:service_started:false",
    ),
    "device_cgroup_rules": (["c 1:3 mr"], "HostConfig.DeviceCgroupRules", ["c 1:3 mr"]),
    "devices": (
        [{"source": "/dev/null", "target": "/dev/x", "permissions": "r"}],
        "HostConfig.Devices",
        [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "r"}],
    ),
    "dns": (["1.1.1.1"], "HostConfig.Dns", ["1.1.1.1"]),
    "dns_opt": (["ndots:1"], "HostConfig.DnsOptions", ["ndots:1"]),
    "dns_search": (["example.com"], "HostConfig.DnsSearch", ["example.com"]),
    "domainname": ("d.example", "Domainname", "d.example"),
    "entrypoint": (["ep"], "Entrypoint", ["ep"]),
    "environment": ({"A": "b", "GONE": None}, "Env", ["A=b", "GONE"]),
    "expose": (["3000-3001/udp"], "ExposedPorts", {"3000/udp": {}, "3001/udp": {}}),
    "external_links": (["ext:alias"], "HostConfig.Links", ["ext:alias"]),
    "extra_hosts": ({"h": ["1.2.3.4"]}, "HostConfig.ExtraHosts", ["h:1.2.3.4"]),
    "group_add": (["mail"], "HostConfig.GroupAdd", ["mail"]),
    "hostname": ("h", "Hostname", "h"),
    "healthcheck": ({"disable": True}, "Healthcheck", {"Test": ["NONE"]}),
    "image": ("nginx", "Image", "nginx"),
    "init": (True, "HostConfig.Init", True),
    "ipc": ("host", "HostConfig.IpcMode", "host"),
    "isolation": ("default", "HostConfig.Isolation", "default"),
    "labels": ({"a": "b"}, "Labels.a", "b"),
    "links": (["other:o"], "HostConfig.Links", ["p-other-1:o", "p-other-1:p-other-1"]),
    "mem_limit": (64, "HostConfig.Memory", 64),
    "mem_reservation": (32, "HostConfig.MemoryReservation", 32),
    "memswap_limit": (128, "HostConfig.MemorySwap", 128),
    "mem_swappiness": (10, "HostConfig.MemorySwappiness", 10),
    "network_mode": ("host", "HostConfig.NetworkMode", "host"),
    "oom_kill_disable": (True, "HostConfig.OomKillDisable", True),
    "oom_score_adj": (500, "HostConfig.OomScoreAdj", 500),
    "pid": ("service:other", "HostConfig.PidMode", "container:id-of-other"),
    "pids_limit": (10, "HostConfig.PidsLimit", 10),
    "privileged": (True, "HostConfig.Privileged", True),
    "read_only": (True, "HostConfig.ReadonlyRootfs", True),
    "restart": ("on-failure:5", "HostConfig.RestartPolicy", {"Name": "on-failure", "MaximumRetryCount": 5}),
    "runtime": ("runc", "HostConfig.Runtime", "runc"),
    "security_opt": (["label=disable"], "HostConfig.SecurityOpt", ["label=disable"]),
    "shm_size": (65, "HostConfig.ShmSize", 65),
    "stdin_open": (True, "OpenStdin", True),
    "stop_grace_period": ("1500ms", "StopTimeout", 2),
    "stop_signal": ("SIGUSR1", "StopSignal", "SIGUSR1"),
    "storage_opt": ({"size": "1G"}, "HostConfig.StorageOpt", {"size": "1G"}),
    "sysctls": ({"a": "1"}, "HostConfig.Sysctls", {"a": "1"}),
    "tmpfs": (["/run", "/t:size=1m"], "HostConfig.Tmpfs", {"/run": "", "/t": "size=1m"}),
    "tty": (True, "Tty", True),
    "ulimits": ({"nproc": {"single": 5}}, "HostConfig.Ulimits", [{"Name": "nproc", "Soft": 5, "Hard": 5}]),
    "user": ("1:2", "User", "1:2"),
    "userns_mode": ("host", "HostConfig.UsernsMode", "host"),
    "uts": ("host", "HostConfig.UTSMode", "host"),
    "volumes_from": (["other:ro", "container:x"], "HostConfig.VolumesFrom", ["id-of-other:ro", "x"]),
    "working_dir": ("/w", "WorkingDir", "/w"),
    "mac_address": (
        "02:42:ac:11:65:43",
        "NetworkingConfig.EndpointsConfig.p_default.MacAddress",
        "02:42:ac:11:65:43",
    ),
    "logging": (
        {"driver": "none", "options": {"a": "b"}},
        "HostConfig.LogConfig",
        {"Type": "none", "Config": {"a": "b"}},
    ),
    "blkio_config": (
        {"device_read_bps": [{"path": "/dev/sda", "rate": 1024}]},
        "HostConfig.BlkioDeviceReadBps",
        [{"Path": "/dev/sda", "Rate": 1024}],
    ),
    "gpus": (
        [{"driver": "nvidia", "count": 2}],
        "HostConfig.DeviceRequests.0",
        {"Driver": "nvidia", "Count": 2, "DeviceIDs": None, "Capabilities": [["gpu"]], "Options": None},
    ),
    "deploy": ({"resources": {"limits": {"memory": 50, "pids": 5}}}, "HostConfig.Memory", 50),
    "networks": (
        {"default": {"aliases": ["a"], "interface_name": "eth9", "gw_priority": 3}},
        "NetworkingConfig.EndpointsConfig.p_default.Aliases",
        ["p-web-1", "web", "a"],
    ),
    "ports": (
        [{"target": 80, "published": "8080", "host_ip": "127.0.0.1", "protocol": "tcp"}],
        "HostConfig.PortBindings",
        {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]},
    ),
    "volumes": (
        [{"type": "volume", "source": "data", "target": "/d", "read_only": True}],
        "HostConfig.Binds",
        ["p_data:/d:ro"],
    ),
    "configs": (
        [{"source": "file", "target": "/c"}],
        "HostConfig.Mounts",
        [{"Type": "bind", "Source": "/host/file", "Target": "/c", "ReadOnly": True}],
    ),
    "secrets": (
        [{"source": "file"}],
        "HostConfig.Mounts",
        [{"Type": "bind", "Source": "/host/secret", "Target": "/run/secrets/file", "ReadOnly": True}],
    ),
}
_REFUSED: dict[str, Any] = {
    "credential_spec": {"file": "x"},
    "log_driver": "none",
    "log_opt": {"a": "b"},
    "models": {"m": None},
    "net": "host",
    "use_api_socket": True,
    "volume_driver": "local",
}
# What a container is not made of: it is read by the loader, the plan, or another command.
_ELSEWHERE = frozenset(
    "profiles attach build develop container_name dockerfile env_file extends label_file platform pull_policy scale "
    "post_start pre_stop provider extensions".split()
)


def project_with(**attributes: Any) -> Project:
    """A project `p` of the service `web`, with these attributes, and a service `other`."""
    web = {
        "image": "busybox",
        **({} if "network_mode" in attributes else {"networks": {"default": None}}),
        **attributes,
    }
    document = {
        "services": {"web": web, "other": {"image": "busybox"}},
        "networks": {"default": {"name": "p_default"}},
        "volumes": {"data": {"name": "p_data"}},
        "configs": {"file": {"name": "p_file", "file": "/host/file"}, "text": {"name": "p_text", "content": "hello"}},
        "secrets": {
            "file": {"name": "p_secret", "file": "/host/secret"},
            "variable": {"name": "p_variable", "environment": "TOKEN"},
        },
    }
    return to_project(document, "p")


CONTEXT = ContainerContext(ids={"other": "id-of-other"}, linked={"other": ["p-other-1"]})


def request_of(project: Project, context: ContainerContext = CONTEXT) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(create_request(project, "web", "p-web-1", 1, context))
    return found


def part(document: Any, path: str) -> Any:
    """What is at a path; the keys of labels have dots themselves."""
    while path:
        if isinstance(document, list):
            key, _, path = path.partition(".")
            document = document[int(key)]
        elif path in document:
            return document[path]
        else:
            key, _, path = path.partition(".")
            document = document[key]
    return document


@pytest.mark.parametrize("attribute", sorted(_REACH))
def test_an_attribute_reaches_the_request(attribute: str) -> None:
    value, path, expected = _REACH[attribute]
    assert part(request_of(project_with(**{attribute: value})), path) == expected


@pytest.mark.parametrize("attribute", sorted(_REFUSED))
def test_an_attribute_is_refused(attribute: str) -> None:
    with pytest.raises(ComposeError, match=r"services\.web"):
        request_of(project_with(**{attribute: _REFUSED[attribute]}))


def test_no_attribute_is_forgotten() -> None:
    assert {*_REACH, *_REFUSED, *_ELSEWHERE} == {field.name for field in msgspec.structs.fields(Service)}


@pytest.mark.parametrize(
    ("volume", "place", "expected"),
    [
        ({"type": "bind", "source": "/h", "target": "/t", "bind": {"create_host_path": True}}, "Binds", "/h:/t:rw"),
        ({"type": "bind", "source": "/h", "target": "/t", "bind": {"selinux": "z"}}, "Binds", "/h:/t:rw,z"),
        (
            {"type": "bind", "source": "/h", "target": "/t", "bind": {"propagation": "rslave"}},
            "Mounts",
            {"Type": "bind", "Source": "/h", "Target": "/t", "BindOptions": {"Propagation": "rslave"}},
        ),
        (
            {"type": "volume", "source": "data", "target": "/t", "volume": {"subpath": "s", "nocopy": True}},
            "Mounts",
            {
                "Type": "volume",
                "Source": "p_data",
                "Target": "/t",
                "VolumeOptions": {"NoCopy": True, "Subpath": "s"},
            },
        ),
        (
            {"type": "tmpfs", "target": "/t", "tmpfs": {"size": 5, "mode": 511}},
            "Mounts",
            {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 5, "Mode": 511}},
        ),
        (
            {"type": "image", "source": "busybox", "target": "/t", "image": {"subpath": "bin"}},
            "Mounts",
            {"Type": "image", "Source": "busybox", "Target": "/t", "ImageOptions": {"Subpath": "bin"}},
        ),
    ],
)
def test_mounts(volume: dict[str, Any], place: str, expected: Any) -> None:
    assert request_of(project_with(volumes=[volume]))["HostConfig"][place] == [expected]


def test_configs_and_secrets_without_a_file_are_written_into_the_container() -> None:
    project = project_with(
        configs=[{"source": "text", "mode": 0o400, "uid": "5"}], secrets=[{"source": "variable", "target": "token"}]
    )
    project.environment = {"TOKEN": "x"}
    files = file_contents(project, project.services["web"])
    assert [(one.path, one.content, one.mode, one.uid) for one in files] == [
        ("/text", b"hello", 0o400, 5),
        ("/run/secrets/token", b"x", 0o444, 0),
    ]
    assert request_of(project)["HostConfig"]["Mounts"] is None
    project.environment = {}
    with pytest.raises(ComposeError, match="TOKEN"):
        file_contents(project, project.services["web"])


def test_anonymous_volumes_are_those_of_the_container_before() -> None:
    def before(name: str, target: str) -> MountPoint:
        return MountPoint(Type="volume", Name=name, Source=f"/v/{name}", Destination=target)

    project = project_with(volumes=[{"type": "volume", "target": "/mine"}, {"type": "volume", "target": "/new"}])
    context = ContainerContext(
        image_volumes=("/images",),
        inherited=(before("a", "/mine"), before("b", "/images"), before("c", "/not-declared")),
    )
    mounts = request_of(project, context)["HostConfig"]["Mounts"]
    assert [(one.get("Source"), one["Target"]) for one in mounts] == [(None, "/new"), ("a", "/mine"), ("b", "/images")]


def test_the_first_network_is_that_of_the_highest_priority() -> None:
    project = project_with(networks={"default": {"priority": 1}, "front": {"priority": 2, "mac_address": "02::1"}})
    project.networks["front"] = msgspec.structs.replace(project.networks["default"], name="p_front")
    request = request_of(project)
    assert request["HostConfig"]["NetworkMode"] == "p_front"
    assert list(request["NetworkingConfig"]["EndpointsConfig"]) == ["p_front", "p_default"]
    project.services["web"].mac_address = "02::2"
    with pytest.raises(ComposeError, match="same value as network front"):
        request_of(project)
