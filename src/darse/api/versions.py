"""What versions of the API differ in, all in one place.

The engine speaks its newest version. Here a request of an older client is made what it would have been today, and an
answer what it was then. The reference is moby's "Engine API version history"; where the history says that a change is
not versioned, it is in every version. Requests are changed in place, answers are returned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from darse.engine.errors import InvalidParameter
from darse.wire.containers import ContainerInspect, ContainerSummary, CreateRequest
from darse.wire.host_config import Mount
from darse.wire.images import ImageInspect, ImageSummary
from darse.wire.networks import EndpointSettings
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
    for mount in host.Mounts or ():
        _mount_request(version, mount)


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


def endpoint_request(version: Version, settings: EndpointSettings) -> None:
    """Make a request's settings of an endpoint what they mean in `version`."""
    if version < (1, 44):
        settings.MacAddress = ""


def container_inspect(version: Version, found: ContainerInspect) -> ContainerInspect:
    """An inspect as `version` has it."""
    if version < (1, 45):
        # Names by which the container is found on its own networks, its short id among them.
        networks = found.NetworkSettings.Networks
        for name, settings in networks.items():
            if name not in ("bridge", "host", "none"):
                aliases = [*(settings.Aliases or ()), found.Id[:12]]
                networks[name] = msgspec.structs.replace(settings, Aliases=list(dict.fromkeys(aliases)))
    return found


def container_list(version: Version, found: list[ContainerSummary]) -> list[ContainerSummary]:
    """A list as `version` has it."""
    if version < (1, 46):
        for one in found:
            one.HostConfig.Annotations = None
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


def image_inspect(version: Version, found: ImageInspect, made_by: Callable[[str], tuple[str, Document]]) -> Document:
    """An inspect as `version` has it; `made_by` tells which container an image was made of, and its config."""
    if version < (1, 48):
        found.Descriptor = msgspec.UNSET
    if version < (1, 44):
        found.VirtualSize = found.Size
        if found.Created is msgspec.UNSET:
            found.Created = _NEVER
    document: Document = msgspec.to_builtins(found)
    if version < (1, 45):
        container, config = made_by(found.Id)
        document["Container"] = container
        document["ContainerConfig"] = _OF_CONTAINERS | _THOUGH_EMPTY | config
    if version < (1, 50):
        document["Config"] = _OF_CONTAINERS | _THOUGH_EMPTY | document["Config"]
    elif version < (1, 52):
        document["Config"] = _THOUGH_EMPTY | document["Config"]
    return document


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


def disk_usage(version: Version, found: DiskUsage) -> Document:
    """`system df` as `version` has it."""
    found.Images = image_list(version, found.Images) if found.Images is not None else None
    found.Containers = container_list(version, found.Containers) if found.Containers is not None else None
    document: Document = msgspec.to_builtins(found)
    if version < (1, 42):
        document["BuilderSize"] = 0
    return document
