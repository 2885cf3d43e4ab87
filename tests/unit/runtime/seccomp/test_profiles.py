from __future__ import annotations

import contextlib
import json
import platform
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darse.core.errors import InvalidParameter
from darse.runtime.oci.capabilities import ALL, DEFAULT
from darse.runtime.seccomp import profiles

pytestmark = pytest.mark.skipif(not profiles.DEFAULT_PROFILE.exists(), reason="containers-common is not installed")


def profile(*extra: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(bytes(profiles.default_profile(frozenset(DEFAULT) | set(extra))))
    return document


def verdict(document: dict[str, Any], name: str, *arguments: int) -> tuple[str, int | None]:
    """What libseccomp would do: the first rule whose comparisons hold; rules do not overlap otherwise."""

    def holds(comparison: dict[str, Any]) -> bool:
        actual = arguments[comparison["index"]]
        match comparison["op"]:
            case "SCMP_CMP_MASKED_EQ":
                return actual & comparison["value"] == comparison["valueTwo"]
            case "SCMP_CMP_EQ":
                return bool(actual == comparison["value"])
            case "SCMP_CMP_LT":
                return bool(actual < comparison["value"])
            case "SCMP_CMP_GT":
                return bool(actual > comparison["value"])
            case _:
                return bool(actual != comparison["value"])

    for rule in document["syscalls"]:
        if name in rule["names"] and all(holds(one) for one in rule.get("args", ())):
            return rule["action"], rule.get("errnoRet")
    return document["defaultAction"], document.get("defaultErrnoRet")


@pytest.mark.parametrize(
    "name",
    (
        "unshare mount umount2 setns fsopen move_mount open_tree keyctl add_key bpf reboot pivot_root perf_event_open "
        "io_uring_setup open_by_handle_at init_module swapon userfaultfd"
    ).split(),
)
def test_the_kernel_s_dangerous_calls_are_refused_by_default(name: str) -> None:
    assert verdict(profile(), name) == ("SCMP_ACT_ERRNO", 1)


@pytest.mark.parametrize("name", ["read", "openat2", "execve", "chroot", "ptrace", "futex", "memfd_create", "statx"])
def test_ordinary_calls_are_allowed(name: str) -> None:
    assert verdict(profile(), name) == ("SCMP_ACT_ALLOW", None)


@pytest.mark.parametrize("flag", [0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000])
def test_clone_makes_threads_and_processes_but_no_namespaces(flag: int) -> None:
    assert verdict(profile(), "clone", 0x3D0F00) == ("SCMP_ACT_ALLOW", None)
    assert verdict(profile(), "clone", 0x11) == ("SCMP_ACT_ALLOW", None)
    assert verdict(profile(), "clone", flag | 0x11) == ("SCMP_ACT_ERRNO", 1)


def test_clone3_is_absent_so_that_libraries_fall_back() -> None:
    assert verdict(profile(), "clone3") == ("SCMP_ACT_ERRNO", 38)


@pytest.mark.parametrize("family", [38, 40, 12, 46, 40 | 1 << 32])
def test_sockets_that_reach_the_host_are_refused(family: int) -> None:
    """Also when bits are set that the kernel does not look at."""
    assert verdict(profile(), "socket", family) == ("SCMP_ACT_ERRNO", 1)


@pytest.mark.parametrize("family", [1, 2, 10, 16, 17, 45])
def test_other_sockets_work(family: int) -> None:
    assert verdict(profile(), "socket", family) == ("SCMP_ACT_ALLOW", None)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="socketcall(2) is the way around on x86 only")
def test_socketcall_is_for_images_of_its_time() -> None:
    assert verdict(profile(), "socketcall", 1) == ("SCMP_ACT_ERRNO", 1)
    old = json.loads(bytes(profiles.default_profile(frozenset(DEFAULT), socketcall=True)))
    assert verdict(old, "socketcall", 1) == ("SCMP_ACT_ALLOW", None)


@pytest.mark.parametrize(
    ("capability", "name"),
    [
        ("CAP_SYS_ADMIN", "unshare"),
        ("CAP_SYS_ADMIN", "mount"),
        ("CAP_SYS_ADMIN", "clone"),
        ("CAP_SYS_ADMIN", "clone3"),
        ("CAP_SYS_ADMIN", "bpf"),
        ("CAP_SYSLOG", "syslog"),
        ("CAP_BPF", "bpf"),
        ("CAP_PERFMON", "perf_event_open"),
        ("CAP_SYS_BOOT", "reboot"),
        ("CAP_SYS_TIME", "settimeofday"),
    ],
)
def test_capabilities_open_what_docker_opens_with_them(capability: str, name: str) -> None:
    assert verdict(profile(capability), name, 0x10000000)[0] == "SCMP_ACT_ALLOW"
    assert verdict(profile("CAP_SYS_ADMIN" if capability != "CAP_SYS_ADMIN" else "CAP_KILL"), "keyctl")[0] != (
        "SCMP_ACT_ALLOW"
    )


def test_no_call_is_allowed_and_refused_at_once() -> None:
    """libseccomp refuses to load two actions for the same comparison (EEXIST)."""
    for capabilities in (frozenset(DEFAULT), frozenset(ALL), frozenset[str]()):
        document = json.loads(bytes(profiles.default_profile(capabilities)))
        plain: dict[str, str] = {}
        for rule in document["syscalls"]:
            if not rule.get("args"):
                for name in rule["names"]:
                    assert plain.setdefault(name, rule["action"]) == rule["action"], name


def test_the_default_is_encoded_once_per_set_of_capabilities() -> None:
    assert profiles.default_profile(frozenset(DEFAULT)) is profiles.default_profile(frozenset(DEFAULT))


def test_a_custom_profile_keeps_its_rules() -> None:
    text = json.dumps(
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
            "syscalls": [
                {"name": "chmod", "action": "SCMP_ACT_ERRNO", "errnoRet": 13},
                {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_KILL"]}},
                {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "excludes": {"minKernel": "3.0"}},
            ],
        }
    )
    document = json.loads(bytes(profiles.custom_profile(text, frozenset())))
    assert document["defaultAction"] == "SCMP_ACT_ALLOW"
    assert [rule["names"] for rule in document["syscalls"]] == [["chmod"]]
    assert document["syscalls"][0]["errnoRet"] == 13


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"defaultAction": "NO"}',
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": 3}',
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["x y"], "action": "SCMP_ACT_ALLOW"}]}',
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["kill"], "action": "SCMP_ACT_NOTIFY"}]}',
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["a"], "name": "b", "action": "SCMP_ACT_LOG"}]}',
        '{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 99999}',
        '{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], '
        '"archMap": [{"architecture": "SCMP_ARCH_X86"}]}',
        "[" * 100_000,
    ],
)
def test_what_is_no_profile_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter):
        profiles.custom_profile(text, frozenset())


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["defaultAction", "syscalls", "names", "args", "archMap", "flags"]), inner
            )
        ),
    )
)
def test_any_json_is_a_profile_or_refused(document: Any) -> None:
    with contextlib.suppress(InvalidParameter):
        made = msgspec.json.decode(profiles.custom_profile(json.dumps(document), frozenset()))
        assert made["defaultAction"] == document["defaultAction"]
