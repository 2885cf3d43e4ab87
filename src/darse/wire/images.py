"""Image responses (Docker Engine API v1.55)."""

from __future__ import annotations

from typing import Any

import msgspec

from darse.image_spec.manifests import Descriptor
from darse.image_spec.platforms import Platform
from darse.wire.containers import ContainerConfig, GraphDriver, HealthConfig


class ManifestSize(msgspec.Struct):
    """Bytes on the disk: documents and archives, and these with what is unpacked."""

    Content: int
    Total: int


class UnpackedSize(msgspec.Struct):
    """Bytes of the unpacked layers."""

    Unpacked: int


class ImageData(msgspec.Struct):
    """The part of a manifest's summary that images have."""

    Platform: Platform
    Containers: list[str]
    Size: UnpackedSize


class AttestationData(msgspec.Struct):
    """The part of a manifest's summary that attestations have: the digest of the manifest that they are about."""

    For: str


class ManifestSummary(msgspec.Struct, kw_only=True):
    """A manifest of an image; `Kind` is image, attestation or unknown."""

    ID: str
    Descriptor: Descriptor
    Available: bool
    Size: ManifestSize
    Kind: str
    ImageData: ImageData | msgspec.UnsetType = msgspec.UNSET
    AttestationData: AttestationData | msgspec.UnsetType = msgspec.UNSET


class AttestationStatement(msgspec.Struct):
    """An in-toto statement about an image; its text only on demand."""

    Descriptor: Descriptor
    PredicateType: str
    Statement: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class ImageSummary(msgspec.Struct, kw_only=True, gc=False):
    """One entry of a list; -1 means not calculated."""

    Id: str
    ParentId: str = ""
    RepoTags: list[str]
    RepoDigests: list[str]
    Created: int
    Size: int
    SharedSize: int = -1
    VirtualSize: int | msgspec.UnsetType = msgspec.UNSET
    Labels: dict[str, str] | None
    Containers: int = -1
    Manifests: list[ManifestSummary] | msgspec.UnsetType = msgspec.UNSET
    Descriptor: Descriptor | msgspec.UnsetType = msgspec.UNSET


class ImageRootFS(msgspec.Struct):
    """The layers of an image, by diff ID."""

    Type: str
    Layers: list[str]


class Metadata(msgspec.Struct):
    """What only this engine knows of an image."""

    LastTagTime: str


class ImageDefaults(msgspec.Struct, omit_defaults=True):
    """The defaults that an image gives to its containers: a container's configuration, as far as images have it."""

    User: str = ""
    ExposedPorts: dict[str, dict[str, Any]] | None = None
    Env: list[str] | None = None
    Entrypoint: list[str] | None = None
    Cmd: list[str] | None = None
    Healthcheck: HealthConfig | None = None
    ArgsEscaped: bool = False
    Volumes: dict[str, dict[str, Any]] | None = None
    WorkingDir: str = ""
    OnBuild: list[str] | None = None
    Labels: dict[str, str] | None = None
    StopSignal: str = ""
    Shell: list[str] | None = None

    @classmethod
    def of(cls, config: ContainerConfig) -> ImageDefaults:
        """The image's part of a configuration."""
        return cls(**{name: getattr(config, name) for name in cls.__struct_fields__})


class ImageInspect(msgspec.Struct, kw_only=True):
    """Answer to an inspect."""

    Id: str
    Descriptor: Descriptor | msgspec.UnsetType = msgspec.UNSET
    Manifests: list[ManifestSummary] | msgspec.UnsetType = msgspec.UNSET
    RepoTags: list[str]
    RepoDigests: list[str]
    Parent: str = ""
    Comment: str = ""
    Created: str | msgspec.UnsetType = msgspec.UNSET
    DockerVersion: str = ""
    Author: str = ""
    Config: ImageDefaults
    Architecture: str
    Variant: str | msgspec.UnsetType = msgspec.UNSET
    Os: str
    OsVersion: str | msgspec.UnsetType = msgspec.UNSET
    Size: int
    VirtualSize: int | msgspec.UnsetType = msgspec.UNSET
    GraphDriver: GraphDriver
    RootFS: ImageRootFS
    Metadata: Metadata


class HistoryEntry(msgspec.Struct):
    """One line of an image's history."""

    Id: str
    Created: int
    CreatedBy: str
    Tags: list[str] | None
    Size: int
    Comment: str


class DeleteItem(msgspec.Struct, omit_defaults=True):
    """One thing that a removal removed."""

    Untagged: str = ""
    Deleted: str = ""


class ImagesPruned(msgspec.Struct):
    """Answer to a prune."""

    ImagesDeleted: list[DeleteItem] | None
    SpaceReclaimed: int


class CheckMessage(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A line of a check: how far it is (`doing`, `done` of `total`), or a finding (`level` problem or note).

    `pull` is what to pull to make good what was found. The last one has the counts of `findings` and of `problems`
    that remain, and what was looked at: how many `images`, `documents` and `layers`, and the `bytes` of both.
    """

    doing: str = ""
    done: int = 0
    total: int = 0
    level: str = ""
    subject: str = ""
    finding: str = ""
    advice: str = ""
    repaired: bool = False
    pull: str = ""
    findings: int = 0
    problems: int = 0
    images: int = 0
    documents: int = 0
    layers: int = 0
    bytes: int = 0
