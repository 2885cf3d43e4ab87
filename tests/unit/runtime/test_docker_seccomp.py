"""The default profile, call by call, against what docker's grants."""

from __future__ import annotations

import json
import platform
from typing import Any

import pytest

from darse.runtime.oci.capabilities import ALL, DEFAULT
from darse.runtime.seccomp import profiles
from tests.unit.runtime import docker_seccomp as docker

pytestmark = [
    pytest.mark.skipif(not profiles.DEFAULT_PROFILE.exists(), reason="containers-common is not installed"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="docker's calls are written down for x86-64"),
]
# What ours grants and docker's does not, and the other way round, each with its reason.
MORE: dict[str, str] = {}
LESS = {
    "socketcall": "hides the family, so that AF_ALG and AF_VSOCK would open; images for 32-bit x86 have it",
}

SETS = [
    frozenset(DEFAULT),
    frozenset(ALL),
    frozenset[str](),
    *(frozenset({*DEFAULT, one}) for one in docker.BY_CAPABILITY),
]


def rules(capabilities: frozenset[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(bytes(profiles.default_profile(capabilities)))["syscalls"]
    return found


def granted(capabilities: frozenset[str]) -> set[str]:
    """The calls that are allowed whatever their arguments."""
    return {
        name
        for rule in rules(capabilities)
        if rule["action"] == "SCMP_ACT_ALLOW" and not rule.get("args")
        for name in rule["names"]
    }


def by_docker(capabilities: frozenset[str]) -> set[str]:
    more = (names.split() for capability, names in docker.BY_CAPABILITY.items() if capability in capabilities)
    return docker.TO_ALL.union(docker.ON_AMD64, *more)


@pytest.mark.parametrize("capabilities", SETS, ids=lambda one: f"{len(one)}-{max(one, default='none')}")
def test_every_difference_has_a_reason(capabilities: frozenset[str]) -> None:
    ours, theirs = granted(capabilities), by_docker(capabilities)
    assert ours - theirs == set(MORE)
    assert theirs - ours == set(LESS)


def test_arguments_decide_for_the_same_calls() -> None:
    compared = {name for rule in rules(frozenset(DEFAULT)) if rule.get("args") for name in rule["names"]}
    assert compared == docker.BY_ARGUMENT


def test_the_same_families_and_personalities() -> None:
    def allowed(name: str, value: int) -> bool:
        compare = {"SCMP_CMP_EQ": int.__eq__, "SCMP_CMP_LT": int.__lt__, "SCMP_CMP_GT": int.__gt__}
        holding = {
            rule["action"]
            for rule in rules(frozenset(DEFAULT))
            if rule["names"] == [name] and compare[rule["args"][0]["op"]](value, rule["args"][0]["value"])
        }
        assert len(holding) < 2, "libseccomp takes one action for one comparison"
        return holding == {"SCMP_ACT_ALLOW"}

    assert {family for family in range(1 << 12) if allowed("socket", family)} == docker.SOCKET_FAMILIES
    values = {*range(1 << 10), *docker.PERSONALITIES, 0x40000, 0x20001}
    assert {value for value in values if allowed("personality", value)} == docker.PERSONALITIES
