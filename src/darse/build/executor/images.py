"""Images as sources: found in the store, or pulled."""

from __future__ import annotations

from darse.build.errors import BuildError
from darse.build.executor.session import BuildSession
from darse.build.graph.sources import ImageSource, OCILayoutSource
from darse.build.solver.operation_executor import Snapshot
from darse.core.errors import EngineError, NotFound
from darse.image_spec import platforms
from darse.image_spec.platforms import InvalidPlatform, Platform
from darse.images import Image, ImageService, references
from darse.images.snapshots.snapshotter import Snapshotter
from darse.images.transfer.service import RegistryService


class ImageSources:
    """Finds images for all builds."""

    def __init__(self, images: ImageService, registries: RegistryService, snapshotter: Snapshotter) -> None:
        self._images = images
        self._registries = registries
        self._snapshotter = snapshotter

    async def find(self, session: BuildSession, source: ImageSource | OCILayoutSource, platform: str) -> Image:
        """The image of a source: from the registry where the mode says so, or where it is not here.

        Raises BuildError.
        """
        requested = _platform(platform)
        if isinstance(source, OCILayoutSource):
            return self._of_layout(source, requested)
        if source.resolve_mode != "pull":
            try:
                return _checked(await self._images.ensure_image(source.reference, requested), source)
            except NotFound:
                pass
            except EngineError as error:
                raise BuildError(str(error)) from error
        return _checked(await self._pull(session, source, requested), source)

    def _of_layout(self, source: OCILayoutSource, platform: Platform | None) -> Image:
        """An image that came with the build. Raises BuildError."""
        try:
            return self._images.get_image(source.reference.partition("@")[2], platform)
        except EngineError as error:
            raise BuildError(f"oci-layout://{source.reference}: {error}") from error

    async def _pull(self, session: BuildSession, source: ImageSource, platform: Platform | None) -> Image:
        from darse.images.transfer.pull import PullOptions  # noqa: PLC0415

        try:
            reference = references.parse(source.reference)
            options = PullOptions(platform, session.credentials.get(reference.domain))
            return (await self._registries.puller.pull_image(reference, options)).image
        except EngineError as error:
            raise BuildError(f"{source.reference}: {error}") from error

    async def resolve(self, session: BuildSession, source: ImageSource | OCILayoutSource, platform: str) -> str:
        """The identity of an image: its id, and how many of its layers are taken. Raises BuildError."""
        image = await self.find(session, source, platform)
        return f"{image.id}@{source.layer_limit}" if source.layer_limit else image.id

    async def fetch(
        self, session: BuildSession, source: ImageSource | OCILayoutSource, platform: str, identity: str
    ) -> Snapshot:
        """The tree of an image. Raises BuildError."""
        image = self._images.by_id(identity.partition("@")[0])
        if image is None:
            # It was removed since.
            image = await self.find(session, source, platform)
            if image.id != identity.partition("@")[0]:
                raise BuildError(f"image {source.reference} has changed during the build: build again")
        layers = image.chain_ids[: source.layer_limit] if source.layer_limit else image.chain_ids
        try:
            return Snapshot(self._snapshotter.view(layers).id)
        except NotFound as error:
            raise BuildError(f"image {source.reference}: {error}") from error


def _platform(text: str) -> Platform | None:
    if not text:
        return None
    try:
        return platforms.normalized(platforms.parse(text))
    except InvalidPlatform as error:
        raise BuildError(str(error)) from error


def _checked(image: Image, source: ImageSource) -> Image:
    if source.checksum and image.manifest.digest != source.checksum:
        raise BuildError(
            f"image digest {image.manifest.digest} for {source.reference} does not match expected checksum "
            f"{source.checksum}"
        )
    return image
