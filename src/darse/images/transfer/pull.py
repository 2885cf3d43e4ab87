"""Pull: from a name to an image in the store.

    endpoints, mirrors first → manifest for the platform → config → layers, fetched and unpacked at once → record

Nothing of an image is visible before all of it is there; what a failed or cancelled pull has fetched stays as partial
downloads, and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from darse.core.errors import InvalidParameter, NoSpace
from darse.core.events import EventLog
from darse.core.trace import Operation
from darse.distribution.errors import RegistryError
from darse.images import builtin, platforms
from darse.images.model import Descriptor, chain_ids, parse_config
from darse.images.platforms import Platform
from darse.images.references import Reference, refuse_algorithm
from darse.images.service import ImageService
from darse.images.transfer import registry_errors
from darse.images.transfer.manager import LayerTransfer, TransferManager
from darse.images.transfer.mirrors import first_answer, try_endpoints
from darse.images.transfer.progress import ProgressReporter, ProgressStep, short, until_done
from darse.images.transfer.registries import Registries, in_thread
from darse.images.transfer.resolver import Resolved, config_of, resolve
from darse.images.transfer.trace import add_layers, fetches, step
from darse.wire.images import Progress

if TYPE_CHECKING:
    from darse.distribution import Client, Credentials, Repository


class Present(NamedTuple):
    """A layer that is there already, to be told of."""

    short: str

    def steps(self) -> list[ProgressStep]:
        """All that there is to say."""
        return [ProgressStep("Already exists")]


class Puller:
    """Pulls images."""

    def __init__(
        self, images: ImageService, registries: Registries, transfers: TransferManager, events: EventLog
    ) -> None:
        self._images = images
        self._registries = registries
        self._transfers = transfers
        self._events = events

    async def pull(
        self,
        reference: Reference,
        *,
        platform: str = "",
        every_tag: bool = False,
        credentials: Credentials | None = None,
        others: dict[str, Credentials] | None = None,
    ) -> AsyncIterator[Progress]:
        """Pull what a reference names, or all tags of its repository; yield docker's progress messages.

        A digest counts more than a tag beside it. `others` are credentials for mirrors, by `HOST[:PORT]`. Raises
        EngineError.
        """
        wanted = platforms.parse(platform) if platform else platforms.host()
        if not reference.digest:
            refuse_algorithm(reference)
        if reference.name.startswith(builtin.PREFIX):
            with self._images.pulls.record(reference.familiar) as operation:
                async for message in self._builtin(operation, reference, wanted):
                    yield message
            return
        client = self._registries.client(credentials, others)
        try:
            named = [reference]
            if every_tag:
                named = await self._tags(client, reference)
            newer = False
            for one in named:
                former = self._images.store.named(_pinned(one))
                with self._images.pulls.record(_pinned(one).familiar) as operation:
                    transfer = partial(self._from_one, operation, client, one, wanted)
                    async for message in try_endpoints(client, one, transfer):
                        yield message
                now = self._images.store.named(_pinned(one))
                newer |= former is None or now is None or former.digest != now.digest
            shown = reference.familiar_name if every_tag else _pinned(reference).familiar
            yield {"status": f"Status: {'Downloaded newer image' if newer else 'Image is up to date'} for {shown}"}
            warning = self._mismatch(named[-1], wanted) if platform else ""
            if warning:
                yield {"status": warning}
        except RegistryError as error:
            raise registry_errors.of_pull(error, reference) from error

    async def _tags(self, client: Client, reference: Reference) -> list[Reference]:
        tags = await in_thread(client.cancellation, lambda: first_answer(client, reference, lambda one: one.tags()))
        return [Reference(reference.domain, reference.path, tag) for tag in tags]

    async def _builtin(self, operation: Operation, reference: Reference, wanted: Platform) -> AsyncIterator[Progress]:
        """The images that come with darse are in no registry."""
        with step(operation, "layer", "assemble the image from the host's busybox, unless it is there"):
            image = await self._images.ensure(str(reference), wanted)
        operation.subject = image.manifest.digest
        yield {"status": f"Pulling from {reference.path}", "id": reference.tag}
        yield {"status": f"Digest: {image.manifest.digest}"}
        yield {"status": f"Status: Image is up to date for {reference.familiar}"}

    async def _from_one(
        self, operation: Operation, client: Client, reference: Reference, wanted: Platform, repository: Repository
    ) -> AsyncIterator[Progress]:
        asked = reference.digest or reference.tag
        base = repository.session.endpoint.base
        with step(operation, "request", f"find {asked} at {base}", *fetches(repository, "manifests", asked)):
            resolved = await in_thread(client.cancellation, lambda: resolve(repository, asked, wanted))
        operation.subject = resolved.target.digest
        yield {"status": f"Pulling from {reference.path}", "id": asked}
        digest = resolved.manifest.config.digest
        with step(operation, "request", "the image's config", *fetches(repository, "blobs", digest)):
            config = await self._config(client, repository, resolved)
        diff_ids = parse_config(config).rootfs.diff_ids
        if len(diff_ids) != len(resolved.layers):
            raise InvalidParameter(
                f"invalid image: the manifest has {len(resolved.layers)} layers, and the config {len(diff_ids)}"
            )
        chain = chain_ids(diff_ids)
        async with self._images.keeping_content() as hold:
            hold(*chain)
            jobs: list[LayerTransfer] = []
            discard = False
            try:
                lines: list[LayerTransfer | Present] = []
                for chain_id, diff_id, layer in zip(chain, diff_ids, resolved.layers, strict=True):
                    if self._images.layers.exists(chain_id):
                        lines.append(Present(short(layer.digest)))
                    else:
                        jobs.append(await self._transfers.take(chain_id, diff_id, layer, repository))
                        lines.append(jobs[-1])
                async for message in until_done(ProgressReporter(lines), [job.task for job in jobs]):
                    yield message
                if self._images.keep_layer_blobs:
                    await self._keep(jobs)
                with step(operation, "state", f"record the image, {len(lines)} layers, in one transaction"):
                    self._record(reference, resolved, config, diff_ids)
                discard = True
            except NoSpace:
                discard = True  # what came would fill the disk until the next pull
                raise
            finally:
                add_layers(operation, jobs, repository)
                operation.steps.sort(key=lambda one: one.begin_ns)
                self._transfers.give_back(jobs, discard=discard)
        yield {"status": f"Digest: {resolved.target.digest}"}

    async def _keep(self, jobs: list[LayerTransfer]) -> None:
        """Let the downloads be blobs, before the image is recorded: they are dropped with whoever fetched them."""
        content = self._images.content
        for digest in {job.shared.download.descriptor.digest for job in jobs}:
            await asyncio.to_thread(content.share, content.partials.path(digest), digest)

    async def _config(self, client: Client, repository: Repository, resolved: Resolved) -> bytes:
        digest = resolved.manifest.config.digest
        if self._images.content.has(digest):
            return self._images.content.read(digest)
        return await in_thread(client.cancellation, lambda: config_of(repository, resolved.manifest))

    def _record(self, reference: Reference, resolved: Resolved, config: bytes, diff_ids: list[str]) -> None:
        """Write it all down, and tell: one transaction."""
        images = self._images
        pinned = _pinned(reference)
        with images.store.changing():
            image, _ = images.recorder.record(
                resolved.target.content,
                resolved.target_type,
                config=config,
                manifests={digest: document.content for digest, document in resolved.others.items()},
                names=[pinned],
            )
            for diff_id, layer in zip(diff_ids, resolved.layers, strict=True):
                blob = Descriptor(layer.media_type, layer.digest, layer.size, urls=layer.urls or None)
                images.layer_blobs.remember(diff_id, blob, reference.name)
            labels = image.container_config().Labels or {}
            self._events.publish("image", "pull", pinned.familiar, {**labels, "name": reference.familiar_name})

    def _mismatch(self, reference: Reference, wanted: Platform) -> str:
        """What to say when the image is for another platform than was asked for."""
        target = self._images.store.named(_pinned(reference))
        images = self._images.store.images_of(target) if target else []
        if not images or any(platforms.distance(wanted, image.platform) is not None for image in images):
            return ""
        return (
            f"WARNING: image with reference {reference.familiar} was found but does not match the specified platform: "
            f"wanted {wanted}, actual: {images[0].platform}"
        )


def _pinned(reference: Reference) -> Reference:
    """The name under which a pulled image is kept: a digest stands alone."""
    if reference.digest:
        return Reference(reference.domain, reference.path, "", reference.digest)
    return reference
