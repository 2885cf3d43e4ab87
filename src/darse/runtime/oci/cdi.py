"""Devices by name: the Container Device Interface (CDI 1.0), read from the files that vendors' tools write.

A file describes devices of one kind, `vendor.com/class`, and what each needs of the OCI spec: nodes, mounts,
environment, hooks. Files are root's, JSON or YAML, and read anew for each start, as devices come and go. Of two files
in different directories with the same device the later directory's counts; two in the same directory are a mistake.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from darse.core.errors import InvalidParameter
from darse.wire.host_config import DeviceRequest

DRIVER: Final = "cdi"
_QUALIFIED = re.compile(
    r"(?P<kind>[A-Za-z][A-Za-z0-9_.-]*/[A-Za-z][A-Za-z0-9_-]*)=(?P<device>[A-Za-z0-9][A-Za-z0-9_.:-]*)\Z"
)
# Kinds that `--gpus` may mean; the first that there is.
_GPUS: Final = ("nvidia.com/gpu", "amd.com/gpu", "intel.com/gpu")
_LARGEST_FILE: Final = 16 << 20


class DeviceNode(msgspec.Struct, frozen=True, rename="camel"):
    """A node in /dev; what is missing is the host's."""

    path: str
    host_path: str = ""
    type: str = ""
    major: int = -1
    minor: int = -1
    file_mode: int | None = None
    permissions: str = "rwm"
    uid: int | None = None
    gid: int | None = None


class CdiMount(msgspec.Struct, frozen=True, rename="camel"):
    """A mount from the host."""

    host_path: str
    container_path: str
    options: list[str] | None = None
    type: str = ""


class Hook(msgspec.Struct, frozen=True, rename="camel"):
    """A program that the OCI runtime runs at a point of the container's life."""

    hook_name: str
    path: str
    args: list[str] | None = None
    env: list[str] | None = None
    timeout: int | None = None


class Edits(msgspec.Struct, frozen=True, rename="camel"):
    """What a device changes in the OCI spec."""

    env: list[str] | None = None
    device_nodes: list[DeviceNode] | None = None
    mounts: list[CdiMount] | None = None
    hooks: list[Hook] | None = None
    additional_gids: list[int] | None = msgspec.field(name="additionalGids", default=None)


class Device(msgspec.Struct, frozen=True, rename="camel"):
    """A device of a file."""

    name: str
    container_edits: Edits = Edits()


class Specification(msgspec.Struct, frozen=True, rename="camel"):
    """A file. Members of later versions are not looked at."""

    cdi_version: str
    kind: str
    devices: list[Device] = []
    container_edits: Edits = Edits()


class FoundDevice(msgspec.Struct, frozen=True):
    """A device and the file that it is in."""

    device: Device
    file: Specification
    path: Path


class Catalogue:
    """The devices that there are now."""

    def __init__(self, directories: Iterable[str]) -> None:
        """Read all files. One that is broken is left out; asking for its devices tells what was wrong with it."""
        self._devices: dict[str, FoundDevice] = {}
        self._problems: list[str] = []
        for directory in directories:
            here: dict[str, FoundDevice] = {}
            conflicting: set[str] = set()
            for path in _files(directory):
                self._read(path, here, conflicting)
            self._devices |= here
            for name in conflicting:
                del self._devices[name]

    def _read(self, path: Path, here: dict[str, FoundDevice], conflicting: set[str]) -> None:
        try:
            file = _decode(path)
        except (OSError, ValueError, msgspec.ValidationError) as error:
            self._problems.append(f"{path}: {error}")
            return
        for device in file.devices:
            name = f"{file.kind}={device.name}"
            if name in here:
                conflicting.add(name)
                self._problems.append(f"{name} is in {here[name].path} and in {path}")
            here[name] = FoundDevice(device, file, path)

    @property
    def names(self) -> list[str]:
        """The devices' full names."""
        return sorted(self._devices)

    def edits(self, requests: Iterable[DeviceRequest]) -> list[Edits]:
        """What the requested devices change: each file's common part once, before its devices.

        Raises InvalidParameter, in docker's words, for devices that there are not.
        """
        requested = [name for request in requests for name in self._names_of(request)]
        missing = [name for name in requested if name not in self._devices]
        if missing:
            why = f" ({'; '.join(self._problems)})" if self._problems else ""
            raise InvalidParameter(f"CDI device injection failed: unresolvable CDI devices {', '.join(missing)}{why}")
        found: list[Edits] = []
        files: set[Path] = set()
        for name in dict.fromkeys(requested):
            one = self._devices[name]
            if one.path not in files:
                files.add(one.path)
                found.append(one.file.container_edits)
            found.append(one.device.container_edits)
        return found

    def _names_of(self, request: DeviceRequest) -> Sequence[str]:
        if request.Driver == DRIVER:
            return request.DeviceIDs or ()
        kinds = {name.partition("=")[0] for name in self._devices}
        kind = next((kind for kind in _GPUS if kind in kinds and kind.startswith(request.Driver)), None)
        if kind is None:
            raise no_driver(request)
        if request.DeviceIDs:
            return [f"{kind}={device}" for device in request.DeviceIDs]
        if request.Count < 0:
            return [f"{kind}=all"]
        return [f"{kind}={number}" for number in range(max(request.Count, 1))]


def check_request(request: DeviceRequest) -> None:
    """Raise InvalidParameter for a request that no device can ever meet."""
    if request.Driver == DRIVER:
        for name in request.DeviceIDs or ():
            if _QUALIFIED.match(name) is None:
                raise InvalidParameter(f'invalid CDI device name "{name}": must be vendor.com/class=name')
    elif not any("gpu" in words for words in request.Capabilities or ()):
        raise no_driver(request)


def no_driver(request: DeviceRequest) -> InvalidParameter:
    """The answer to a request that nobody serves."""
    # As Go prints a list of lists.
    requested = " ".join(f"[{' '.join(words)}]" for words in request.Capabilities or ())
    return InvalidParameter(f'could not select device driver "{request.Driver}" with capabilities: [{requested}]')


def _files(directory: str) -> list[Path]:
    try:
        names = sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [Path(directory, name) for name in names if name.endswith((".json", ".yaml", ".yml"))]


def _decode(path: Path) -> Specification:
    if path.stat().st_size > _LARGEST_FILE:
        raise ValueError("the file is too large")
    data = path.read_bytes()
    if path.suffix == ".json":
        file = msgspec.json.decode(data, type=Specification)
    else:
        import yaml  # noqa: PLC0415 - 10 ms, and few hosts have such files

        try:
            file = msgspec.convert(yaml.safe_load(data), type=Specification)
        except yaml.YAMLError as error:
            raise ValueError(f"no YAML: {error}") from error
    for device in file.devices:
        if _QUALIFIED.match(f"{file.kind}={device.name}") is None:
            raise ValueError(f"invalid device name {file.kind}={device.name}")
    return file


def apply(spec: dict[str, Any], edits: Iterable[Edits]) -> None:
    """Change an OCI spec. Raises InvalidParameter for a node that the host has not."""
    process, linux = spec["process"], spec["linux"]
    for one in edits:
        for entry in one.env or ():
            name = entry.partition("=")[0]
            process["env"] = [other for other in process["env"] if other.partition("=")[0] != name] + [entry]
        for node in one.device_nodes or ():
            _add_node(linux, node)
        for mount in one.mounts or ():
            spec["mounts"].append(_mount(mount))
        for hook in one.hooks or ():
            document = {"path": hook.path, "args": hook.args, "env": hook.env, "timeout": hook.timeout}
            filled = {key: value for key, value in document.items() if value is not None}
            spec.setdefault("hooks", {}).setdefault(hook.hook_name, []).append(filled)
        groups = process["user"].setdefault("additionalGids", [])
        groups += [group for group in one.additional_gids or () if group > 0 and group not in groups]


def _mount(mount: CdiMount) -> dict[str, Any]:
    options = mount.options or ["rbind", "nosuid", "nodev"]
    kind = "bind" if {"bind", "rbind"} & set(options) else mount.type
    return {"source": mount.host_path, "destination": mount.container_path, "type": kind or "bind", "options": options}


def _add_node(linux: dict[str, Any], node: DeviceNode) -> None:
    kind, major, minor = node.type, node.major, node.minor
    mode, uid, gid = node.file_mode, node.uid, node.gid
    if not kind or major < 0 or minor < 0:
        source = node.host_path or node.path
        try:
            status = os.stat(source)
        except OSError as error:
            raise InvalidParameter(f"CDI device injection failed: {source}: {error.strerror}") from error
        kind = kind or ("b" if stat.S_ISBLK(status.st_mode) else "c")
        if not (stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode)):
            raise InvalidParameter(f"CDI device injection failed: {source} is no device")
        major, minor = os.major(status.st_rdev), os.minor(status.st_rdev)
        mode = stat.S_IMODE(status.st_mode) if mode is None else mode
        uid, gid = status.st_uid if uid is None else uid, status.st_gid if gid is None else gid
    made = {"path": node.path, "type": kind, "major": major, "minor": minor, "fileMode": mode, "uid": uid, "gid": gid}
    linux["devices"] = [other for other in linux["devices"] if other["path"] != node.path]
    linux["devices"].append({key: value for key, value in made.items() if value is not None})
    if kind in ("b", "c"):
        rule = {"allow": True, "type": kind, "major": major, "minor": minor, "access": node.permissions or "rwm"}
        linux["resources"]["devices"].append(rule)
