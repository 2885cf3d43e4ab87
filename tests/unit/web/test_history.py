"""Rates, and a day of them kept small."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from darse.client import EngineEndpoint
from darse.client.asynchronous import AsyncClient
from darse.web.history import HOST, UsageHistory
from darse.wire.observation import ContainerUsage, HostUsage, UsageSample


def sample(second: float, *containers: ContainerUsage, **host: int) -> UsageSample:
    values = {
        "CPU": 0,
        "CPUs": 2,
        "Memory": 100,
        "MemoryTotal": 1000,
        "Received": 0,
        "Sent": 0,
        "Read": 0,
        "Written": 0,
    }
    return UsageSample(int(second * 1e9), HostUsage(**{**values, "Disk": 1, "DiskTotal": 2, **host}), list(containers))


def container(name: str, **values: Any) -> ContainerUsage:
    usual = {"CPU": 0, "Memory": 10, "MemoryLimit": 100, "Received": 0, "Sent": 0, "Read": 0, "Written": 0}
    return ContainerUsage(Id=name, Name=name, Processes=1, **{**usual, **values})


def history() -> UsageHistory:
    return UsageHistory(AsyncClient(EngineEndpoint("unix:///nowhere")))


def test_rates_are_taken_between_two_samples() -> None:
    taken = history()
    taken.take(sample(10, container("a", CPU=10**9, Received=100)))
    assert taken.newest("a") is None
    taken.take(sample(12, container("a", CPU=2 * 10**9, Received=300, Memory=77), CPU=4 * 10**9))
    newest = taken.newest("a")
    assert newest is not None
    assert (newest.cpu, newest.memory, newest.received, newest.sent) == (50, 77, 100, 0)
    host = taken.newest(HOST)
    assert host is not None
    assert host.cpu == 200


def test_a_container_that_has_started_again_has_no_rate_at_once() -> None:
    taken = history()
    taken.take(sample(1, container("a", CPU=5 * 10**9)))
    taken.take(sample(2, container("a", CPU=6 * 10**9)))
    taken.take(sample(3, container("a", CPU=10**8)))
    assert len(taken.points("a")) == 1
    assert taken.newest("a") is None
    taken.take(sample(4, container("a", CPU=2 * 10**8)))
    assert taken.points("a")[-1][1].cpu == 10


def test_a_sample_that_comes_twice_is_taken_once() -> None:
    taken = history()
    for _ in range(3):
        taken.take(sample(1))
    assert taken.points(HOST) == []


def test_a_day_takes_a_few_kilobytes() -> None:
    taken = history()
    for second in range(0, 25 * 3600, 25):
        taken.take(sample(second, container("a", CPU=second * 10**7)))
    points = taken.points("a")
    times = [moment for moment, _ in points]
    assert times == sorted(times)
    assert 24 * 3600 - 3600 <= times[-1] - times[0] <= 25 * 3600
    assert len(points) < 420
    assert {round(point.cpu, 2) for _, point in points} == {1}
    series = taken._series["a"]
    kept = sum(len(ring._values) * 4 + len(ring._times) * 8 for ring in (series._fine, series._coarse))
    assert kept < 14_000


def test_series_of_containers_long_gone_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darse.web.history._MOST_SERIES", 20)
    taken = history()
    for second in range(0, 100, 2):
        taken.take(sample(second, container(f"c{second}")))
        taken.take(sample(second + 1, container(f"c{second}", CPU=1)))
    assert len(taken._series) <= 20
    assert taken.points("c0") == []
    assert taken.points("c98")


async def test_viewers_get_each_sample() -> None:
    taken = history()
    following = taken.follow()
    first = asyncio.ensure_future(anext(following))
    await asyncio.sleep(0)
    taken.take(sample(1, container("a")))
    taken.take(sample(2, container("a")))
    moment, points = await first
    assert moment == 2
    assert set(points) == {HOST, "a"}
    await following.aclose()
    assert not taken._viewers
