"""`/containers/{id}/stats`: samples in the API's form."""

import json

import msgspec

from darse.api.routes.observation import stats_response
from darse.containers.stats.service import StatsSample
from darse.runtime.cgroups.stats import CgroupUsage
from darse.wire.observation import BlkioStats, CPUStats, CPUUsage, MemoryStats, NetworkStats, PidsStats, ThrottlingData


def _usage(taken_ns: int, cpu_ns: int, networks: dict[str, NetworkStats] | None = None) -> CgroupUsage:
    cpu = CPUStats(CPUUsage(total_usage=cpu_ns, usage_in_kernelmode=1, usage_in_usermode=cpu_ns - 1), ThrottlingData())
    return CgroupUsage(taken_ns, cpu, MemoryStats(usage=4096), PidsStats(current=3), BlkioStats(), networks)


def _document(sample: StatsSample) -> dict:
    return json.loads(msgspec.json.encode(stats_response(sample)))


def test_a_sample_has_the_one_before_it_for_rates():
    shown = _document(StatsSample("id", "web", _usage(2_000_000_000, 70), _usage(1_000_000_000, 20)))
    assert (shown["id"], shown["name"]) == ("id", "/web")
    assert (shown["preread"], shown["read"]) == ("1970-01-01T00:00:01Z", "1970-01-01T00:00:02Z")
    assert shown["precpu_stats"]["cpu_usage"]["total_usage"] == 20
    assert shown["cpu_stats"]["cpu_usage"]["total_usage"] == 70
    assert (shown["memory_stats"]["usage"], shown["pids_stats"]["current"]) == (4096, 3)


def test_the_first_sample_has_none_before_it():
    shown = _document(StatsSample("id", "web", _usage(2_000_000_000, 70), None))
    assert shown["preread"] == "0001-01-01T00:00:00Z"
    assert shown["precpu_stats"]["cpu_usage"]["total_usage"] == 0


def test_a_container_that_does_not_run_has_zeros():
    shown = _document(StatsSample("id", "web", None, _usage(1_000_000_000, 20)))
    assert shown["read"] == "0001-01-01T00:00:00Z"
    assert shown["cpu_stats"]["cpu_usage"]["total_usage"] == 0
    assert not any(shown["memory_stats"].values())


def test_the_network_of_the_host_is_not_the_containers():
    assert "networks" not in _document(StatsSample("id", "web", _usage(1, 2), None))
    counters = NetworkStats(**dict.fromkeys(NetworkStats.__struct_fields__, 0))
    assert "eth0" in _document(StatsSample("id", "web", _usage(1, 2, {"eth0": counters}), None))["networks"]
