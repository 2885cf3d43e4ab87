from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from darse.core.errors import InvalidParameter
from darse.linux.proc.userns import IdMaps, IdRange
from darse.runtime.oci.capabilities import ALL, DEFAULT
from darse.runtime.oci.process import environment, rlimits
from darse.runtime.oci.spec import (
    MASKED_PATHS,
    READONLY_PATHS,
    BindMount,
    SharedNamespaces,
    SpecInputs,
    TmpfsMount,
    build_spec,
    exec_process,
    masked_paths,
)
from darse.runtime.oci.user import ResolvedUser
from darse.runtime.sysinfo import find_thermal_counters
from darse.wire.containers import ContainerConfig
from darse.wire.execs import ExecConfig
from darse.wire.host_config import DeviceMapping, HostConfig, Ulimit
from tests.unit.runtime.facts import WEAK, facts

MIB = 1 << 20


def inputs(config: ContainerConfig | None = None, host: HostConfig | None = None, **more: Any) -> SpecInputs:
    host = host or HostConfig()
    host.ShmSize = host.ShmSize or 64 * MIB
    return SpecInputs(
        config=config or ContainerConfig(Cmd=["true"]),
        host=host,
        facts=more.pop("facts", facts()),
        user=more.pop("user", ResolvedUser(home="/root")),
        rootfs="/bundle/rootfs",
        hostname="c0ffee",
        cgroup_path="/darse/c0ffee",
        namespaces=more.pop("namespaces", SharedNamespaces()),
        mounts=more.pop("mounts", ()),
        **more,
    )


def built(*arguments: Any, **more: Any) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(msgspec.json.encode(build_spec(inputs(*arguments, **more))))
    return spec


def mounted(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {mount["destination"]: mount for mount in spec["mounts"]}


def test_a_default_container_is_docker_s() -> None:
    spec = built(ContainerConfig(Entrypoint=["/entry"], Cmd=["a", "b"], Env=["PATH=/bin", "X=1"]))
    capabilities = [name for name in ALL if name in DEFAULT]
    assert spec["process"] == {
        "terminal": False,
        "user": {"uid": 0, "gid": 0, "additionalGids": [0]},
        "args": ["/entry", "a", "b"],
        "env": ["PATH=/bin", "HOSTNAME=c0ffee", "X=1", "HOME=/root"],
        "cwd": "/",
        "capabilities": {"bounding": capabilities, "permitted": capabilities, "effective": capabilities},
        "noNewPrivileges": False,
        "oomScoreAdj": 0,
        "rlimits": [],
    }
    assert spec["root"] == {"path": "/bundle/rootfs", "readonly": False}
    assert spec["hostname"] == "c0ffee"
    assert spec["mounts"] == [
        {"type": "proc", "source": "proc", "destination": "/proc", "options": ["nosuid", "noexec", "nodev"]},
        {
            "type": "tmpfs",
            "source": "tmpfs",
            "destination": "/dev",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "type": "devpts",
            "source": "devpts",
            "destination": "/dev/pts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        },
        {"type": "sysfs", "source": "sysfs", "destination": "/sys", "options": ["nosuid", "noexec", "nodev", "ro"]},
        {
            "type": "cgroup",
            "source": "cgroup",
            "destination": "/sys/fs/cgroup",
            "options": ["ro", "nosuid", "noexec", "nodev"],
        },
        {
            "type": "bind",
            "source": "/sys/fs/cgroup",
            "destination": "/sys/fs/cgroup",
            "options": ["remount", "bind", "ro", "nosuid", "noexec", "nodev"],
        },
        {"type": "mqueue", "source": "mqueue", "destination": "/dev/mqueue", "options": ["nosuid", "noexec", "nodev"]},
        {
            "type": "tmpfs",
            "source": "shm",
            "destination": "/dev/shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", f"size={64 * MIB}"],
        },
    ]
    linux = spec["linux"]
    assert linux["namespaces"] == [{"type": kind} for kind in ("mount", "network", "pid", "ipc", "uts", "cgroup")]
    assert linux["maskedPaths"] == list(MASKED_PATHS)
    assert linux["readonlyPaths"] == list(READONLY_PATHS)
    assert linux["cgroupsPath"] == "/darse/c0ffee"
    assert linux["sysctl"] == {
        "net.ipv4.ip_unprivileged_port_start": "0",
        "net.ipv4.ping_group_range": "0 2147483647",
    }
    assert linux["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert linux["resources"]["devices"][0] == {"allow": False, "access": "rwm"}
    assert "memory" not in linux["resources"]
    assert "cpu" not in linux["resources"]


def test_inheritable_capabilities_stay_empty_and_other_users_keep_the_bounding_set_alone() -> None:
    """CVE-2022-24769; and what a process of theirs has after execve(2)."""
    assert "inheritable" not in built()["process"]["capabilities"]
    assert set(built(user=ResolvedUser(1000, 1000))["process"]["capabilities"]) == {"bounding"}


def test_the_own_group_is_a_supplementary_one() -> None:
    """CVE-2022-36109."""
    user = built(user=ResolvedUser(1000, 100, (44, 100, 29)))["process"]["user"]
    assert user == {"uid": 1000, "gid": 100, "additionalGids": [100, 44, 29]}


def test_privileged_lifts_every_confinement() -> None:
    spec = built(host=HostConfig(Privileged=True))
    assert spec["process"]["capabilities"]["effective"] == list(ALL)
    assert "seccomp" not in spec["linux"]
    assert "maskedPaths" not in spec["linux"]
    assert "readonlyPaths" not in spec["linux"]
    assert "rw" in mounted(spec)["/sys"]["options"]
    assert "rw" in mounted(spec)["/sys/fs/cgroup"]["options"]
    assert spec["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert "/dev/null" in {node["path"] for node in spec["linux"]["devices"]}
    # A privileged container may still ask for a filter by name.
    assert "seccomp" in built(host=HostConfig(Privileged=True, SecurityOpt=["seccomp=builtin"]))["linux"]


def test_a_read_only_root_leaves_writable_what_programs_need() -> None:
    spec = built(host=HostConfig(ReadonlyRootfs=True, Privileged=True))
    assert spec["root"]["readonly"] is True
    read_only = {path for path, mount in mounted(spec).items() if "ro" in mount["options"]}
    assert read_only == {"/sys", "/sys/fs/cgroup"}


@pytest.mark.parametrize(
    ("host", "choice", "present"),
    [
        (HostConfig(), "", True),
        (HostConfig(SecurityOpt=["seccomp=unconfined"]), "", False),
        (HostConfig(), "unconfined", False),
        (HostConfig(SecurityOpt=["seccomp=builtin"]), "unconfined", True),
    ],
)
def test_the_container_s_choice_of_seccomp_goes_before_the_engine_s(
    host: HostConfig, choice: str, present: bool
) -> None:
    assert ("seccomp" in built(host=host, seccomp_profile=choice)["linux"]) is present


@pytest.mark.parametrize(
    ("option", "engine", "expected"),
    [
        ([], False, False),
        ([], True, True),
        (["no-new-privileges"], False, True),
        (["no-new-privileges=false"], True, False),
    ],
)
def test_no_new_privileges(option: list[str], engine: bool, expected: bool) -> None:
    spec = built(host=HostConfig(SecurityOpt=option), no_new_privileges=engine)
    assert spec["process"]["noNewPrivileges"] is expected


def test_what_docker_28_masks_is_masked() -> None:
    """oci/defaults.go of moby 28, without /sys/devices/system/cpu/cpu*/thermal_throttle: those are the host's."""
    assert set(MASKED_PATHS) == {
        *(f"/proc/{name}" for name in "acpi asound interrupts kcore keys latency_stats".split()),
        *(f"/proc/{name}" for name in "sched_debug scsi timer_list timer_stats".split()),
        "/sys/devices/virtual/powercap",
        "/sys/firmware",
    }
    assert set(READONLY_PATHS) == {f"/proc/{name}" for name in "bus fs irq sys sysrq-trigger".split()}


def test_system_paths_can_be_unmasked_or_chosen() -> None:
    assert "maskedPaths" not in built(host=HostConfig(SecurityOpt=["systempaths=unconfined"]))["linux"]
    linux = built(host=HostConfig(MaskedPaths=["/proc/keys"], ReadonlyPaths=[]))["linux"]
    assert (linux["maskedPaths"], linux["readonlyPaths"]) == (["/proc/keys"], [])


def test_what_is_masked_is_docker_s_in_docker_s_order(tmp_path: Path) -> None:
    """Those of temperature are per processor."""
    for number in (0, 1, 10, 2):
        (tmp_path / f"cpu{number}/thermal_throttle").mkdir(parents=True)
    (tmp_path / "cpu3").mkdir()
    counters = find_thermal_counters(tmp_path)
    assert counters == tuple(f"{tmp_path}/cpu{number}/thermal_throttle" for number in (0, 1, 2, 10))
    assert masked_paths(facts(thermal_counters=counters)) == [
        "/proc/acpi",
        "/proc/asound",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/sys/devices/virtual/powercap",
        "/sys/firmware",
        *counters,
    ]
    assert READONLY_PATHS == ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def test_an_init_is_put_before_the_command_in_a_new_pid_namespace_only() -> None:
    spec = built(init_program="/usr/bin/tini")
    assert spec["process"]["args"] == ["/sbin/docker-init", "--", "true"]
    assert mounted(spec)["/sbin/docker-init"]["source"] == "/usr/bin/tini"
    for pid in (None, "/proc/7/ns/pid"):
        spec = built(init_program="/usr/bin/tini", namespaces=SharedNamespaces(pid=pid))
        assert spec["process"]["args"] == ["true"]
        assert "/sbin/docker-init" not in mounted(spec)


def test_namespaces_are_new_the_host_s_or_another_s() -> None:
    shared = SharedNamespaces(network="/proc/7/fd/3", pid=None, ipc="/proc/8/ns/ipc", uts=None, cgroup=None)
    spec = built(namespaces=shared)
    assert spec["linux"]["namespaces"] == [
        {"type": "mount"},
        {"type": "network", "path": "/proc/7/fd/3"},
        {"type": "ipc", "path": "/proc/8/ns/ipc"},
    ]
    assert "hostname" not in spec


def test_sysctls_of_the_network_are_set_in_a_namespace_of_the_container_s_own_only() -> None:
    assert built(namespaces=SharedNamespaces(network=None))["linux"]["sysctl"] == {}
    joined = HostConfig(NetworkMode="container:other")
    assert built(host=joined, namespaces=SharedNamespaces(network="/proc/7/ns/net"))["linux"]["sysctl"] == {}
    own = HostConfig(Sysctls={"net.ipv4.ip_unprivileged_port_start": "1024", "kernel.shmmax": "5"})
    assert built(host=own)["linux"]["sysctl"] == {
        "net.ipv4.ip_unprivileged_port_start": "1024",
        "net.ipv4.ping_group_range": "0 2147483647",
        "kernel.shmmax": "5",
    }


def test_the_domain_name_is_a_sysctl_of_the_uts_namespace() -> None:
    config = ContainerConfig(Cmd=["x"], Domainname="example.org")
    assert built(config)["linux"]["sysctl"]["kernel.domainname"] == "example.org"
    assert "kernel.domainname" not in built(config, namespaces=SharedNamespaces(uts=None))["linux"]["sysctl"]


def test_mounts_come_after_what_they_are_mounted_in() -> None:
    """A volume on /etc must not hide the file mounted at /etc/hosts."""
    binds = [
        BindMount("/h", "/etc/hosts", writable=True, propagation="rprivate"),
        BindMount("/deep", "/a/b/c", writable=False, propagation="rslave", recursive_read_only=True),
        TmpfsMount("/a", ["size=1m"]),
        BindMount("/v", "/etc", writable=True, propagation="rprivate"),
    ]
    spec = built(mounts=binds)
    assert [mount["destination"] for mount in spec["mounts"][-4:]] == ["/a", "/etc", "/etc/hosts", "/a/b/c"]
    assert mounted(spec)["/a/b/c"]["options"] == ["rbind", "ro", "rro", "rslave"]
    assert mounted(spec)["/etc"]["options"] == ["rbind", "rprivate"]
    assert spec["linux"]["rootfsPropagation"] == "slave"


def test_a_read_only_bind_covers_what_is_mounted_below_where_the_kernel_can() -> None:
    bind = BindMount(
        "/d", "/d", writable=False, propagation="rprivate", recursive_read_only=True, restrictions=("nosuid",)
    )
    assert mounted(built(mounts=[bind]))["/d"]["options"] == ["rbind", "ro", "nosuid", "rro", "rprivate"]
    old = facts(kernel_version=(5, 10))
    assert "rro" not in mounted(built(mounts=[bind], facts=old))["/d"]["options"]
    alone = replace(bind, recursive_read_only=False)
    assert "rro" not in mounted(built(mounts=[alone]))["/d"]["options"]


def test_control_groups_of_version_2_are_one_mount_and_writable_ones_stay_so() -> None:
    def of(version: int, **options: Any) -> list[list[str]]:
        spec = built(host=HostConfig(**options), facts=facts(cgroup_version=version))
        return [one["options"] for one in spec["mounts"] if one["destination"] == "/sys/fs/cgroup"]

    assert of(2) == [["ro", "nosuid", "noexec", "nodev"]]
    for version in (1, 2):
        assert of(version, Privileged=True) == [["rw", "nosuid", "noexec", "nodev"]]
        assert of(version, SecurityOpt=["writable-cgroups=true"]) == [["rw", "nosuid", "noexec", "nodev"]]


def test_a_user_namespace_is_joined_by_its_path() -> None:
    maps = IdMaps((IdRange(0, 100000, 65536),), (IdRange(0, 200000, 65536),))
    spec = built(
        host=HostConfig(Devices=[DeviceMapping("/dev/null", "/dev/null", "rwm")]),
        namespaces=SharedNamespaces(user="/user", network="/net"),
        last_group=maps.last_group,
    )
    assert {"type": "user", "path": "/user"} in spec["linux"]["namespaces"]
    assert "uidMappings" not in spec["linux"]
    # Nodes are bound, and still allowed by the device cgroup.
    assert spec["linux"]["devices"] == []
    assert {"major": 1, "minor": 3}.items() <= spec["linux"]["resources"]["devices"][-1].items()
    assert spec["linux"]["sysctl"]["net.ipv4.ping_group_range"] == "0 65535"
    told = built(namespaces=SharedNamespaces(user="/user"), id_maps=maps)["linux"]
    assert told["uidMappings"] == [{"containerID": 0, "hostID": 100000, "size": 65536}]
    assert told["gidMappings"] == [{"containerID": 0, "hostID": 200000, "size": 65536}]


def test_a_user_s_mount_takes_the_place_of_a_default_one() -> None:
    bind = BindMount("/dev", "/dev", writable=True, propagation="rprivate")
    destinations = [mount["destination"] for mount in built(mounts=[bind])["mounts"]]
    assert destinations == ["/proc", "/sys", "/sys/fs/cgroup", "/sys/fs/cgroup", "/dev"]
    shm = TmpfsMount("/dev/shm/", ["size=1g"])
    assert sum(mount["destination"].startswith("/dev/shm") for mount in built(mounts=[shm])["mounts"]) == 1


def test_shared_memory_by_ipc_mode() -> None:
    assert "/dev/shm" not in mounted(built(host=HostConfig(IpcMode="none")))
    assert mounted(built(shm_source="/dev/shm"))["/dev/shm"]["type"] == "bind"


def test_limits_are_lowered_to_what_the_engine_can_set() -> None:
    host = HostConfig(
        Ulimits=[Ulimit("nofile", 1000, 1 << 40), Ulimit("nproc", 5, -1), Ulimit("core", -1, -1)], OomScoreAdj=-500
    )
    infinity = 2**64 - 1
    assert rlimits(host, WEAK, {"nofile": (1, 1), "stack": (8, 9)}) == [
        {"type": "RLIMIT_NOFILE", "soft": 1000, "hard": 4096},
        {"type": "RLIMIT_STACK", "soft": 8, "hard": 9},
        {"type": "RLIMIT_NPROC", "soft": 5, "hard": infinity},
        {"type": "RLIMIT_CORE", "soft": infinity, "hard": infinity},
    ]
    assert rlimits(host, facts(), None)[0]["hard"] == 1 << 20
    assert built(host=host, facts=WEAK)["process"]["oomScoreAdj"] == 0
    assert built(host=host)["process"]["oomScoreAdj"] == -500


@pytest.mark.parametrize(
    ("config", "extra", "expected"),
    [
        (
            ContainerConfig(),
            [],
            ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=h", "HOME=/u"],
        ),
        (ContainerConfig(Tty=True, Env=["PATH=/b"]), [], ["PATH=/b", "HOSTNAME=h", "TERM=xterm", "HOME=/u"]),
        (
            ContainerConfig(Tty=True, Env=["TERM=vt100", "PATH=/b"]),
            [],
            ["PATH=/b", "HOSTNAME=h", "TERM=vt100", "HOME=/u"],
        ),
        (ContainerConfig(Env=["A=1", "A=2", "HOME=", "PATH"]), ["A=3", "B"], ["HOSTNAME=h", "A=3", "HOME=/u"]),
        (ContainerConfig(Env=["PATH=/b", "X=a=b"]), ["HOSTNAME"], ["PATH=/b", "X=a=b", "HOME=/u"]),
    ],
)
def test_environment(config: ContainerConfig, extra: list[str], expected: list[str]) -> None:
    assert environment(config, ResolvedUser(home="/u"), hostname="h", extra=extra) == expected


def test_without_a_command_there_is_nothing_to_run() -> None:
    with pytest.raises(InvalidParameter, match="no command specified"):
        build_spec(inputs(ContainerConfig()))


def test_an_exec_has_the_container_s_confinement_and_its_own_wishes() -> None:
    host = HostConfig(
        CapDrop=["ALL"], CapAdd=["CHOWN"], Ulimits=[Ulimit("nofile", 7, 8)], SecurityOpt=["no-new-privileges"]
    )
    config = ContainerConfig(Env=["A=1", "PATH=/b"], WorkingDir="/w", Tty=True)
    wanted = ExecConfig(Cmd=["ls"], Env=["B=2"], Tty=True, ConsoleSize=[24, 80])
    process = exec_process(wanted, config, host, ResolvedUser(home="/"), facts=facts(), hostname="h")
    assert process["args"] == ["ls"]
    assert process["cwd"] == "/w"
    assert process["env"] == ["PATH=/b", "HOSTNAME=h", "TERM=xterm", "A=1", "B=2", "HOME=/"]
    assert process["capabilities"]["effective"] == ["CAP_CHOWN"]
    assert process["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 7, "hard": 8}]
    assert process["noNewPrivileges"] is True
    assert process["consoleSize"] == {"height": 24, "width": 80}
    privileged = ExecConfig(Cmd=["ls"], Privileged=True, WorkingDir="/x")
    process = exec_process(privileged, config, host, ResolvedUser(), facts=facts(), hostname="h")
    assert process["capabilities"]["effective"] == list(ALL)
    assert process["cwd"] == "/x"
    assert "TERM=xterm" not in process["env"]


def test_annotations_of_the_container_go_before_the_engine_s() -> None:
    spec = built(host=HostConfig(Annotations={"a": "1"}), annotations={"a": "0", "b": "2"})
    assert spec["annotations"] == {"a": "1", "b": "2"}


def test_a_spec_takes_less_than_a_millisecond() -> None:
    ready = inputs()
    msgspec.json.encode(build_spec(ready))
    durations = []
    for _ in range(20):
        begin = time.perf_counter()
        msgspec.json.encode(build_spec(ready))
        durations.append(time.perf_counter() - begin)
    assert min(durations) < 0.001


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (HostConfig(), "darse-default"),
        (HostConfig(Privileged=True), "unconfined"),
        (HostConfig(SecurityOpt=["apparmor=unconfined"]), "unconfined"),
        (HostConfig(SecurityOpt=["apparmor=mine"], Privileged=True), "mine"),
    ],
)
def test_apparmor_where_the_host_has_it(host: HostConfig, expected: str) -> None:
    with_it = facts(apparmor=True, apparmor_profile="darse-default")
    assert built(host=host, facts=with_it)["process"]["apparmorProfile"] == expected
    assert "apparmorProfile" not in built(host=host)["process"]
    process = exec_process(
        ExecConfig(Cmd=["x"], Privileged=True),
        ContainerConfig(),
        HostConfig(),
        ResolvedUser(),
        facts=with_it,
        hostname="h",
    )
    assert process["apparmorProfile"] == "unconfined"
