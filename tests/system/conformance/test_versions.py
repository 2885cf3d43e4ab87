"""What each version of the API sends and takes, held against moby's "Engine API version history".

A row is a version, a request, and what must be true of the answer. Rows come in pairs, on both sides of a change.
"""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.support.crafted import crafted_image
from tests.support.engine import BUSYBOX, Engine
from tests.support.http import Response
from tests.support.waiting import wait_until
from tests.system.images.test_names_in_archives import archive

ABSENT = object()
SLEEP = {"Image": BUSYBOX, "Cmd": ["sleep", "99"]}
OF_CONTAINERS = "Hostname Domainname AttachStdin AttachStdout AttachStderr Tty OpenStdin StdinOnce Image".split()
THOUGH_EMPTY = "Cmd Entrypoint Env Labels OnBuild User Volumes WorkingDir".split()


@pytest.fixture(scope="module")
def prepared(session_engine: Engine) -> Iterator[Engine]:
    """An engine with a container on each kind of network, and images with and without names and dates."""
    engine, api = session_engine, session_engine.api
    if engine.process is None or engine.process.poll() is not None:
        engine.up()
    for content in (archive("bare:1"), archive(layers=(bytes(10240),))):
        api("POST", "/images/load", content)
    api("POST", "/images/load", crafted_image("crafted"))
    api("POST", "/networks/create", {"Name": "own"})
    annotated = {"HostConfig": {"NetworkMode": "own", "Annotations": {"a": "b"}}, "Labels": {"seen": "1"}}
    api("POST", "/containers/create?name=seen", {**SLEEP, **annotated})
    api("POST", "/containers/create?name=plain", SLEEP)
    for name in ("seen", "plain"):
        assert api("POST", f"/containers/{name}/start").status == 204
    yield engine
    engine.remove_all()
    for one in api("GET", "/images/json").json():
        if BUSYBOX + ":latest" not in one["RepoTags"]:
            api("DELETE", f"/images/{one['Id']}?force=1")


def at(document: Any, path: str) -> Any:
    """What is at a path of member names and numbers."""
    for part in path.split(".") if path else ():
        if isinstance(document, list):
            document = document[int(part)]
        elif part in document:
            document = document[part]
        else:
            return ABSENT
    return document


Row = tuple[str, str, str, object]
UNNAMED = '/images/json?filters={"dangling":["true"]}'
NAMED = '/images/json?filters={"reference":["builtin/busybox"]}'
SEEN = '/containers/json?filters={"label":["seen"]}'
INSPECTED: list[Row] = [
    ("1.24", "/images/bare:1/json", "Created", "0001-01-01T00:00:00Z"),
    ("1.43", "/images/bare:1/json", "Created", "0001-01-01T00:00:00Z"),
    ("1.44", "/images/bare:1/json", "Created", ABSENT),
    ("1.51", "/images/bare:1/json", "Created", ABSENT),
    ("1.32", "/images/bare:1/json", "Container", ""),
    ("1.44", "/images/bare:1/json", "ContainerConfig.Hostname", ""),
    ("1.44", "/images/bare:1/json", "ContainerConfig.Cmd", None),
    ("1.45", "/images/bare:1/json", "Container", ABSENT),
    ("1.45", "/images/bare:1/json", "ContainerConfig", ABSENT),
    ("1.41", "/images/bare:1/json", "Os", "linux"),
    ("1.47", "/images/bare:1/json", "Descriptor", ABSENT),
    ("1.47", UNNAMED, "0.Descriptor", ABSENT),
    ("1.42", UNNAMED, "0.RepoTags", ["<none>:<none>"]),
    ("1.42", UNNAMED, "0.RepoDigests", ["<none>@<none>"]),
    ("1.43", UNNAMED, "0.RepoTags", []),
    ("1.43", UNNAMED, "0.RepoDigests", []),
    ("1.44", UNNAMED, "0.VirtualSize", ABSENT),
    ("1.44", "/images/bare:1/json", "VirtualSize", ABSENT),
    ("1.44", "/system/df", "Images.0.VirtualSize", ABSENT),
    ("1.24", NAMED, "0.Containers", -1),
    ("1.50", NAMED, "0.Containers", -1),
    ("1.51", NAMED, "0.Containers", 2),
    ("1.41", NAMED + "&shared-size=1", "0.SharedSize", -1),
    ("1.46", NAMED + "&manifests=1", "0.Manifests", ABSENT),
    ("1.47", '/images/json?manifests=1&filters={"reference":["bare"]}', "0.Manifests.0.Kind", "image"),
    ("1.47", "/images/bare:1/json?manifests=1", "Manifests", ABSENT),
    ("1.48", "/images/bare:1/json?manifests=1", "Manifests.0.Kind", "image"),
    ("1.40", "/images/json?filter=bare", "0.RepoTags", ["bare:1"]),
    ("1.45", SEEN, "0.HostConfig.Annotations", ABSENT),
    ("1.46", SEEN, "0.HostConfig.Annotations", {"a": "b"}),
    ("1.45", "/containers/seen/json", "NetworkSettings.Networks.own.Aliases", None),
    ("1.51", "/containers/seen/json", "NetworkSettings.Networks.own.Aliases", None),
    ("1.44", "/containers/plain/json", "NetworkSettings.Networks.bridge.Aliases", None),
    ("1.24", "/info", "BridgeNfIptables", False),
    ("1.49", "/info", "BridgeNfIptables", False),
    ("1.49", "/info", "BridgeNfIp6tables", False),
    ("1.50", "/info", "BridgeNfIptables", ABSENT),
    ("1.46", "/info", "RegistryConfig.AllowNondistributableArtifactsCIDRs", None),
    ("1.46", "/info", "RegistryConfig.AllowNondistributableArtifactsHostnames", None),
    ("1.49", "/info", "RegistryConfig.AllowNondistributableArtifactsCIDRs", ABSENT),
    ("1.49", "/info", "RuncCommit.Expected", ABSENT),
    ("1.48", "/info", "FirewallBackend", ABSENT),
    ("1.49", "/info", "FirewallBackend.Driver", "nftables"),
    ("1.41", "/system/df", "BuilderSize", 0),
    ("1.42", "/system/df", "BuilderSize", ABSENT),
    ("1.41", "/system/df?type=image", "Volumes", []),
    ("1.42", "/system/df?type=image", "Volumes", ABSENT),
    ("1.28", "/networks", "0.Containers", {}),
    ("1.51", "/networks", "0.Containers", {}),
    ("1.52", "/networks", "0.Containers", ABSENT),
    ("1.51", "/networks/own", "Status", ABSENT),
    ("1.51", "/images/bare:1/json", "Parent", ""),
    ("1.52", "/images/bare:1/json", "Parent", ABSENT),
    ("1.51", "/images/bare:1/json", "Comment", ""),
    ("1.52", "/images/bare:1/json", "Comment", ABSENT),
    ("1.51", "/images/bare:1/json", "DockerVersion", ""),
    ("1.52", "/images/bare:1/json", "DockerVersion", ABSENT),
    ("1.51", "/images/bare:1/json", "Author", ""),
    ("1.52", "/images/bare:1/json", "Author", ABSENT),
    ("1.51", SEEN, "0.Health", ABSENT),
    ("1.52", SEEN, "0.Health", {"Status": "none", "FailingStreak": 0}),
    ("1.51", "/containers/seen/json", "Config.OnBuild", None),
    ("1.52", "/containers/seen/json", "Config.OnBuild", ABSENT),
    ("1.51", "/containers/seen/json", "Config.MacAddress", ""),
    ("1.52", "/containers/seen/json", "Config.MacAddress", ABSENT),
    ("1.51", "/containers/plain/json", "NetworkSettings.HairpinMode", False),
    ("1.52", "/containers/seen/stats?stream=false&one-shot=1", "os_type", "linux"),
    ("1.51", "/system/df", "ImageUsage", ABSENT),
    ("1.51", "/system/df?verbose=1", "Volumes", []),
    ("1.52", "/system/df", "Volumes", []),
    ("1.52", "/system/df", "VolumeUsage.TotalCount", 0),
    ("1.52", "/system/df", "VolumeUsage.Items", ABSENT),
    ("1.52", "/system/df?verbose=1", "Volumes", ABSENT),
    ("1.52", "/system/df?verbose=1", "LayersSize", ABSENT),
    ("1.52", "/system/df?verbose=1", "VolumeUsage.Items", []),
    ("1.52", "/system/df?verbose=1", "ContainerUsage.ActiveCount", 2),
    ("1.52", "/system/df?type=volume", "ContainerUsage", ABSENT),
    ("1.53", "/system/df", "Volumes", ABSENT),
    ("1.53", "/system/df", "LayersSize", ABSENT),
    ("1.53", "/system/df", "VolumeUsage.Items", ABSENT),
    ("1.53", "/system/df?verbose=1", "VolumeUsage.Items", []),
    ("1.53", '/images/json?identity=1&filters={"reference":["bare"]}', "0.Manifests", ABSENT),
    ("1.54", '/images/json?identity=1&filters={"reference":["bare"]}', "0.Manifests.0.Kind", "image"),
    ("1.54", '/images/json?identity=1&filters={"reference":["bare"]}', "0.Manifests.0.Identity", ABSENT),
    # No plugins of the node resource interface, and nothing about an image that the engine has verified.
    ("1.53", "/info", "NRI", ABSENT),
    ("1.53", "/images/bare:1/json", "Identity", ABSENT),
]


@pytest.mark.parametrize(("version", "path", "member", "expected"), INSPECTED)
def test_members_of_answers(prepared: Engine, version: str, path: str, member: str, expected: object) -> None:
    answer = prepared.api("GET", f"/v{version}{path}")
    assert answer.status == 200, answer.body
    found = at(answer.json(), member)
    assert found is expected or found == expected


OF_DEFAULT_BRIDGE = {
    *("EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress", "IPPrefixLen", "IPv6Gateway"),
    "MacAddress",
}
NEVER_SET = {
    *("Bridge", "HairpinMode", "LinkLocalIPv6Address", "LinkLocalIPv6PrefixLen", "SecondaryIPAddresses"),
    "SecondaryIPv6Addresses",
}


def repeats_the_default_bridge(one: Any) -> bool:
    """Whether an inspect has at its top what the endpoint on the default bridge has."""
    settings = one["NetworkSettings"]
    bridge = settings["Networks"]["bridge"]
    return bool(bridge["IPAddress"]) and all(settings[name] == bridge[name] for name in OF_DEFAULT_BRIDGE)


Check = Callable[[Any], bool]
FACTS: list[tuple[str, str, Check]] = [
    ("1.24", "/images/bare:1/json", lambda one: all(name in one["Config"] for name in OF_CONTAINERS + THOUGH_EMPTY)),
    ("1.49", "/images/bare:1/json", lambda one: all(name in one["Config"] for name in OF_CONTAINERS + THOUGH_EMPTY)),
    ("1.50", "/images/bare:1/json", lambda one: not any(name in one["Config"] for name in OF_CONTAINERS)),
    ("1.50", "/images/bare:1/json", lambda one: all(one["Config"][name] in (None, "") for name in THOUGH_EMPTY)),
    ("1.51", "/images/bare:1/json", lambda one: all(one["Config"][name] in (None, "") for name in THOUGH_EMPTY)),
    (
        "1.51",
        "/images/crafted/json",
        lambda one: one["Config"]["Cmd"] == ["sh"] and one["Config"]["Entrypoint"] is None,
    ),
    ("1.43", UNNAMED, lambda found: found[0]["VirtualSize"] == found[0]["Size"]),
    ("1.43", "/images/bare:1/json", lambda one: one["VirtualSize"] == one["Size"]),
    ("1.43", "/system/df", lambda one: all(image["VirtualSize"] == image["Size"] for image in one["Images"])),
    ("1.42", NAMED + "&shared-size=1", lambda found: found[0]["SharedSize"] >= 0),
    ("1.48", "/images/bare:1/json", lambda one: one["Descriptor"]["digest"].startswith("sha256:")),
    ("1.48", UNNAMED, lambda found: "Descriptor" in found[0]),
    ("1.41", "/images/json?filter=bare", lambda found: len(found) > 1),
    (
        "1.44",
        "/containers/seen/json",
        lambda one: one["NetworkSettings"]["Networks"]["own"]["Aliases"] == [one["Id"][:12]],
    ),
    ("1.48", "/info", lambda one: one["RuncCommit"]["Expected"] == one["RuncCommit"]["ID"]),
    ("1.48", "/info", lambda one: one["ContainerdCommit"]["Expected"] == one["ContainerdCommit"]["ID"]),
    ("1.27", "/networks", lambda found: any(one["Containers"] for one in found)),
    ("1.28", "/networks", lambda found: not any(one["Containers"] for one in found)),
    ("1.51", "/containers/plain/json", lambda one: one["NetworkSettings"].keys() >= OF_DEFAULT_BRIDGE | NEVER_SET),
    ("1.51", "/containers/plain/json", repeats_the_default_bridge),
    ("1.51", "/containers/seen/json", lambda one: one["NetworkSettings"]["IPAddress"] == ""),
    (
        "1.52",
        "/containers/plain/json",
        lambda one: not one["NetworkSettings"].keys() & (OF_DEFAULT_BRIDGE | NEVER_SET),
    ),
    ("1.52", "/images/bare:1/json", lambda one: not any(name in one["Config"] for name in THOUGH_EMPTY)),
    ("1.52", "/images/crafted/json", lambda one: one["Config"] == {"Cmd": ["sh"], "Env": ["PATH=/bin"]}),
    (
        "1.52",
        "/networks/own",
        # Which subnet of the pool it has depends on what else is on the host.
        lambda one: (
            [
                (found["IPsInUse"], found["DynamicIPsAvailable"] + 4 - ipaddress.ip_network(subnet).num_addresses)
                for subnet, found in one["Status"]["IPAM"]["Subnets"].items()
            ]
            == [(4, 0)]
        ),
    ),
    ("1.52", "/system/df", lambda found: found["LayersSize"] == found["ImageUsage"]["TotalSize"]),
    ("1.47", "/images/bare:1/history?platform=nonsense%20", lambda found: len(found) > 0),
    ("1.48", "/images/bare:1/json?platform=nonsense%20", lambda one: bool(one["Id"])),
]


@pytest.mark.parametrize(("version", "path", "true"), FACTS)
def test_facts_of_answers(prepared: Engine, version: str, path: str, true: Check) -> None:
    answer = prepared.api("GET", f"/v{version}{path}")
    assert answer.status == 200, answer.body
    assert true(answer.json()), answer.body


MAC = "02:42:ac:11:00:77"
TWO_NETWORKS = {
    "NetworkingConfig": {"EndpointsConfig": {"own": {}, "bridge": {}}},
    "HostConfig": {"NetworkMode": "own"},
}


def mounting(**mount: Any) -> dict[str, Any]:
    return {"HostConfig": {"Mounts": [{"Target": "/m", **mount}]}}


SUBPATH = mounting(Type="volume", Source="subs", VolumeOptions={"Subpath": "x"})
IMAGE_MOUNT = mounting(Type="image", Source=BUSYBOX)
MISMATCH = mounting(Type="tmpfs", BindOptions={"Propagation": "rprivate"})
FORCED = mounting(Type="bind", Source="/tmp", ReadOnly=True, BindOptions={"ReadOnlyForceRecursive": True})
CREATED = mounting(Type="bind", Source="/nowhere/to/be/found", BindOptions={"CreateMountpoint": False})
NO_DEVICE = [{"Path": "/dev/zero", "Rate": 5}]
ONE_PLATFORM_TWICE = "platform=linux/amd64&platform=linux/amd64"
TWO_PLATFORMS = "platform=linux/amd64&platform=linux/s390x"
STATUSES: list[tuple[str, str, str, Any, int]] = [
    ("1.43", "POST", "/containers/create", TWO_NETWORKS, 400),
    ("1.44", "POST", "/containers/create", TWO_NETWORKS, 201),
    ("1.44", "POST", "/containers/create", SUBPATH, 400),
    ("1.45", "POST", "/containers/create", SUBPATH, 201),
    ("1.47", "POST", "/containers/create", IMAGE_MOUNT, 400),
    ("1.48", "POST", "/containers/create", IMAGE_MOUNT, 201),
    ("1.41", "POST", "/containers/create", MISMATCH, 201),
    ("1.42", "POST", "/containers/create", MISMATCH, 400),
    ("1.43", "POST", "/containers/create", FORCED, 400),
    ("1.44", "POST", "/containers/create", FORCED, 201),
    ("1.42", "POST", "/containers/create", CREATED, 400),
    ("1.40", "POST", "/containers/create?platform=nonsense%20", {}, 201),
    ("1.41", "POST", "/containers/create?platform=nonsense%20", {}, 400),
    ("1.29", "POST", "/containers/idle/wait?condition=nonsense", None, 200),
    ("1.30", "POST", "/containers/idle/wait?condition=nonsense", None, 400),
    ("1.41", "POST", "/containers/idle/stop?signal=NONSENSE", None, 304),
    ("1.45", "POST", "/images/nosuch/push?tag=1&platform=nonsense%20", None, 404),
    ("1.46", "POST", "/images/nosuch/push?tag=1&platform=nonsense%20", None, 400),
    ("1.47", "GET", "/images/bare:1/get?platform=nonsense%20", None, 200),
    ("1.48", "GET", "/images/bare:1/get?platform=nonsense%20", None, 400),
    ("1.47", "GET", "/images/bare:1/history?platform=nonsense%20", None, 200),
    ("1.48", "GET", "/images/bare:1/history?platform=nonsense%20", None, 400),
    ("1.49", "GET", "/images/bare:1/json?platform=nonsense%20", None, 400),
    ("1.49", "DELETE", "/images/nosuch?platforms=nonsense%20", None, 404),
    ("1.50", "DELETE", "/images/nosuch?platforms=nonsense%20", None, 400),
    ("1.41", "GET", "/system/df?type=nonsense", None, 200),
    ("1.42", "GET", "/system/df?type=nonsense", None, 400),
    ("1.40", "GET", "/containers/idle/stats?stream=false&one-shot=1", None, 200),
    ("1.51", "GET", f"/images/bare:1/get?{TWO_PLATFORMS}", None, 400),
    ("1.51", "GET", f"/images/get?names=bare:1&{TWO_PLATFORMS}", None, 400),
    ("1.52", "GET", f"/images/bare:1/get?{TWO_PLATFORMS}", None, 404),
    ("1.52", "GET", f"/images/bare:1/get?{ONE_PLATFORM_TWICE}", None, 200),
    ("1.51", "POST", f"/images/load?{TWO_PLATFORMS}", b"", 400),
    ("1.51", "POST", "/containers/create", {"MacAddress": MAC}, 201),
    ("1.52", "POST", "/containers/create", {"MacAddress": MAC}, 400),
    ("1.54", "GET", "/images/bare:1/attestations", None, 404),
    ("1.55", "GET", "/images/bare:1/attestations", None, 200),
    ("1.55", "GET", "/images/bare:1/attestations?platform=nonsense%20", None, 400),
    ("1.54", "POST", "/containers/seen/update", {"BlkioDeviceReadBps": NO_DEVICE}, 200),
    ("1.55", "POST", "/containers/seen/update", {"BlkioDeviceReadBps": NO_DEVICE}, 400),
    ("1.55", "POST", "/containers/seen/update", {"BlkioDeviceReadBps": []}, 200),
    ("1.55", "GET", "/_ping", None, 200),
    ("1.56", "GET", "/_ping", None, 400),
    ("1.23", "GET", "/_ping", None, 400),
    ("1.24", "GET", "/_ping", None, 200),
]


@pytest.mark.parametrize(("version", "method", "path", "body", "status"), STATUSES)
def test_what_is_taken(prepared: Engine, version: str, method: str, path: str, body: Any, status: int) -> None:
    api = prepared.api
    if "idle" in path:
        api("POST", "/containers/create?name=idle", SLEEP)
    answer = api(method, f"/v{version}{path}", {**SLEEP, **body} if isinstance(body, dict) else body)
    assert answer.status == status, answer.body[:400]
    if answer.status == 201:
        api("DELETE", f"/containers/{answer.json()['Id']}?v=1")


def created(engine: Engine, version: str, **body: Any) -> Any:
    made: Response = engine.api("POST", f"/v{version}/containers/create", {**SLEEP, **body})
    assert made.status == 201, made.body
    found = engine.api("GET", f"/containers/{made.json()['Id']}/json").json()
    engine.api("DELETE", f"/containers/{made.json()['Id']}?v=1")
    return {**found, "Warnings": made.json()["Warnings"]}


ENDPOINT = {"HostConfig": {"NetworkMode": "own"}, "NetworkingConfig": {"EndpointsConfig": {"own": {"MacAddress": MAC}}}}
INTERVAL = {"Healthcheck": {"Test": ["CMD", "true"], "StartInterval": 5_000_000_000}}
NON_RECURSIVE = mounting(Type="bind", Source="/tmp", BindOptions={"NonRecursive": True})
TMPFS_WORDS = mounting(Type="tmpfs", TmpfsOptions={"Options": [["exec"]], "SizeBytes": 4096})
TCP_LIMIT = [
    "Your kernel does not support kernel memory TCP limit capabilities or the cgroup is not mounted. "
    "Limitation discarded."
]
EMPTY_BINDINGS = [
    "Following container port(s) have an empty list of port-bindings: 80/tcp. Such bindings will be discarded in a "
    "future version."
]
FIRST_MOUNT = "HostConfig.Mounts.0"
MEANINGS: list[tuple[str, dict[str, Any], str, object]] = [
    ("1.39", {}, "HostConfig.IpcMode", "shareable"),
    ("1.40", {}, "HostConfig.IpcMode", "private"),
    ("1.39", {"HostConfig": {"IpcMode": "private"}}, "HostConfig.IpcMode", "private"),
    ("1.39", NON_RECURSIVE, f"{FIRST_MOUNT}.BindOptions.NonRecursive", ABSENT),
    ("1.40", NON_RECURSIVE, f"{FIRST_MOUNT}.BindOptions.NonRecursive", True),
    ("1.41", {"HostConfig": {"ConsoleSize": [5, 7]}}, "HostConfig.ConsoleSize", [0, 0]),
    ("1.42", {"HostConfig": {"ConsoleSize": [5, 7]}}, "HostConfig.ConsoleSize", [5, 7]),
    ("1.42", {"HostConfig": {"KernelMemory": 64 << 20}}, "Warnings", []),
    ("1.42", {"HostConfig": {"Annotations": {"a": "b"}}}, "HostConfig.Annotations", None),
    ("1.43", {"HostConfig": {"Annotations": {"a": "b"}}}, "HostConfig.Annotations", {"a": "b"}),
    ("1.43", ENDPOINT, "NetworkSettings.Networks.own.MacAddress", ""),
    ("1.44", ENDPOINT, "NetworkSettings.Networks.own.MacAddress", MAC),
    ("1.43", INTERVAL, "Config.Healthcheck.StartInterval", ABSENT),
    ("1.44", INTERVAL, "Config.Healthcheck.StartInterval", 5_000_000_000),
    ("1.45", TMPFS_WORDS, f"{FIRST_MOUNT}.TmpfsOptions.Options", ABSENT),
    ("1.46", TMPFS_WORDS, f"{FIRST_MOUNT}.TmpfsOptions.Options", [["exec"]]),
    ("1.24", {"HostConfig": {"PidsLimit": -1}}, "HostConfig.PidsLimit", None),
    ("1.51", {"HostConfig": {"PidsLimit": 0}}, "HostConfig.PidsLimit", None),
    ("1.51", {"HostConfig": {"PidsLimit": 7}}, "HostConfig.PidsLimit", 7),
    ("1.51", {"HostConfig": {"KernelMemoryTCP": 64 << 20}}, "Warnings", TCP_LIMIT),
    ("1.52", {"HostConfig": {"KernelMemoryTCP": 64 << 20}}, "Warnings", []),
    ("1.51", {"HostConfig": {"PortBindings": {"80/tcp": []}}}, "Warnings", []),
    ("1.52", {"HostConfig": {"PortBindings": {"80/tcp": []}}}, "Warnings", EMPTY_BINDINGS),
]


@pytest.mark.parametrize(("version", "body", "member", "expected"), MEANINGS)
def test_what_a_creation_means(
    prepared: Engine, version: str, body: dict[str, Any], member: str, expected: object
) -> None:
    found = at(created(prepared, version, **body), member)
    assert found is expected or found == expected, json.dumps(found, default=str)


@pytest.mark.parametrize(
    ("version", "asked", "limit"),
    [("1.39", 9, 5), ("1.40", 9, 9), ("1.40", -1, 0), ("1.51", -2, 0), ("1.51", None, 5)],
)
def test_what_an_update_of_the_process_limit_means(
    prepared: Engine, version: str, asked: int | None, limit: int
) -> None:
    api = prepared.api
    api("POST", "/containers/create?name=limited", {**SLEEP, "HostConfig": {"PidsLimit": 5}})
    assert api("POST", f"/v{version}/containers/limited/update", {"PidsLimit": asked}).status == 200
    assert api("GET", "/containers/limited/json").json()["HostConfig"]["PidsLimit"] == limit
    api("DELETE", "/containers/limited")


@pytest.mark.parametrize(("version", "read_only"), [("1.43", False), ("1.44", True)])
def test_read_only_binds_are_recursive_since_1_44(prepared: Engine, version: str, read_only: bool) -> None:
    script = "touch /m/shm/darse-version 2>/dev/null && echo written; rm -f /m/shm/darse-version; true"
    body = {"Cmd": ["sh", "-c", script], "HostConfig": {"Binds": ["/dev:/m:ro"]}}
    made = prepared.api("POST", f"/v{version}/containers/create", {**SLEEP, **body}).json()["Id"]
    assert prepared.docker("start", "-a", made).ok().out == ("" if read_only else "written\n")
    prepared.docker("rm", made).ok()


JSON, LINES, NEWLINES, SEQUENCE = (f"application/{name}" for name in ("json", "jsonl", "x-ndjson", "json-seq"))
EVENT_STREAMS: list[tuple[str, str | None, str]] = [
    ("1.51", NEWLINES, JSON),
    ("1.51", SEQUENCE, JSON),
    ("1.52", None, JSON),
    ("1.52", JSON, JSON),
    ("1.52", NEWLINES, NEWLINES),
    ("1.52", SEQUENCE, SEQUENCE),
    ("1.52", LINES, JSON),
    ("1.53", None, JSON),
    ("1.53", LINES, LINES),
    ("1.53", f"{NEWLINES}, {LINES}", LINES),
    ("1.53", "*/*", LINES),
    ("1.53", f"{LINES};q=0, application/*;q=0.1", NEWLINES),
    ("1.53", f"{LINES};q=nonsense", JSON),
    ("1.52", f"{SEQUENCE};q=0.5, {NEWLINES}", NEWLINES),
]


@pytest.mark.parametrize(("version", "accept", "expected"), EVENT_STREAMS)
def test_the_media_type_of_events(prepared: Engine, version: str, accept: str | None, expected: str) -> None:
    path = f"/v{version}/events?since=1&until={int(time.time())}"
    answer = prepared.api("GET", path, headers={} if accept is None else {"Accept": accept})
    assert answer.headers["Content-Type"] == expected
    records = answer.body.splitlines()
    assert records
    assert all(record.startswith(b"\x1e") == (expected == SEQUENCE) for record in records)
    events = [json.loads(record.lstrip(b"\x1e")) for record in records]
    assert {"container", "image"} <= {event["Type"] for event in events}
    for event in events:
        old = {name for name in ("status", "id", "from") if name in event}
        if version == "1.51" and event["Type"] in ("container", "image"):
            actor = event["Actor"]  # a prune's has no id
            image = event["Type"] == "container" and actor.get("Attributes", {}).get("image")
            assert old == {"status", *(["id"] if actor.get("ID") else []), *(["from"] if image else [])}
        else:
            assert not old


@pytest.mark.parametrize(("version", "address"), [("1.43", ""), ("1.44", MAC), ("1.54", MAC)])
def test_the_hardware_address_of_a_connect(prepared: Engine, version: str, address: str) -> None:
    api = prepared.api
    made = api("POST", "/containers/create", SLEEP).json()["Id"]
    wanted = {"Container": made, "EndpointConfig": {"MacAddress": MAC}}
    assert api("POST", f"/v{version}/networks/own/connect", wanted).status == 200
    found = api("GET", f"/containers/{made}/json").json()
    assert found["NetworkSettings"]["Networks"]["own"]["MacAddress"] == address
    api("DELETE", f"/containers/{made}?v=1")


def test_the_health_in_lists_is_that_of_what_runs(prepared: Engine) -> None:
    api = prepared.api
    check = {"Test": ["CMD", "true"], "Interval": 100_000_000}
    made = api("POST", "/containers/create", {**SLEEP, "Healthcheck": check}).json()["Id"]

    def health() -> Any:
        (found,) = api("GET", f'/v1.52/containers/json?all=1&filters={{"id":["{made}"]}}').json()
        return found["Health"]

    assert health() == {"Status": "none", "FailingStreak": 0}
    api("POST", f"/containers/{made}/start")
    wait_until(lambda: health() == {"Status": "healthy", "FailingStreak": 0}, what="a healthy container")
    api("POST", f"/containers/{made}/stop?t=0")
    assert health() == {"Status": "none", "FailingStreak": 0}
    api("DELETE", f"/containers/{made}?v=1")


def test_the_table_is_long_enough(tell: Callable[[str], None]) -> None:
    rows = len(INSPECTED) + len(FACTS) + len(STATUSES) + len(MEANINGS)
    tell(f"API versions: {rows} rows of what they send and take")
    assert rows >= 60
