"""Requests of older clients: what their version lacks is neither done nor refused, and what it must not ask is.

Answers are held against moby's history by tests/system/conformance/test_versions.py, with a real engine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from darse.api import versions
from darse.api.app import MINIMUM_VERSION
from darse.api.errors import API_VERSION
from darse.api.versions import Version
from darse.core.errors import InvalidParameter
from darse.core.events import Actor, Event
from darse.wire.containers import ContainerInspect, CreateRequest
from darse.wire.observation import UpdateRequest

ALL: list[Version] = [(1, minor) for minor in range(MINIMUM_VERSION[1], API_VERSION[1] + 1)]
FULL = {
    "Image": "a",
    "Healthcheck": {"Test": ["CMD", "true"], "StartInterval": 5},
    "HostConfig": {
        "KernelMemory": 1,
        "KernelMemoryTCP": 1,
        "ConsoleSize": [24, 80],
        "Annotations": {"a": "b"},
        "Mounts": [
            {"Type": "bind", "BindOptions": {"NonRecursive": True, "CreateMountpoint": True}, "VolumeOptions": {}},
            {"Type": "bind", "BindOptions": {"ReadOnlyNonRecursive": True}},
            {"Type": "tmpfs", "TmpfsOptions": {"SizeBytes": 9, "Options": [["exec"]]}},
        ],
    },
    "NetworkingConfig": {"EndpointsConfig": {"net": {"MacAddress": "02:00:00:00:00:01"}}},
}


def create(version: Version, **changes: Any) -> CreateRequest:
    request = msgspec.convert({**FULL, **changes}, CreateRequest)
    versions.create_request(version, request)
    return request


@pytest.mark.parametrize("version", ALL, ids=lambda version: f"1.{version[1]}")
def test_what_is_made_of_a_request_is_what_its_version_means(version: Version) -> None:
    """Done again it changes nothing more: so nothing depends on where in the engine it is done."""
    request = create(version)
    once = msgspec.json.encode(request)
    versions.create_request(version, request)
    assert msgspec.json.encode(request) == once
    for change in (UpdateRequest(PidsLimit=5), UpdateRequest(BlkioDeviceReadBps=[])):
        versions.update_request(version, change)
        once = msgspec.json.encode(change)
        versions.update_request(version, change)
        assert msgspec.json.encode(change) == once


@pytest.mark.parametrize(
    ("look", "since", "before", "after"),
    [
        (lambda request: request.HostConfig.IpcMode, 40, "shareable", ""),
        (lambda request: request.HostConfig.ConsoleSize, 42, None, [24, 80]),
        (lambda request: request.HostConfig.KernelMemory, 42, 1, msgspec.UNSET),
        (lambda request: request.HostConfig.Annotations, 43, None, {"a": "b"}),
        (lambda request: request.Healthcheck.StartInterval, 44, 0, 5),
        (lambda request: _endpoint(request).MacAddress, 44, "", "02:00:00:00:00:01"),
        (lambda request: request.HostConfig.Mounts[0].BindOptions.NonRecursive, 40, False, True),
        (lambda request: request.HostConfig.Mounts[0].BindOptions.CreateMountpoint, 42, False, True),
        (lambda request: request.HostConfig.Mounts[0].VolumeOptions is None, 42, True, False),
        (lambda request: request.HostConfig.Mounts[1].BindOptions.ReadOnlyNonRecursive, 44, False, True),
        (lambda request: request.HostConfig.Mounts[2].TmpfsOptions.Options, 46, None, [["exec"]]),
    ],
)
def test_members_that_a_version_has_not(
    look: Callable[[CreateRequest], Any], since: int, before: Any, after: Any
) -> None:
    for version in ALL:
        expected = after if version >= (1, since) else before
        assert look(create(version)) == expected, version


def _endpoint(request: CreateRequest) -> Any:
    return (request.NetworkingConfig.EndpointsConfig or {})["net"]


@pytest.mark.parametrize(
    ("change", "first", "last", "words"),
    [
        ({"NetworkingConfig": {"EndpointsConfig": {"b": {}, "a": {}}}}, 24, 43, "multiple network endpoints: a, b"),
        ({"MacAddress": "02:00:00:00:00:01"}, 52, 55, "no longer supported"),
        (
            {"HostConfig": {"Mounts": [{"Type": "bind", "BindOptions": {"ReadOnlyForceRecursive": True}}]}},
            *(24, 43),
            "needs API v1.44",
        ),
        ({"HostConfig": {"Mounts": [{"Type": "volume", "VolumeOptions": {"Subpath": "x"}}]}}, 24, 44, "v1.45"),
        ({"HostConfig": {"Mounts": [{"Type": "image", "Source": "a"}]}}, 24, 47, "v1.48"),
    ],
)
def test_what_would_mean_something_else_is_refused(change: dict[str, Any], first: int, last: int, words: str) -> None:
    """Passed over, a container would write where it must not, or be on another network than it was asked to."""
    for version in ALL:
        if first <= version[1] <= last:
            with pytest.raises(InvalidParameter, match=words):
                create(version, **change)
        else:
            create(version, **change)


def test_every_feature_is_one_of_a_version_that_there_is() -> None:
    for feature in (*versions._SINCE, *versions._UNTIL):
        having = [version for version in ALL if versions.has(version, feature)]
        assert having, feature
        # Without a gap: once it has come, or gone, it stays so.
        assert having in (ALL[: len(having)], ALL[-len(having) :]), feature


def test_media_types_of_events_are_offered_the_newest_first() -> None:
    assert versions.event_streams((1, 51)) == []
    assert versions.event_streams((1, 52)) == ["application/x-ndjson", "application/json-seq"]
    assert versions.event_streams(API_VERSION)[0] == "application/jsonl"


def test_an_event_that_others_see_too_is_not_changed() -> None:
    published = Event("container", "start", Actor("c", {}), "local", 1, 1, status="start", id="c", from_="a")
    shown = versions.event(API_VERSION, published)
    assert (shown.status, shown.id, shown.from_) == ("", "", "")
    assert (published.status, published.id, published.from_) == ("start", "c", "a")
    assert versions.event((1, 51), published) is published


_STATE = dict.fromkeys(("Running", "Paused", "Restarting", "OOMKilled", "Dead"), False) | {
    **dict.fromkeys(("Status", "Error", "StartedAt", "FinishedAt"), ""),
    **dict.fromkeys(("Pid", "ExitCode"), 0),
}


@pytest.mark.parametrize("version", [(1, 44), (1, 45)])
def test_names_of_an_old_inspect_are_each_there_once(version: Version) -> None:
    networks = {"bridge": {"Aliases": None}, "own": {"Aliases": ["db", "c" * 12, "db"]}, "bare": {"Aliases": None}}
    found = msgspec.convert(
        {
            **dict.fromkeys("Created Path Image ResolvConfPath HostnamePath HostsPath LogPath Name Driver".split(), ""),
            **{"Platform": "", "Id": "c" * 64, "Args": [], "State": _STATE, "RestartCount": 0, "HostConfig": {}},
            **{
                "GraphDriver": {"Name": "", "Data": {}},
                "Mounts": [],
                "Config": {},
                "NetworkSettings": {"Networks": networks},
            },
        },
        ContainerInspect,
    )
    shown = versions.container_inspect(version, found)["NetworkSettings"]["Networks"]
    aliases = {name: one["Aliases"] for name, one in shown.items()}
    if version < (1, 45):
        assert aliases == {"bridge": None, "own": ["db", "c" * 12], "bare": ["c" * 12]}
    else:
        assert aliases == {"bridge": None, "own": ["db", "c" * 12, "db"], "bare": None}
