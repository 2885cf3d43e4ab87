"""The base images of a build: those that are here, or pulled."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from darse.build.dockerfile.convert import ResolvedImage
from darse.build.errors import BuildError
from darse.build.image_layouts import digest_of_layout, is_layout
from darse.build.progress import BuildReport, BuildTransfer, internal_vertex
from darse.core.errors import EngineError, InvalidParameter, NotFound
from darse.image_spec import platforms, references
from darse.images.gc.collector import Lease
from darse.images.references import DEFAULT_DOMAIN, Reference
from darse.images.service import ImageService
from darse.images.store import FoundImage
from darse.images.transfer.service import RegistryService

if TYPE_CHECKING:
    from darse.distribution import Credentials

_ID = re.compile(r"[0-9a-f]{4,64}")


class BaseImages:
    """Resolves the images of one build (`darse.build.dockerfile.convert.ImageResolver`).

    Each is kept from garbage collection until the build's lease ends, and named by the digest of what its name refers
    to now: whoever moves the name meanwhile does not change the build.
    """

    def __init__(
        self,
        images: ImageService,
        registries: RegistryService,
        lease: Lease,
        report: BuildReport,
        *,
        pull: bool = False,
        credentials: Mapping[str, Credentials] | None = None,
    ) -> None:
        """pull: ask the registry whatever is here. `credentials` are by the registry's domain."""
        self._images = images
        self._registries = registries
        self._lease = lease
        self._report = report
        self._pull = pull
        self._credentials = dict(credentials or {})
        self._resolving: dict[tuple[str, str], asyncio.Task[ResolvedImage]] = {}

    async def resolve(self, reference: str, platform: str) -> ResolvedImage:
        """An image by its full reference, for a platform. Raises BuildError in the words of a pull."""
        task = self._resolving.get((reference, platform))
        if task is None:
            task = asyncio.create_task(self._resolve(reference, platform))
            self._resolving[reference, platform] = task
        return await asyncio.shield(task)

    async def close(self) -> None:
        """End the pulls that nobody waits for any longer."""
        for task in self._resolving.values():
            task.cancel()
        await asyncio.gather(*self._resolving.values(), return_exceptions=True)

    async def _resolve(self, text: str, platform: str) -> ResolvedImage:
        requested = platforms.normalized(platforms.parse(platform))
        if is_layout(text):
            return await self._of_layout(text, requested)
        reference = references.parse(text)
        async with internal_vertex(self._report, f"[internal] load metadata for {reference}") as vertex:
            try:
                found = await self._find(reference, requested, vertex)
                document = await self._document(found)
            except EngineError as error:
                raise BuildError(str(error)) from error
        pinned = Reference(reference.domain, reference.path, reference.tag, found.target.digest)
        return ResolvedImage(str(pinned), document)

    async def _of_layout(self, text: str, platform: platforms.Platform) -> ResolvedImage:
        try:
            found = self._images.find_image(digest_of_layout(text), platform)
            return ResolvedImage(text, await self._document(found))
        except EngineError as error:
            raise BuildError(f"{text}: {error}") from error

    async def _document(self, found: FoundImage) -> dict[str, Any]:
        """The configuration of an image, which is kept until the build's end."""
        self._lease.hold(*found.image.chain_ids)
        config = await self._images.read_config(found.image)
        document: dict[str, Any] = msgspec.json.decode(config, type=dict[str, Any])
        return document

    async def _find(self, reference: Reference, platform: platforms.Platform, vertex: str) -> FoundImage:
        found = None if self._pull else await self._local(reference, platform)
        if found is None:
            await self._fetch(reference, platform, vertex)
            found = await self._local(reference, platform)
        if found is None:
            raise NotFound(f"{reference.familiar}: not found for {platform}")
        return found

    async def _local(self, reference: Reference, platform: platforms.Platform) -> FoundImage | None:
        """What is here under a name, or an id that looks like one; None where it is for another platform."""
        with contextlib.suppress(NotFound):
            await self._images.ensure_image(str(reference), platform)
        named = [str(reference)]
        if reference.domain == DEFAULT_DOMAIN and not reference.digest:
            identifier = reference.path.removeprefix("library/")
            if _ID.fullmatch(identifier):
                named.append(identifier)
        for name in named:
            try:
                return self._images.find_image(name, platform)
            except (NotFound, InvalidParameter):
                continue
        return None

    async def _fetch(self, reference: Reference, platform: platforms.Platform, vertex: str) -> None:
        from darse.images.transfer.pull import PullOptions  # noqa: PLC0415 - as all of pulls, when one is asked for

        options = PullOptions(platform, self._credentials.get(reference.domain), self._credentials)
        await self._registries.puller.pull_image(
            reference, options, lambda event: self._report(BuildTransfer(vertex, event))
        )
