"""What an update makes of a host configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from darse.containers.lifecycle.update import merged
from darse.core.errors import Conflict, InvalidParameter
from darse.testing.room import container_room
from darse.wire.host_config import HostConfig, RestartPolicy, ThrottleDevice

MIB = 1 << 20


def test_what_is_not_named_stays() -> None:
    before = HostConfig(Memory=64 * MIB, MemorySwap=128 * MIB, CpuShares=512, PidsLimit=5, Binds=["a:/a"])
    assert merged(before, HostConfig()) == before
    after = merged(before, HostConfig(CpuShares=100, PidsLimit=-1))
    assert (after.CpuShares, after.PidsLimit, after.Memory, after.Binds) == (100, 0, 64 * MIB, ["a:/a"])
    assert before.CpuShares == 512


@pytest.mark.parametrize(
    ("before", "wanted", "kind", "said"),
    [
        ({"NanoCpus": 10**9}, {"CpuPeriod": 1000}, Conflict, "CPU Period cannot be updated as NanoCPUs has already"),
        ({"NanoCpus": 10**9}, {"CpuQuota": 1000}, Conflict, "CPU Quota cannot be updated as NanoCPUs has already"),
        ({"CpuPeriod": 1000}, {"NanoCpus": 10**9}, Conflict, "Nano CPUs cannot be updated as CPU Period has already"),
        ({"CpuQuota": 1000}, {"NanoCpus": 10**9}, Conflict, "Nano CPUs cannot be updated as CPU Quota has already"),
        (
            {"Memory": 64 * MIB, "MemorySwap": 128 * MIB},
            {"Memory": 129 * MIB},
            Conflict,
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ),
        ({"Memory": 64 * MIB}, {"MemorySwap": 32 * MIB}, InvalidParameter, "Minimum memoryswap limit should be larger"),
        ({}, {"MemorySwap": 32 * MIB}, InvalidParameter, "You should always set the Memory limit"),
        ({"MemoryReservation": 64 * MIB}, {"Memory": 32 * MIB}, InvalidParameter, "less than memory reservation"),
        (
            {"AutoRemove": True},
            {"RestartPolicy": RestartPolicy("always")},
            Conflict,
            "Restart policy cannot be updated because AutoRemove is enabled for the container",
        ),
    ],
)
def test_contradictions_are_refused(
    before: dict[str, Any], wanted: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        merged(HostConfig(**before), HostConfig(**wanted))


def test_both_memory_limits_can_grow_together() -> None:
    before = HostConfig(Memory=64 * MIB, MemorySwap=128 * MIB)
    assert merged(before, HostConfig(Memory=256 * MIB, MemorySwap=-1)).MemorySwap == -1
    assert merged(before, HostConfig(Memory=256 * MIB, MemorySwap=512 * MIB)).Memory == 256 * MIB


def test_a_list_of_devices_replaces_what_is_set_and_an_empty_one_takes_it_away() -> None:
    first, second = [ThrottleDevice("/dev/a", 1)], [ThrottleDevice("/dev/b", 2)]
    before = HostConfig(BlkioDeviceReadBps=first, BlkioDeviceWriteBps=first, BlkioDeviceReadIOps=first)
    after = merged(before, HostConfig(BlkioDeviceReadBps=second, BlkioDeviceWriteBps=[]))
    assert (after.BlkioDeviceReadBps, after.BlkioDeviceWriteBps, after.BlkioDeviceReadIOps) == (second, None, first)


async def test_what_a_newer_engine_was_changing_is_left_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with container_room(tmp_path) as room:
        container = room.add()
        mark = room.dependencies.files.of(container.id).bundle.directory / "updating"
        mark.parent.mkdir(parents=True)
        for kept, left in ((b'{"document_version": 2}', True), (b"{}", False), (b'{"document_version": 1}', False)):
            mark.write_bytes(kept)
            room.service.lifecycle.updates.recover(container)
            assert mark.exists() is left
    assert [record.getMessage().count("keeps the limits that it has") for record in caplog.records] == [1]
