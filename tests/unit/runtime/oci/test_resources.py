from __future__ import annotations

from typing import Any

import pytest

from darse.runtime.oci.resources import linux_resources
from darse.wire.host_config import HostConfig
from tests.unit.runtime.facts import facts

MIB = 1 << 20


def resources(**options: Any) -> dict[str, Any]:
    found = linux_resources(HostConfig(**options), [], facts())
    del found["devices"]
    return found


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {}),
        ({"Memory": 64 * MIB}, {"memory": {"limit": 64 * MIB, "swap": 128 * MIB}}),
        ({"Memory": 64 * MIB, "MemorySwap": -1}, {"memory": {"limit": 64 * MIB, "swap": -1}}),
        ({"Memory": 64 * MIB, "MemorySwap": 64 * MIB}, {"memory": {"limit": 64 * MIB, "swap": 64 * MIB}}),
        ({"Memory": 2**63 - 1}, {"memory": {"limit": 2**63 - 1, "swap": 2**63 - 1}}),
        ({"MemoryReservation": 9 * MIB}, {"memory": {"reservation": 9 * MIB}}),
        ({"MemorySwappiness": 0}, {"memory": {"swappiness": 0}}),
        ({"MemorySwappiness": -1}, {}),
        ({"OomKillDisable": True}, {"memory": {"disableOOMKiller": True}}),
        ({"NanoCpus": 1_500_000_000}, {"cpu": {"period": 100_000, "quota": 150_000}}),
        ({"CpuPeriod": 50_000, "CpuQuota": 25_000}, {"cpu": {"period": 50_000, "quota": 25_000}}),
        ({"CpuShares": 512}, {"cpu": {"shares": 512}}),
        ({"CpuShares": 1}, {"cpu": {"shares": 2}}),
        ({"CpuShares": 2**62}, {"cpu": {"shares": 262_144}}),
        ({"CpusetCpus": "0-1", "CpusetMems": "0"}, {"cpu": {"cpus": "0-1", "mems": "0"}}),
        ({"PidsLimit": 100}, {"pids": {"limit": 100}}),
        ({"PidsLimit": 0}, {}),
        ({"PidsLimit": -1}, {}),
        ({"PidsLimit": 2**62}, {}),
        ({"BlkioWeight": 300}, {"blockIO": {"weight": 300}}),
    ],
)
def test_limits(options: dict[str, Any], expected: dict[str, Any]) -> None:
    assert resources(**options) == expected


def test_what_the_host_has_no_controller_for_is_left_out() -> None:
    assert "pids" not in linux_resources(HostConfig(PidsLimit=5), [], facts(controllers=frozenset()))
