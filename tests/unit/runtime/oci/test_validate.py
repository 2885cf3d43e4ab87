from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from darse.core.errors import InvalidParameter
from darse.runtime.oci.errors import CommandNotExecutable, check_launchable
from darse.runtime.oci.spec import SharedNamespaces, SpecInputs, build_spec
from darse.runtime.oci.user import ResolvedUser
from darse.runtime.oci.validate import check_config, check_exec, check_host, check_together
from darse.wire.containers import ContainerConfig, HealthConfig
from darse.wire.execs import ExecConfig
from darse.wire.host_config import DeviceRequest, HostConfig, RestartPolicy, ThrottleDevice, Ulimit, WeightDevice
from tests.unit.runtime.facts import WEAK, facts

MIB = 1 << 20
RUNTIMES = {"crun": object()}
BARE = facts(controllers=frozenset(), features=frozenset(), swap_accounting=False)


def refusal(**options: Any) -> str:
    with pytest.raises(InvalidParameter) as raised:
        check_host(HostConfig(**options), facts(), RUNTIMES)
    return str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"Memory": 1}, "Minimum memory limit allowed is 6MB"),
        ({"Memory": -5}, "Minimum memory limit allowed is 6MB"),
        ({"MemorySwap": -2}, "Invalid value for memory swap, it must be -1 or more"),
        (
            {"MemorySwap": 7 * MIB},
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        (
            {"Memory": 9 * MIB, "MemorySwap": 8 * MIB},
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        ({"MemoryReservation": 5}, "Minimum memory reservation allowed is 6MB"),
        (
            {"Memory": 7 * MIB, "MemoryReservation": 8 * MIB},
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ),
        ({"MemorySwappiness": 101}, "Invalid value: 101, valid memory swappiness range is 0-100"),
        (
            {"NanoCpus": 10**9, "CpuQuota": 5000},
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set.",
        ),
        (
            {"NanoCpus": 10**9, "CpuPeriod": 5000},
            "Conflicting options: Nano CPUs and CPU Period cannot both be set.",
        ),
        ({"NanoCpus": 5 * 10**9}, "range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available"),
        ({"NanoCpus": 1}, "range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available"),
        ({"CpuShares": -1}, "invalid CPU shares (-1): value must be a positive integer"),
        (
            {"CpuPeriod": 999},
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
        ({"CpuQuota": 999}, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        ({"CpuQuota": 2**50}, f"invalid CPU cfs quota: {2**50}"),
        ({"CpuRealtimeRuntime": 5}, "Your kernel does not support CPU real-time scheduler"),
        ({"CpusetCpus": "a"}, "Invalid value a for cpuset cpus"),
        ({"CpusetCpus": "3-1"}, "Invalid value 3-1 for cpuset cpus"),
        ({"CpusetCpus": "0" * 9000}, f"Invalid value {'0' * 9000} for cpuset cpus"),
        ({"CpusetMems": ","}, "Invalid value , for cpuset mems"),
        ({"CpusetCpus": "2,9"}, "Requested CPUs are not available - requested 2,9, available: 0,1,2,3"),
        ({"CpusetMems": "1"}, "Requested memory nodes are not available - requested 1, available: 0"),
        ({"BlkioWeight": 9}, "Range of blkio weight is from 10 to 1000"),
        ({"BlkioWeightDevice": [WeightDevice("/dev/null", 5)]}, '"/dev/null" is not a block device'),
        ({"BlkioDeviceReadBps": [ThrottleDevice("x", 5)]}, '"x" is not a block device'),
        ({"OomScoreAdj": 1001}, "Invalid value 1001, range for oom score adj is [-1000, 1000]"),
        ({"ShmSize": -1}, "SHM size can not be less than 0"),
        ({"PidsLimit": 2**70}, f"invalid PidsLimit: {2**70}"),
        ({"Memory": 2**64}, f"invalid Memory: {2**64} is out of range"),
        ({"Ulimits": [Ulimit("as", 1, 1)]}, "invalid ulimit type: as"),
        ({"Ulimits": [Ulimit("", 1, 1)]}, "invalid ulimit type: "),
        ({"Ulimits": [Ulimit("nofile", 2, 1)]}, "ulimit soft limit must be less than or equal to hard limit: 2 > 1"),
        ({"Ulimits": [Ulimit("nofile", -1, 1)]}, "ulimit soft limit must be less than or equal to hard limit: -1 > 1"),
        ({"Ulimits": [Ulimit("nofile", -2, 1)]}, "invalid ulimit value for nofile: -2:1"),
        (
            {"RestartPolicy": RestartPolicy("sometimes")},
            "invalid restart policy: unknown policy 'sometimes'; use one of 'no', 'always', 'on-failure', or "
            "'unless-stopped'",
        ),
        (
            {"RestartPolicy": RestartPolicy("always", 5)},
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
        ),
        (
            {"RestartPolicy": RestartPolicy("on-failure", -5)},
            "invalid restart policy: maximum retry count cannot be negative",
        ),
        (
            {"RestartPolicy": RestartPolicy("always"), "AutoRemove": True},
            "can't create 'AutoRemove' container with restart policy",
        ),
        ({"Runtime": "kata"}, "unknown or invalid runtime name: kata"),
        ({"Isolation": "hyperv"}, 'invalid isolation "hyperv" on linux'),
        (
            {"DeviceRequests": [DeviceRequest("", -1, None, [["npu", "nvidia"], ["tpu"]])]},
            'could not select device driver "" with capabilities: [[npu nvidia] [tpu]]',
        ),
        ({"IpcMode": "common"}, "invalid IPC mode: common"),
        ({"PidMode": "common"}, "invalid PID mode: common"),
        ({"UTSMode": "container:x"}, "invalid UTS mode: container:x"),
        ({"UsernsMode": "x"}, "invalid user namespace mode: x"),
        ({"CgroupnsMode": "x"}, "invalid cgroup namespace mode: x"),
        ({"CgroupParent": "/a/../b"}, "invalid cgroup parent: /a/../b"),
        (
            {"Sysctls": {"kernel.core_pattern": "|/x"}},
            "sysctl 'kernel.core_pattern' is not in a separate kernel namespace",
        ),
        ({"Sysctls": {"net/../kernel/core_pattern": "x"}}, "sysctl 'net/../kernel/core_pattern' is not allowed"),
        ({"Sysctls": {"net.no.such": "x"}}, "sysctl 'net.no.such' does not exist in this kernel"),
        (
            {"Sysctls": {"net.core.somaxconn": "5"}, "NetworkMode": "host"},
            "sysctl 'net.core.somaxconn' is not allowed in the host network namespace",
        ),
        (
            {"Sysctls": {"kernel.shmmax": "5"}, "IpcMode": "host"},
            "sysctl 'kernel.shmmax' is not allowed as ipc mode is host",
        ),
        ({"Dns": ["8.8.8.8\nnameserver 6.6.6.6"]}, "invalid IP address: 8.8.8.8\nnameserver 6.6.6.6"),
        ({"Dns": ["fe80::1%a\nb"]}, "invalid IP address: fe80::1%a\nb"),
        ({"ExtraHosts": ["evil"]}, 'bad format for add-host: "evil"'),
        ({"ExtraHosts": ["h:fe80::1%eth0"]}, 'invalid IP address in add-host: "fe80::1%eth0"'),
        ({"ExtraHosts": ["a b:1.2.3.4"]}, 'bad format for add-host: "a b:1.2.3.4"'),
        ({"ExtraHosts": ["a:1.2.3.4\n5.6.7.8 b"]}, 'invalid IP address in add-host: "1.2.3.4\n5.6.7.8 b"'),
        ({"DnsSearch": ["a\nb"]}, "invalid DnsSearch: 'a\\nb'"),
        (
            {"MaskedPaths": ["relative"]},
            "invalid masked or read-only path: 'relative': must be an absolute path below /",
        ),
        ({"Annotations": {"": "x"}}, "invalid Annotations: the empty string is not permitted as an annotation key"),
        ({"ConsoleSize": [1, 70000]}, "ConsoleSize must be [height, width], each at most 65535"),
        (
            {"StorageOpt": {"size": "1g"}},
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
        ),
        ({"CapAdd": ["FLY"]}, 'invalid CapAdd: unknown capability: "CAP_FLY"'),
        ({"SecurityOpt": ["what"]}, 'invalid --security-opt 1: "what"'),
        ({"SecurityOpt": ["apparmor=x"]}, "AppArmor is not enabled on this host: the profile x cannot be applied"),
    ],
)
def test_refusals_are_in_docker_s_words(options: dict[str, Any], message: str) -> None:
    assert refusal(**options) == message


@pytest.mark.parametrize(
    "options",
    [
        {"Memory": 6 * MIB, "MemorySwap": -1},
        {"NanoCpus": 4 * 10**9},
        {"CpuQuota": -1, "CpuPeriod": 1000},
        {"CpusetCpus": "0-3", "CpusetMems": "0"},
        {"Ulimits": [Ulimit("nofile", 1024, 1 << 20), Ulimit("core", -1, -1), Ulimit("locks", 1, 2)]},
        {"RestartPolicy": RestartPolicy("on-failure", 3)},
        {"Sysctls": {"net.core.somaxconn": "5", "net/ipv4/ip_forward": "1", "kernel.shmmax": "1"}},
        {"Sysctls": {"net.ipv4.conf.eth0.forwarding": "1"}},
        {"ExtraHosts": ["db:10.0.0.1", "me:host-gateway", "six:fe80::1", "six:[fe80::1]"]},
        {"Dns": ["1.1.1.1", "fe80::1"], "DnsSearch": ["example.org", "."], "DnsOptions": ["ndots:2"]},
        {"CgroupParent": "/parent/child"},
        {"IpcMode": "container:x", "PidMode": "container:y"},
        {"PidsLimit": -1},
    ],
)
def test_sane_wishes_raise_no_warning(options: dict[str, Any]) -> None:
    assert check_host(HostConfig(**options), facts(), RUNTIMES) == []


@pytest.mark.parametrize(
    ("options", "warning", "cleared"),
    [
        (
            {"Memory": 9 * MIB},
            "memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
            "Memory",
        ),
        ({"MemorySwappiness": 5}, "memory swappiness capabilities or the cgroup is not mounted.", "MemorySwappiness"),
        ({"MemoryReservation": 9 * MIB}, "memory soft limit capabilities", "MemoryReservation"),
        ({"OomKillDisable": True}, "does not support OomKillDisable. OomKillDisable discarded.", "OomKillDisable"),
        ({"PidsLimit": 5}, "PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.", "PidsLimit"),
        ({"CpuShares": 5}, "CPU shares or the cgroup is not mounted. Shares discarded.", "CpuShares"),
        ({"CpuQuota": 5000}, "CPU cfs quota or the cgroup is not mounted. Quota discarded.", "CpuQuota"),
        ({"CpusetCpus": "0"}, "cpuset or the cgroup is not mounted. Cpuset discarded.", "CpusetCpus"),
        ({"BlkioWeight": 50}, "Block I/O weight or the cgroup is not mounted. Weight discarded.", "BlkioWeight"),
    ],
)
def test_what_the_host_cannot_do_is_discarded_with_docker_s_warning(
    options: dict[str, Any], warning: str, cleared: str
) -> None:
    host = HostConfig(**options)
    [said] = check_host(host, BARE, RUNTIMES)
    assert warning in said
    assert not getattr(host, cleared)


def test_memory_without_swap_accounting() -> None:
    host = HostConfig(Memory=9 * MIB, MemorySwap=10 * MIB)
    [said] = check_host(host, facts(swap_accounting=False), RUNTIMES)
    assert said.endswith("Memory limited without swap.")
    assert host.MemorySwap == -1


def test_limits_that_the_engine_may_not_set_are_announced() -> None:
    host = HostConfig(Ulimits=[Ulimit("nofile", 5, 5000)], OomScoreAdj=-5)
    said = check_host(host, WEAK, RUNTIMES)
    assert len(said) == 2
    assert "above 4096" in said[0]
    assert "oom-score-adj" in said[1]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"Hostname": "a b"}, "invalid hostname format: a b"),
        ({"Hostname": "x" * 64}, f"invalid hostname format: {'x' * 64}"),
        ({"Hostname": "a\n"}, "invalid hostname format: a\n"),
        ({"Domainname": "a\nb"}, "invalid domainname: a\nb"),
        ({"WorkingDir": "here"}, "the working directory 'here' is invalid, it needs to be an absolute path"),
        ({"WorkingDir": "/" + "x" * 300}, "invalid working directory: file name too long"),
        ({"Env": ["=x"]}, "invalid environment variable: =x"),
        ({"Env": [""]}, "invalid environment variable: "),
        ({"Env": ["a=\0"]}, "invalid Env: it contains a NUL byte"),
        ({"Cmd": ["\ud800"]}, "invalid Cmd: it is no valid UTF-8"),
        ({"Cmd": ["x" * 200_000]}, "invalid Cmd: argument list too long: one of 200000 bytes"),
        ({"StopTimeout": -2}, "invalid StopTimeout: -2"),
        ({"Healthcheck": HealthConfig(Interval=5)}, "Interval in Healthcheck cannot be less than 1ms"),
        ({"Healthcheck": HealthConfig(Retries=-1)}, "Retries in Healthcheck cannot be negative"),
    ],
)
def test_configurations_that_cannot_run(config: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        check_config(ContainerConfig(**config))
    assert str(raised.value) == message


def test_a_hostname_needs_a_namespace_of_its_own() -> None:
    with pytest.raises(InvalidParameter, match="conflicting options: hostname and the UTS mode"):
        check_together(ContainerConfig(Hostname="x"), HostConfig(UTSMode="host"))


@pytest.mark.parametrize("config", [{}, {"Cmd": []}, {"Cmd": ["x"], "Env": ["=y"]}, {"Cmd": ["x\0"]}])
def test_execs_that_cannot_run(config: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter):
        check_exec(ExecConfig(**config))


@pytest.mark.parametrize("config", [{"Cmd": [""]}, {"Cmd": ["true"], "WorkingDir": "rel"}])
def test_what_an_execs_start_refuses_is_no_mistake_of_its_creation(config: dict[str, Any]) -> None:
    check_exec(ExecConfig(**config))
    with pytest.raises(CommandNotExecutable):
        check_launchable(config["Cmd"][0], config.get("WorkingDir", ""))


_NUMBERS = st.integers() | st.sampled_from([-1, 0, 1, 2**31, 2**53, 2**62, 2**63 - 1, 2**63, 2**64])
_WORDS = st.text(max_size=20) | st.sampled_from(
    ["host", "private", "container:x", "\0", "a\nb", "\ud800", "0-3", "/", ".."]
)


def _values(type_: Any) -> st.SearchStrategy[Any]:
    """Anything that the door lets through for a field of this type."""
    if type_ is int:
        return _NUMBERS
    if type_ is str:
        return _WORDS
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return _structs(type_)
    arguments = [one for one in getattr(type_, "__args__", ()) if one is not type(None)]
    origin = getattr(type_, "__origin__", None)
    if origin is list:
        return st.lists(_values(arguments[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(_WORDS, _values(arguments[1]), max_size=3)
    if arguments and origin is None:
        return st.none() | _values(arguments[0])
    return st.booleans() if type_ is bool else st.none()


def _structs(type_: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    fields = msgspec.structs.fields(type_)
    return st.fixed_dictionaries({}, optional={one.name: _values(one.type) for one in fields}).map(
        lambda values: type_(**{key: value for key, value in values.items() if value is not None})
    )


@settings(max_examples=150, suppress_health_check=list(HealthCheck), deadline=None)
@given(_structs(HostConfig))
@example(HostConfig(Ulimits=[Ulimit("nofile", 2**63 - 1, 2**63 - 1)]))
def test_whatever_passes_makes_a_spec_that_encodes(host: HostConfig) -> None:
    try:
        check_host(host, facts(), RUNTIMES)
    except InvalidParameter:
        return
    spec = build_spec(
        SpecInputs(
            config=ContainerConfig(Cmd=["true"]),
            host=host,
            facts=facts(),
            user=ResolvedUser(),
            rootfs="/r",
            hostname="h",
            cgroup_path="/c",
            namespaces=SharedNamespaces(),
            mounts=(),
        )
    )
    json.loads(msgspec.json.encode(spec))


@settings(max_examples=150, suppress_health_check=list(HealthCheck), deadline=None)
@given(_structs(ContainerConfig))
def test_any_configuration_is_taken_or_refused(config: ContainerConfig) -> None:
    with contextlib.suppress(InvalidParameter):
        check_config(config)
