"""Images as the engine stores them.

An image is for one platform, and its id is the digest of its config; its layers are named by diff ID (the digest of the
uncompressed archive) and unpacked under their chain ID (which includes the layers below). A name refers to a *target*:
a manifest, or an index with a manifest for each platform, any number of which may be here as images. See the OCI image
specification, config.md and image-index.md.

There may be thousands of these structs, and none is part of a cycle: Python's garbage collector need not look at them.
"""

from __future__ import annotations

import datetime
import functools

import msgspec

from darse.core.documents import DocumentCodec
from darse.core.errors import InvalidParameter
from darse.core.times import parse_time
from darse.image_spec import manifests, platforms
from darse.image_spec.manifests import Descriptor, InvalidDocument
from darse.image_spec.media_types import INDEXES
from darse.image_spec.platforms import Platform
from darse.wire.containers import ContainerConfig


class History(msgspec.Struct, omit_defaults=True, gc=False):
    """One step of a build."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class RootFS(msgspec.Struct, gc=False):
    """The layers of a config, lowest first."""

    type: str = "layers"
    diff_ids: list[str] = []


class ImageConfig(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """The OCI image config, as far as the engine reads it."""

    created: str = ""
    author: str = ""
    architecture: str = ""
    variant: str = ""
    os: str = ""
    os_version: str = msgspec.field(name="os.version", default="")
    config: ContainerConfig = msgspec.field(default_factory=ContainerConfig)
    rootfs: RootFS = msgspec.field(default_factory=RootFS)
    history: list[History] = []
    comment: str = ""
    docker_version: str = ""

    @property
    def platform(self) -> Platform:
        """The platform in its normal form; this machine's when the config names none."""
        if not self.architecture:
            return platforms.host()
        return platforms.normalized(Platform(self.architecture, self.os, self.os_version, variant=self.variant))


class Layer(msgspec.Struct, frozen=True, gc=False):
    """A layer of an image: the blob it came as, and what it unpacks to."""

    blob: Descriptor
    diff_id: str
    chain_id: str


class Image(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An image for one platform; `size` is that of its unpacked layers, in bytes.

    `manifest` is the first one that it came with; the manifest of a name is that of the name's target. `parent` is the
    id of the image that it was committed from on this engine.
    """

    id: str
    parent: str = ""
    manifest: Descriptor
    config_size: int
    config: ImageConfig
    layers: tuple[Layer, ...]
    size: int
    stored_ns: int

    @property
    def chain_ids(self) -> tuple[str, ...]:
        """The layers' chain IDs, lowest first."""
        return tuple(layer.chain_id for layer in self.layers)

    @property
    def platform(self) -> Platform:
        """The config's platform."""
        return self.config.platform

    @property
    def created_ns(self) -> int:
        """When the image was made: nanoseconds since the epoch; 0 when the config does not say."""
        return _nanoseconds(self.config.created)

    def container_config(self) -> ContainerConfig:
        """The image's defaults for its containers."""
        return self.config.config


def seconds_of(created: str) -> int:
    """Seconds since the epoch of an RFC 3339 time; 0 for any other text."""
    try:
        return int(datetime.datetime.fromisoformat(created).timestamp())
    except (ValueError, OverflowError):
        return 0


@functools.lru_cache(4096)
def _nanoseconds(created: str) -> int:
    try:
        return parse_time(created, "created")
    except InvalidParameter:
        return seconds_of(created) * 1_000_000_000


class Variant(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A manifest of a target, and the id of its image; "" when the image is not here."""

    manifest: Descriptor
    image_id: str = ""


class Target(msgspec.Struct, frozen=True, gc=False):
    """What a name refers to: a manifest or an index; `variants` are its manifests, in the index's order."""

    descriptor: Descriptor
    variants: tuple[Variant, ...]

    @property
    def is_index(self) -> bool:
        """Whether it is an index, which may have several platforms."""
        return self.descriptor.media_type in INDEXES

    @property
    def digest(self) -> str:
        """The digest of the target's document."""
        return self.descriptor.digest


IMAGE_DOCUMENTS = DocumentCodec(Image)
TARGET_DOCUMENTS = DocumentCodec(Target)


def parse_config(raw: bytes) -> ImageConfig:
    """Read an image config from outside. Raises InvalidParameter."""
    try:
        return manifests.decode(raw, ImageConfig, strict=False)
    except InvalidDocument as error:
        raise InvalidParameter(f"invalid image config: {error}") from error
