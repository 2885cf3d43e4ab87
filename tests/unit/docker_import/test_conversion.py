"""docker's records, as what is asked for here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from darse.containers.model import Status
from darse.core.errors import InvalidParameter
from darse.docker_import import conversion
from darse.docker_import.records import DockerContainer, DockerImage, DockerNetwork, decoded
from darse.docker_import.service import _above, _in_order, _without_steps
from darse.wire.host_config import HostConfig

_ID = "ab" * 32


async def fill(upper: Path) -> None:
    """No files."""


def network(**members: Any) -> DockerNetwork:
    document = {"name": "front", "id": _ID, "networkType": "bridge", "labels": None, **members}
    return decoded(msgspec.json.encode(document), DockerNetwork, "it")


def container(host: dict[str, Any] | None = None, **members: Any) -> tuple[DockerContainer, HostConfig]:
    document = {"ID": _ID, "Name": "/web", "Created": "2026-01-02T03:04:05.000000006Z", "Image": "sha256:12", **members}
    return (
        decoded(msgspec.json.encode(document), DockerContainer, "it"),
        decoded(msgspec.json.encode(host or {}), HostConfig, "it"),
    )


_ASKED = '[{"PreferredPool":"10.1.0.0/24","SubPool":"10.1.0.128/25","Gateway":"","AuxAddresses":null}]'
_GIVEN = '[{"IPAMData":"{\\"Pool\\":\\"10.1.0.0/24\\",\\"Gateway\\":\\"10.1.0.1/24\\"}"}]'


def test_a_network_has_the_subnets_that_it_had() -> None:
    request = conversion.network_request(network(ipamV4Config=_ASKED, ipamV4Info=_GIVEN))
    assert request.IPAM is not None
    assert request.IPAM.Config is not None
    (pool,) = request.IPAM.Config
    assert (pool.Subnet, pool.IPRange, pool.Gateway) == ("10.1.0.0/24", "10.1.0.128/25", "10.1.0.1")


def test_a_subnet_that_docker_chose_may_be_left_out() -> None:
    found = network(ipamV4Config="", ipamV4Info=_GIVEN)
    chosen, free = conversion.network_request(found), conversion.network_request(found, chosen=False)
    assert chosen.IPAM is not None
    assert free.IPAM is not None
    assert [pool.Subnet for pool in chosen.IPAM.Config or ()] == ["10.1.0.0/24"]
    assert free.IPAM.Config == []


@pytest.mark.parametrize("text", ['{"a":', '[{"PreferredPool":"10.1.0.0.0/24"}]', '[{"PreferredPool":7}]', "[1]"])
def test_a_damaged_pool_is_an_error(text: str) -> None:
    with pytest.raises(InvalidParameter, match="the record of network front is damaged"):
        conversion.network_request(network(ipamV4Config=text))


def test_mounts_that_no_option_names_are_kept_by_their_volumes() -> None:
    points = {
        "/data": {"Type": "volume", "Name": "named", "Destination": "/data", "Driver": "local", "RW": True},
        "/own": {"Type": "volume", "Name": "f" * 64, "Destination": "/own", "Driver": "local", "RW": True},
        "/other": {"Type": "volume", "Name": "e" * 64, "Destination": "/other", "Driver": "local", "RW": False},
        "/host": {"Type": "bind", "Source": "/srv", "Destination": "/host", "RW": True},
        "/tmp": {"Type": "tmpfs", "Destination": "/tmp"},
    }
    found, host = container(
        {"Binds": ["named:/data", "/srv:/host"]}, MountPoints=points, Config={"Volumes": {"/own": {}}, "Cmd": ["x"]}
    )
    plans = {plan.destination: plan for plan in conversion.adopted(found, host, fill).mounts}
    assert set(plans) == {"/data", "/own", "/other", "/host"}
    assert (plans["/own"].anonymous, plans["/own"].name) == (True, "f" * 64)
    assert (plans["/other"].from_container, plans["/other"].rw, plans["/other"].anonymous) == (True, False, False)
    assert not plans["/data"].from_container
    assert plans["/host"].source == "/srv"


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        ({"Destination": "/"}, "destination can't be '/'"),
        ({"Destination": "/.."}, "destination can't be '/'"),
        ({"Destination": "data"}, "must be absolute"),
        ({"Destination": "/a\0b"}, "NUL"),
        ({"Source": "../etc"}, "must be absolute"),
        ({"Source": "/a\0b"}, "must be absolute"),
        ({"Propagation": "sideways"}, "invalid propagation mode"),
    ],
)
def test_damaged_mounts_are_refused(point: dict[str, Any], reason: str) -> None:
    found, host = container(
        MountPoints={"/host": {"Type": "bind", "Source": "/srv", "Destination": "/host", "RW": True, **point}}
    )
    with pytest.raises(InvalidParameter, match=reason):
        conversion.adopted(found, host, fill)


@pytest.mark.parametrize("members", [{"RestartCount": 10**30}, {"State": {"ExitCode": 10**30}}])
def test_numbers_that_no_client_can_read_are_damaged(members: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter, match="it is damaged"):
        container(**members)


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [
        ({}, Status.CREATED, 0),
        ({"StartedAt": "0001-01-01T00:00:00Z"}, Status.CREATED, 0),
        ({"StartedAt": "2026-01-01T00:00:00Z", "FinishedAt": "2026-01-01T00:00:09Z", "ExitCode": 3}, Status.EXITED, 3),
        # Its engine was killed with it.
        (
            {"StartedAt": "2026-01-01T00:00:00Z", "FinishedAt": "0001-01-01T00:00:00Z", "Running": True},
            Status.EXITED,
            137,
        ),
    ],
)
def test_the_last_end_is_kept(state: dict[str, Any], status: Status, code: int) -> None:
    found, host = container(State=state)
    kept = conversion.adopted(found, host, fill).state
    assert (kept.status, kept.exit_code) == (status, code)
    assert kept.finished_ns >= kept.started_ns


@pytest.mark.parametrize(
    ("policy", "by_hand", "starts"),
    [
        ("always", True, True),
        ("unless-stopped", True, False),
        ("unless-stopped", False, True),
        ("on-failure", False, False),
    ],
)
def test_which_containers_docker_would_start(policy: str, by_hand: bool, starts: bool) -> None:
    found, host = container({"RestartPolicy": {"Name": policy}}, HasBeenManuallyStopped=by_hand)
    assert conversion.is_started(found, host) is starts


def test_containers_come_after_those_that_they_need() -> None:
    needs = {"a": ["c"], "b": ["a", "c", "gone"], "c": [], "x": ["y"], "y": ["x"]}
    ordered = list(_in_order(list(needs), lambda one: (one,), lambda one: needs[one]))
    assert sorted(ordered) == sorted(needs)
    assert ordered.index("c") < ordered.index("a") < ordered.index("b")
    _, host = container({"NetworkMode": "container:net", "Links": ["/db:/web/db"], "VolumesFrom": ["vols:ro"]})
    assert conversion.depends_on(container()[0], host) == {"net", "db", "vols"}


def test_steps_of_builds_without_a_name_are_left_out() -> None:
    images = [
        DockerImage("base", b"", [], "", ["base:v1"]),
        DockerImage("step", b"", [], "base", []),
        DockerImage("used", b"", [], "step", []),
        DockerImage("top", b"", [], "used", []),
    ]
    assert [one.id for one in _without_steps(images, {"used"})] == ["base", "used", "top"]
    parents = {one.id: one.parent for one in images}
    assert _above("top", parents) == ["used", "step", "base"]
    assert _above("a", {"a": "b", "b": "a"}) == ["b", "a"]


def test_each_of_a_long_chain_is_asked_once_for_what_it_needs() -> None:
    asked: list[int] = []

    def needs(one: int) -> list[str]:
        asked.append(one)
        return [str(above) for above in range(one + 1, 300)]

    assert list(_in_order(list(range(300)), lambda one: (str(one),), needs)) == list(range(299, -1, -1))
    assert len(asked) == 300
