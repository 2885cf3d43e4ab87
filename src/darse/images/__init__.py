"""Images: references, content store, layers, archives and snapshots."""

from darse.images.model import Image
from darse.images.service import ImageService
from darse.images.snapshots.service import Overlay, SnapshotService

__all__ = ["Image", "ImageService", "Overlay", "SnapshotService"]
