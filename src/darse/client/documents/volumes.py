"""Documents of `/volumes` and of darse's own below them."""

from __future__ import annotations

from typing import TypedDict


class UsageDataDocument(TypedDict, total=False):
    """Bytes used and number of containers; -1 means not calculated."""

    Size: int
    RefCount: int


class VolumeDocument(TypedDict, total=False):
    """A volume as the API shows it."""

    CreatedAt: str
    Driver: str
    Labels: dict[str, str] | None
    Mountpoint: str
    Name: str
    Options: dict[str, str] | None
    Scope: str
    Status: dict[str, object]
    UsageData: UsageDataDocument


class VolumeCreateDocument(TypedDict, total=False):
    """Body of `POST /volumes/create`."""

    Name: str
    Driver: str
    DriverOpts: dict[str, str] | None
    Labels: dict[str, str] | None


class VolumeListDocument(TypedDict, total=False):
    """Answer to a list."""

    Volumes: list[VolumeDocument]
    Warnings: list[str] | None


class VolumesPrunedDocument(TypedDict, total=False):
    """Answer to a prune."""

    VolumesDeleted: list[str] | None
    SpaceReclaimed: int


class VolumePartDocument(TypedDict, total=False):
    """A file or directory of a volume: bytes of its blocks and of its files, and how many files."""

    Path: str
    OnDisk: int
    Size: int
    Files: int


class VolumeUsageDocument(TypedDict, total=False):
    """Answer to `GET /darse/volumes/{name}/usage`: a whole, and its largest parts."""

    OnDisk: int
    Size: int
    Files: int
    Parts: list[VolumePartDocument]
