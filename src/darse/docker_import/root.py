"""A data root of dockerd with the storage driver overlay2: what is in it, read and never written.

    image/overlay2/imagedb/content/sha256/<id>          an image's config; its digest is the id
    image/overlay2/imagedb/metadata/sha256/<id>/parent  the image that it was built on
    image/overlay2/repositories.json                    names of images
    image/overlay2/layerdb/sha256/<chain id>/           cache-id, diff, parent, tar-split.json.gz of a layer
    image/overlay2/layerdb/mounts/<container>/mount-id  a container's writable layer
    overlay2/<cache-id or mount-id>/diff                files
    volumes/<name>/_data, volumes/metadata.db           volumes, and bbolt's records of them
    network/files/local-kv.db                           libnetwork's store, also bbolt's
    containers/<id>/config.v2.json, hostconfig.json     containers

dockerd keeps metadata.db open with flock(2) for as long as it runs, and waits a second for it when it starts: who has
that lock knows that no dockerd runs on the root, and that none will.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from darse.core.errors import Conflict, InvalidParameter, NotFound
from darse.docker_import.bolt import BoltFile, DamagedBolt
from darse.docker_import.records import (
    DockerContainer,
    DockerImage,
    DockerLayer,
    DockerNetwork,
    DockerVolume,
    decoded,
)
from darse.image_spec.digests import digest_of
from darse.images.model import parse_config
from darse.linux.fs.files import open_regular
from darse.volumes.mounts import check_volume_name
from darse.wire.host_config import HostConfig

T = TypeVar("T")
_HEX = re.compile(r"[0-9a-f]{64}")
_CACHE_ID = re.compile(r"[0-9a-zA-Z][0-9a-zA-Z_.-]{0,254}")
_NETWORK_KEY = re.compile(rb"docker/network/v1\.0/network/[^/]+/")
# libkv puts the index of the change before each value.
_INDEX = 8
_OPTIONS = "opts.json"
# Of one of docker's documents: the names of fifty thousand images are less.
_MOST_BYTES = 16 << 20


class DockerRoot:
    """One data root. What is damaged raises InvalidParameter where it is read, and nothing else suffers."""

    def __init__(self, path: Path) -> None:
        """Raises NotFound where there is none, and InvalidParameter for one that cannot be taken over."""
        self.path = path
        self._images = path / "image" / "overlay2"
        if not path.is_absolute():
            raise InvalidParameter(f"the data root must be an absolute path: {path}")
        if not (path / "image").is_dir():
            raise NotFound(f"{path} is no data root of dockerd: it has no directory 'image'")
        if not self._images.is_dir():
            found = ", ".join(sorted(one.name for one in (path / "image").iterdir())) or "none"
            raise InvalidParameter(
                f"{path} has no images of the storage driver overlay2 (found: {found}): "
                "move them by 'docker save' and 'darse load'"
            )
        owner = (path / "overlay2").stat().st_uid if (path / "overlay2").is_dir() else 0
        if owner:
            raise InvalidParameter(
                f"the files in {path} belong to users of a range (userns-remap, or an engine without root): user "
                f"{owner} is its root; move images by 'docker save' and 'darse load'"
            )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep dockerd from running on the root. Raises Conflict when one does, and InvalidParameter."""
        path = self.path / "volumes" / "metadata.db"
        try:
            descriptor = open_regular(path)
        except OSError as error:
            raise InvalidParameter(f"cannot lock {path}: {(error.strerror or str(error)).lower()}") from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(
                    f"a dockerd runs on {self.path}: stop it first (systemctl stop docker.socket docker.service); "
                    "or another import of it goes on"
                ) from None
            yield
        finally:
            os.close(descriptor)

    # Images

    def image_ids(self) -> list[str]:
        """The ids of all images."""
        return [f"sha256:{name}" for name in _names(self._images / "imagedb" / "content" / "sha256")]

    def names(self) -> dict[str, list[str]]:
        """The names with tags of images, by their ids."""
        path = self._images / "repositories.json"
        if not path.exists():
            return {}
        found: dict[str, list[str]] = {}
        repositories = decoded(_read(path), dict[str, dict[str, dict[str, str]]], str(path)).get("Repositories", {})
        for names in repositories.values():
            for name, image_id in names.items():
                # A digest is that of a manifest, which docker has not kept.
                if "@" not in name:
                    found.setdefault(image_id, []).append(name)
        return found

    def image(self, image_id: str, names: list[str]) -> DockerImage:
        """Read an image."""
        name = _hex(image_id)
        path = self._images / "imagedb" / "content" / "sha256" / name
        config = _read(path)
        if digest_of(config) != image_id:
            raise InvalidParameter(f"{path} is damaged: its digest is {digest_of(config)}")
        parent = self._images / "imagedb" / "metadata" / "sha256" / name / "parent"
        return DockerImage(
            image_id, config, parse_config(config).rootfs.diff_ids, _text(parent) if parent.exists() else "", names
        )

    def layer(self, chain_id: str) -> DockerLayer:
        """Find a layer."""
        directory = self._images / "layerdb" / "sha256" / _hex(chain_id)
        return DockerLayer(self._files(directory / "cache-id"), directory / "tar-split.json.gz")

    def _files(self, path: Path) -> Path:
        name = _text(path)
        if _CACHE_ID.fullmatch(name) is None:
            raise InvalidParameter(f"{path} is damaged: it names no directory")
        return self.path / "overlay2" / name / "diff"

    # Volumes

    def volumes(self) -> list[str]:
        """The names of all volumes: whatever is a directory with data."""
        return [name for name in _names(self.path / "volumes") if (self.path / "volumes" / name).is_dir()]

    def volume_records(self) -> dict[str, bytes]:
        """docker's records of volumes, by names."""
        path = self.path / "volumes" / "metadata.db"
        return {key.decode(errors="replace"): value for key, value in _bucket(path, b"volumes")}

    def volume(self, name: str, record: bytes) -> DockerVolume:
        """Read a volume; `record` may be empty, for volumes of old engines have none."""
        # Names of records are text that nobody has checked, and a path is made of it.
        check_volume_name(name)
        directory = self.path / "volumes" / name
        known = decoded(record or b"{}", dict[str, object], f"the record of volume {name}")
        options = directory / _OPTIONS
        found = decoded(_read(options), dict[str, object], str(options)) if options.exists() else {}
        # The driver's own file has names of fields, and says more of what is mounted.
        mounted = {"type": found.get("MountType"), "o": found.get("MountOpts"), "device": found.get("MountDevice")}
        given = known.get("Options") or {key: value for key, value in mounted.items() if value}
        return DockerVolume(
            name,
            str(known.get("Driver") or "local"),
            decoded_strings(known.get("Labels"), name),
            decoded_strings(given, name),
            directory / "_data",
        )

    # Networks

    def networks(self) -> list[tuple[str, bytes]]:
        """The ids of all networks, and their records."""
        path = self.path / "network" / "files" / "local-kv.db"
        if not path.exists():
            return []
        return [
            (key.split(b"/")[-2].decode(errors="replace"), value[_INDEX:])
            for key, value in _bucket(path, b"libnetwork")
            if _NETWORK_KEY.fullmatch(key)
        ]

    @staticmethod
    def network(network_id: str, record: bytes) -> DockerNetwork:
        """Read a network."""
        return decoded(record, DockerNetwork, f"the record of network {network_id[:12]}")

    # Containers

    def container_ids(self) -> list[str]:
        """The ids of all containers."""
        return [name for name in _names(self.path / "containers") if _HEX.fullmatch(name)]

    def container(self, container_id: str) -> tuple[DockerContainer, HostConfig]:
        """Read a container."""
        directory = self.path / "containers" / container_id
        path = directory / "config.v2.json"
        found = decoded(_read(path), DockerContainer, str(path))
        if container_id != found.ID:
            raise InvalidParameter(f"{path} is damaged: it is that of container {found.ID[:12] or 'none'}")
        return found, decoded(_read(directory / "hostconfig.json"), HostConfig, str(directory / "hostconfig.json"))

    def writable_layer(self, container_id: str) -> Path:
        """The files that a container has written."""
        return self._files(self._images / "layerdb" / "mounts" / container_id / "mount-id")

    def runs(self, container: DockerContainer) -> bool:
        """Whether a container runs although no dockerd does (live-restore): its process sees its files."""
        if not container.State.Running or container.State.Pid <= 0:
            return False
        try:
            mounts = Path(f"/proc/{container.State.Pid}/mountinfo").read_text(errors="replace")
        except OSError:
            return False
        return self.writable_layer(container.ID).parent.name in mounts


def decoded_strings(value: object, name: str) -> dict[str, str]:
    """Labels or options, which may be none. Raises InvalidParameter."""
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise InvalidParameter(f"the record of volume {name} is damaged: its labels or options are none")
    return dict(value)


def _hex(digest: str) -> str:
    name = digest.removeprefix("sha256:")
    if _HEX.fullmatch(name) is None:
        raise InvalidParameter(f"{digest!r} is no digest")
    return name


def _names(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(directory, error) from error


def _read(path: Path) -> bytes:
    try:
        with open(path, "rb", opener=open_regular) as file:
            found = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(found) > _MOST_BYTES:
        raise InvalidParameter(f"{path} is damaged: it has more than {_MOST_BYTES >> 20} MB")
    return found


def _unreadable(path: Path, error: OSError) -> InvalidParameter:
    return InvalidParameter(f"{path} cannot be read: {(error.strerror or str(error)).lower()}")


def _text(path: Path) -> str:
    return _read(path).decode(errors="replace").strip()


def _bucket(path: Path, name: bytes) -> list[tuple[bytes, bytes]]:
    try:
        return list(BoltFile(path).bucket(name))
    except (DamagedBolt, OSError) as error:
        raise InvalidParameter(f"{path} cannot be read: {error}") from error
