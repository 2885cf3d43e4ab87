"""Documents of `/images`: lists and inspect, progress of transfers, results of a search."""

from __future__ import annotations

from typing import Any, TypedDict

from darse.client.documents.containers import HealthConfigDocument


class PlatformDocument(TypedDict, total=False):
    """An operating system and a processor."""

    architecture: str
    os: str
    variant: str


class DescriptorDocument(TypedDict, total=False):
    """What a document says of another, or of a blob; `size` in bytes."""

    mediaType: str
    digest: str
    size: int
    annotations: dict[str, str] | None
    platform: PlatformDocument | None


class ManifestSizeDocument(TypedDict, total=False):
    """Bytes on the disk: documents and archives, and these with what is unpacked."""

    Content: int
    Total: int


class UnpackedSizeDocument(TypedDict, total=False):
    """Bytes of the unpacked layers."""


class ImageDataDocument(TypedDict, total=False):
    """The part of a manifest's summary that images have."""

    Platform: PlatformDocument
    Containers: list[str]
    Size: UnpackedSizeDocument


class ManifestSummaryDocument(TypedDict, total=False):
    """A manifest of an image; `Kind` is image, attestation or unknown."""

    ID: str
    Descriptor: DescriptorDocument
    Available: bool
    Size: ManifestSizeDocument
    Kind: str
    ImageData: ImageDataDocument


class ImageSummaryDocument(TypedDict, total=False):
    """One entry of a list; -1 means not calculated."""

    Id: str
    RepoTags: list[str]
    RepoDigests: list[str]
    Created: int
    Size: int
    SharedSize: int
    VirtualSize: int
    Labels: dict[str, str] | None
    Containers: int
    Manifests: list[ManifestSummaryDocument]
    Descriptor: DescriptorDocument


class ImageDefaultsDocument(TypedDict, total=False):
    """The defaults that an image gives to its containers: a container's configuration, as far as images have it."""

    User: str
    ExposedPorts: dict[str, dict[str, Any]] | None
    Env: list[str] | None
    Entrypoint: list[str] | None
    Cmd: list[str] | None
    Healthcheck: HealthConfigDocument | None
    Volumes: dict[str, dict[str, Any]] | None
    WorkingDir: str
    Labels: dict[str, str] | None
    StopSignal: str


class MetadataDocument(TypedDict, total=False):
    """What only this engine knows of an image."""

    LastTagTime: str


class ImageInspectDocument(TypedDict, total=False):
    """Answer to an inspect."""

    Id: str
    Descriptor: DescriptorDocument
    Manifests: list[ManifestSummaryDocument]
    RepoTags: list[str]
    RepoDigests: list[str]
    Parent: str
    Comment: str
    Created: str
    Config: ImageDefaultsDocument
    Architecture: str
    Variant: str
    Os: str
    Size: int
    VirtualSize: int
    Metadata: MetadataDocument


class HistoryEntryDocument(TypedDict, total=False):
    """One line of an image's history."""

    Id: str
    Created: int
    CreatedBy: str
    Size: int
    Comment: str


class DeleteItemDocument(TypedDict, total=False):
    """One thing that a removal removed."""

    Untagged: str
    Deleted: str


class ImagesPrunedDocument(TypedDict, total=False):
    """Answer to a prune."""

    ImagesDeleted: list[DeleteItemDocument] | None
    SpaceReclaimed: int


class AttestationStatementDocument(TypedDict, total=False):
    """An in-toto statement about an image; its text only on demand."""

    Descriptor: DescriptorDocument
    PredicateType: str
    Statement: Any


class ProgressDetailDocument(TypedDict, total=False):
    """How far one step is, in bytes or `units`; `start` is when it began, in seconds since the epoch."""

    current: int
    total: int
    start: int
    units: str
    hidecounts: bool


class ErrorDetailDocument(TypedDict, total=False):
    """An error in the middle of an answer."""

    message: str


class ProgressDocument(TypedDict, total=False):
    """A message of a pull, push, load or import."""

    id: str
    status: str
    stream: str
    progressDetail: ProgressDetailDocument | None
    error: str
    errorDetail: ErrorDetailDocument
    aux: Any


class SearchResultDocument(TypedDict, total=False):
    """A repository that a search has found."""

    name: str
    description: str
    star_count: int
    is_official: bool
