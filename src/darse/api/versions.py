"""What versions of the API differ in, all in one place.

The engine speaks its newest version. Here a request of an older client is made what it would have been today, and an
answer what it was then. The reference is moby's "Engine API version history"; where the history says that a change is
not versioned, it is in every version. Requests are changed in place, answers are returned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from darse.core.errors import InvalidParameter
from darse.core.events import Event
from darse.wire.containers import ContainerInspect, ContainerSummary, CreateRequest
from darse.wire.host_config import Mount
from darse.wire.images import ImageInspect, ImageSummary
from darse.wire.networks import EndpointSettings, Network
from darse.wire.observation import UpdateRequest
from darse.wire.system import DiskUsage, Info

Version = tuple[int, int]
Document = dict[str, Any]

# Query parameters and formats, by the version that brought them. Older ones pass them over.
_SINCE: dict[str, Version] = {
    "containers/wait condition": (1, 30),
    "images/create platform": (1, 32),
    "containers/create platform": (1, 41),
    "containers/stats one-shot": (1, 41),
    "containers/attach/ws streams": (1, 42),
    "containers/stop signal": (1, 42),
    "exec ConsoleSize": (1, 42),
    "images/json shared-size": (1, 42),
    "multiplexed media type": (1, 42),
    "system/df type": (1, 42),
    "volumes/prune all": (1, 42),
    "images/push platform": (1, 46),
    "images/json manifests": (1, 47),
    "images/history platform": (1, 48),
    "images/inspect manifests": (1, 48),
    "images/archives platform": (1, 48),
    "images/inspect platform": (1, 49),
    "images/remove platforms": (1, 50),
    "images/json containers": (1, 51),
    "several platforms": (1, 52),
    "system/df verbose": (1, 52),
    "images/json identity": (1, 54),
    "images/attestations": (1, 55),
}
_UNTIL: dict[str, Version] = {"networks containers": (1, 28), "images/json filter": (1, 41)}
# What docker's JSON had of an image's configuration because it is a container's, and what it had though it was empty.
_OF_CONTAINERS = {
    "Hostname": "",
    "Domainname": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Image": "",
}
_THOUGH_EMPTY = {
    "User": "",
    "Env": None,
    "Cmd": None,
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": None,
}
# What an inspect of a container repeated of its endpoint on the default bridge, and what it had that never was set.
_OF_DEFAULT_BRIDGE = {
    "EndpointID": "",
    "Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "IPAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "MacAddress": "",
}
_NEVER_SET = {
    "Bridge": "",
    "HairpinMode": False,
    "LinkLocalIPv6Address": "",
    "LinkLocalIPv6PrefixLen": 0,
    "SecondaryIPAddresses": None,
    "SecondaryIPv6Addresses": None,
}
# Media types of a sequence of JSON documents, by the version that brought them.
_STREAMS = (
    ("application/jsonl", (1, 53)),
    ("application/x-ndjson", (1, 52)),
    ("application/json-seq", (1, 52)),
)
_OBJECTS = {
    "ImageUsage": "Images",
    "ContainerUsage": "Containers",
    "VolumeUsage": "Volumes",
    "BuildCacheUsage": "BuildCache",
}
_NEVER = "0001-01-01T00:00:00Z"


def has(version: Version, feature: str) -> bool:
    """Whether a version has what others have not; `feature` is one of those listed above."""
    return version < _UNTIL[feature] if feature in _UNTIL else version >= _SINCE[feature]


# Containers


def create_request(version: Version, request: CreateRequest) -> None:
    """Make a creation's request what it means in `version`. Raises InvalidParameter for what is newer."""
    host, endpoints = request.HostConfig, request.NetworkingConfig.EndpointsConfig or {}
    if version < (1, 40):
        host.IpcMode = host.IpcMode or "shareable"
        host.KernelMemoryTCP = msgspec.UNSET
    if version < (1, 42):
        host.ConsoleSize = None
    else:
        host.KernelMemory = msgspec.UNSET
    if version < (1, 43):
        host.Annotations = None
    if version < (1, 44):
        if request.Healthcheck is not None:
            request.Healthcheck.StartInterval = 0
        if len(endpoints) > 1:
            raise InvalidParameter(
                f"Container cannot be created with multiple network endpoints: {', '.join(sorted(endpoints))}"
            )
        for settings in endpoints.values():
            endpoint_request(version, settings)
    if version >= (1, 52):
        host.KernelMemoryTCP = msgspec.UNSET
        if request.MacAddress:
            raise InvalidParameter(
                "container-wide MAC address no longer supported; use endpoint-specific MAC address instead"
            )
    for mount in host.Mounts or ():
        _mount_request(version, mount)


def create_warnings(version: Version, request: CreateRequest) -> list[str]:
    """What `version` warns of in a creation's request, and others do not."""
    empty = [port for port, bindings in (request.HostConfig.PortBindings or {}).items() if not bindings]
    if version < (1, 52) or not empty:
        return []
    return [
        f"Following container port(s) have an empty list of port-bindings: {', '.join(empty)}. Such bindings will be "
        "discarded in a future version."
    ]


def _mount_request(version: Version, mount: Mount) -> None:
    bind, volume = mount.BindOptions, mount.VolumeOptions
    if version < (1, 42):
        for kind in ("Bind", "Volume", "Tmpfs"):
            if kind.lower() != mount.Type:
                setattr(mount, f"{kind}Options", None)
    if bind is not None:
        bind.NonRecursive = bind.NonRecursive and version >= (1, 40)
        bind.CreateMountpoint = bind.CreateMountpoint and version >= (1, 42)
        if version < (1, 44):
            bind.ReadOnlyNonRecursive = False
            if bind.ReadOnlyForceRecursive:
                raise InvalidParameter("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer")
    if version < (1, 45) and volume is not None and volume.Subpath:
        raise InvalidParameter("VolumeOptions.Subpath needs API v1.45 or newer")
    if version < (1, 46) and mount.TmpfsOptions is not None:
        mount.TmpfsOptions.Options = None
    if version < (1, 48) and mount.Type == "image":
        raise InvalidParameter('Mount type "Image" needs API v1.48 or newer')


def recursive_read_only(version: Version) -> bool:
    """Whether read-only binds reach what is mounted below their source."""
    return version >= (1, 44)


def update_request(version: Version, request: UpdateRequest) -> None:
    """Make an update's request what it means in `version`."""
    if version < (1, 40):
        request.PidsLimit = None
    if version >= (1, 42):
        request.KernelMemory = msgspec.UNSET
    if version >= (1, 52):
        request.KernelMemoryTCP = msgspec.UNSET
    if version < (1, 55):
        request.BlkioWeightDevice = None
        request.BlkioDeviceReadBps = request.BlkioDeviceWriteBps = None
        request.BlkioDeviceReadIOps = request.BlkioDeviceWriteIOps = None


def endpoint_request(version: Version, settings: EndpointSettings) -> None:
    """Make a request's settings of an endpoint what they mean in `version`."""
    if version < (1, 44):
        settings.MacAddress = ""


def container_inspect(version: Version, found: ContainerInspect) -> Document:
    """An inspect as `version` has it."""
    if version < (1, 45):
        # Names by which the container is found on its own networks, its short id among them.
        networks = found.NetworkSettings.Networks
        for name, settings in networks.items():
            if name not in ("bridge", "host", "none"):
                aliases = [*(settings.Aliases or ()), found.Id[:12]]
                networks[name] = msgspec.structs.replace(settings, Aliases=list(dict.fromkeys(aliases)))
    document: Document = msgspec.to_builtins(found)
    settings, config = document["NetworkSettings"], document["Config"]
    if version < (1, 52):
        bridge = settings["Networks"].get("bridge", {})
        settings |= _NEVER_SET | {name: bridge.get(name, unset) for name, unset in _OF_DEFAULT_BRIDGE.items()}
    else:
        del config["MacAddress"]
        if not config["OnBuild"]:
            del config["OnBuild"]
    return document


def container_list(version: Version, found: list[ContainerSummary]) -> list[ContainerSummary]:
    """A list as `version` has it."""
    if version < (1, 46):
        for one in found:
            one.HostConfig.Annotations = None
    if version < (1, 52):
        for one in found:
            one.Health = msgspec.UNSET
    return found


# Images


def image_list(version: Version, found: list[ImageSummary]) -> list[ImageSummary]:
    """A list as `version` has it."""
    for one in found:
        if version < (1, 43) and not one.RepoTags and not one.RepoDigests:
            one.RepoTags, one.RepoDigests = ["<none>:<none>"], ["<none>@<none>"]
        if version < (1, 44):
            one.VirtualSize = one.Size
        if version < (1, 48):
            one.Descriptor = msgspec.UNSET
    return found


def image_inspect(version: Version, found: ImageInspect, built_from: Callable[[str], tuple[str, Document]]) -> Document:
    """An inspect as `version` has it; `built_from` is `ImageViews.built_from`."""
    if version < (1, 48):
        found.Descriptor = msgspec.UNSET
    if version < (1, 44):
        found.VirtualSize = found.Size
        if found.Created is msgspec.UNSET:
            found.Created = _NEVER
    document: Document = msgspec.to_builtins(found)
    if version < (1, 45):
        container, config = built_from(found.Id)
        document["Container"] = container
        document["ContainerConfig"] = _OF_CONTAINERS | _THOUGH_EMPTY | config
    if version < (1, 50):
        document["Config"] = _OF_CONTAINERS | _THOUGH_EMPTY | document["Config"]
    elif version < (1, 52):
        document["Config"] = _THOUGH_EMPTY | document["Config"]
    else:
        for name in ("Parent", "Comment", "DockerVersion", "Author"):
            if not document[name]:
                del document[name]
    return document


# Networks


def network_list(version: Version, found: list[Network]) -> list[Network]:
    """A list as `version` has it."""
    if version >= (1, 52):
        for one in found:
            one.Containers = msgspec.UNSET
    return found


def network_inspect(version: Version, found: Network) -> Network:
    """An inspect as `version` has it."""
    if version < (1, 52):
        found.Status = msgspec.UNSET
    return found


# The engine as a whole


def info(version: Version, found: Info) -> Document:
    """`info` as `version` has it."""
    document: Document = msgspec.to_builtins(found)
    if version < (1, 49):
        document.pop("FirewallBackend", None)
        document["RegistryConfig"] |= {
            "AllowNondistributableArtifactsCIDRs": None,
            "AllowNondistributableArtifactsHostnames": None,
        }
        for name in ("ContainerdCommit", "RuncCommit", "InitCommit"):
            document[name]["Expected"] = document[name]["ID"]
    if version < (1, 50):
        document.pop("DiscoveredDevices", None)
        document |= {"BridgeNfIptables": False, "BridgeNfIp6tables": False}
    return document


def disk_usage(version: Version, found: DiskUsage, *, verbose: bool) -> Document:
    """`system df` as `version` has it; `verbose` is with the objects themselves."""
    if found.ImageUsage is not None:
        image_list(version, found.ImageUsage.Items)
    if found.ContainerUsage is not None:
        container_list(version, found.ContainerUsage.Items)
    document: Document = msgspec.to_builtins(found)
    objects = {kind: usage["Items"] for kind, usage in document.items()}
    if not verbose:
        for usage in document.values():
            del usage["Items"]
    if version >= (1, 53) or (version == (1, 52) and verbose):
        return document
    if version < (1, 52):
        document = {}
    if found.ImageUsage is not None:
        document["LayersSize"] = found.ImageUsage.TotalSize
    document |= {_OBJECTS[kind]: items for kind, items in objects.items()}
    if version < (1, 42):
        document["BuilderSize"] = 0
    return document


def event(version: Version, published: Event) -> Event:
    """An event as `version` has it."""
    return published if version < (1, 52) else msgspec.structs.replace(published, status="", id="", from_="")


def event_streams(version: Version) -> list[str]:
    """The media types in which `version` offers events; without one of these they are called application/json."""
    return [media_type for media_type, since in _STREAMS if version >= since]
