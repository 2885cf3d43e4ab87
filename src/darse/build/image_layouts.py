"""Images of clients' layouts, as named contexts of builds: in the store while a build runs that has them.

An image that the engine did not have goes again with the last of these builds; its layers stay as long as results are
made of them.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator

from darse.core.errors import Conflict, InvalidParameter, NotFound
from darse.image_spec.platforms import Platform
from darse.images import ImageService

SCHEME = "oci-layout://"


def is_layout(context: str) -> bool:
    """Whether a named context is an image of a client's layout."""
    return context.startswith(SCHEME)


def digest_of_layout(reference: str) -> str:
    """The digest of the manifest or index that `oci-layout://NAME@DIGEST` means, with the scheme or without."""
    return reference.removeprefix(SCHEME).partition("@")[2]


class ImageLayouts:
    """The images that came with builds."""

    def __init__(self, images: ImageService) -> None:
        self._images = images
        self._uses: Counter[str] = Counter()
        """Of images that only builds have brought."""

    @contextlib.asynccontextmanager
    async def of_build(self) -> AsyncIterator[LayoutsOfBuild]:
        """Those of one build, for the block."""
        layouts = LayoutsOfBuild(self._images, self._uses)
        try:
            yield layouts
        finally:
            for image_id in layouts.used:
                self._uses[image_id] -= 1
                if not self._uses[image_id]:
                    del self._uses[image_id]
                    await self._remove(image_id)

    async def _remove(self, image_id: str) -> None:
        if self._images.names_with(image_id):
            return  # the build has made the very same, or somebody has named it meanwhile
        # A container may have been made of it meanwhile; or it was removed.
        with contextlib.suppress(NotFound, Conflict):
            await self._images.deletion.remove_image(image_id, force=False, prune=False)


class LayoutsOfBuild:
    """The images that came with one build."""

    def __init__(self, images: ImageService, uses: Counter[str]) -> None:
        self._images = images
        self._uses = uses
        self.used: set[str] = set()

    async def receive(self, pieces: AsyncIterator[bytes]) -> None:
        """Load the archive of a layout, each blob of which is verified. Raises InvalidParameter and SystemFault."""
        before = self._images.image_ids()
        for one in await self._images.loader.load_images(pieces):
            if one.image.id not in before or one.image.id in self._uses:
                self._use(one.image.id)

    def has(self, digest: str, platform: Platform) -> bool:
        """Whether the image of a manifest or index is here, all of it; it stays, as one that this build has brought."""
        try:
            found = self._images.find_image(digest, platform)
        except (NotFound, InvalidParameter):
            return False
        if found.image.id == digest or not all(map(self._images.has_layer, found.image.chain_ids)):
            return False
        if found.image.id in self._uses:
            self._use(found.image.id)
        return True

    def _use(self, image_id: str) -> None:
        if image_id not in self.used:
            self.used.add(image_id)
            self._uses[image_id] += 1
