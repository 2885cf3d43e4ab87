"""What transfers of images report while they run: typed events, for the API, the dashboard or nobody.

An operation (pull, push, load) takes `report` and calls it in the event loop with each event; it never waits for the
listener. Its result is what it returns. Docker's texts for the events are made in `darse.api.progress`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

import msgspec

from darse.image_spec.manifests import Descriptor
from darse.images.model import Image
from darse.images.references import Reference


class LayerStage(enum.Enum):
    """What happens to a layer, in the order in which it happens."""

    # Pulls.
    PULLING = enum.auto()
    DOWNLOADING = enum.auto()
    VERIFYING = enum.auto()
    DOWNLOADED = enum.auto()
    EXTRACTING = enum.auto()
    PULLED = enum.auto()
    # Pushes.
    PREPARING = enum.auto()
    FOREIGN = enum.auto()
    MOUNTED = enum.auto()
    PUSHING = enum.auto()
    PUSHED = enum.auto()
    # Both: it waits for its turn, waits before another attempt, is there already.
    WAITING = enum.auto()
    RETRYING = enum.auto()
    PRESENT = enum.auto()
    # Loads.
    LOADING = enum.auto()


class LayerProgress(msgspec.Struct, frozen=True):
    """A layer has reached a stage, or is further in it: `current` bytes of `total`, both 0 where none are counted.

    `layer` is the digest of the archive in a pull, the diff ID in a push, and the digest or else the archive member in
    a load.
    """

    layer: str
    stage: LayerStage
    current: int = 0
    total: int = 0
    #: RETRYING: the seconds until the next attempt.
    retry_in: int = 0
    #: MOUNTED: the repository that the registry took it from.
    mounted_from: str = ""


class PullStarted(msgspec.Struct, frozen=True):
    """The registry has what `reference` names; its layers come next."""

    reference: Reference


class PulledImage(msgspec.Struct, frozen=True):
    """An image is pulled: `image` is recorded, and `reference` names the target `digest`.

    `is_newer`: the name did not refer to that target before.
    """

    reference: Reference
    image: Image
    digest: str
    is_newer: bool


class PushStarted(msgspec.Struct, frozen=True):
    """The images of `repository` are on their way."""

    repository: Reference


class PushedTag(msgspec.Struct, frozen=True):
    """The registry has `target` under the tag of `reference`.

    `instead_of`: the index that the name refers to here, where only one of its images was pushed.
    """

    reference: Reference
    target: Descriptor
    instead_of: Descriptor | None = None


class DisplacedName(msgspec.Struct, frozen=True):
    """A name that another image had before."""

    reference: Reference
    image_id: str


class LoadedImage(msgspec.Struct, frozen=True):
    """An image of an archive is loaded, under these names; `displaced` are those taken from other images."""

    image: Image
    names: tuple[Reference, ...]
    displaced: tuple[DisplacedName, ...] = ()


TransferEvent = PullStarted | PushStarted | LayerProgress | PulledImage | PushedTag | LoadedImage
#: Called with each event.
Report = Callable[[TransferEvent], object]


def ignore(_event: TransferEvent) -> None:
    """Report to nobody."""
