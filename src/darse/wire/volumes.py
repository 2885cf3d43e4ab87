"""Volume requests and responses (Docker Engine API v1.55)."""

from __future__ import annotations

import msgspec


class VolumeCreate(msgspec.Struct):
    """Body of `POST /volumes/create`."""

    Name: str = ""
    Driver: str = ""
    DriverOpts: dict[str, str] | None = None
    Labels: dict[str, str] | None = None
    ClusterVolumeSpec: dict[str, object] | None = None


class UsageData(msgspec.Struct):
    """Bytes used and number of containers; -1 means not calculated."""

    Size: int
    RefCount: int


class Volume(msgspec.Struct, kw_only=True):
    """A volume as the API shows it."""

    CreatedAt: str
    Driver: str
    Labels: dict[str, str] | None
    Mountpoint: str
    Name: str
    Options: dict[str, str] | None
    Scope: str = "local"
    Status: dict[str, object] | msgspec.UnsetType = msgspec.UNSET
    UsageData: UsageData | msgspec.UnsetType = msgspec.UNSET


class VolumeList(msgspec.Struct):
    """Answer to a list."""

    Volumes: list[Volume]
    Warnings: list[str] | None = None


class VolumesPruned(msgspec.Struct):
    """Answer to a prune."""

    VolumesDeleted: list[str] | None
    SpaceReclaimed: int


class VolumeCopy(msgspec.Struct):
    """Body of darse's own `POST /darse/volumes/{name}/clone`, `/snapshots` and `/restore`: the other volume."""

    Name: str = ""
    Labels: dict[str, str] | None = None


class VolumePart(msgspec.Struct):
    """A file or directory of a volume: bytes of its blocks and of its files, and how many files."""

    Path: str
    OnDisk: int
    Size: int
    Files: int


class VolumeUsage(msgspec.Struct):
    """Answer to `GET /darse/volumes/{name}/usage`: a whole, and its largest parts."""

    OnDisk: int
    Size: int
    Files: int
    Parts: list[VolumePart]
