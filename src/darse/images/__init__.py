"""Images: references, content store, layers, archives and snapshots."""

from darse.images.model import Image
from darse.images.removal import ImageUser
from darse.images.service import ImageService
from darse.images.snapshots import Overlay, SnapshotService

__all__ = ["Image", "ImageService", "ImageUser", "Overlay", "SnapshotService"]
