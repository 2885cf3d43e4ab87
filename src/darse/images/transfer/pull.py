"""Pull: from a name to an image in the store.

    endpoints, mirrors first → manifest for the platform → config → layers, fetched and unpacked at once → record

No part of an image is visible before all of it is here. A failed or cancelled pull leaves partial downloads, and
nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from darse.core import executors
from darse.core.errors import InvalidParameter, NoSpace, NotFound
from darse.core.events import EventLog
from darse.core.trace import Operation
from darse.distribution.errors import RegistryError
from darse.image_spec import platforms
from darse.image_spec.digests import chain_ids
from darse.image_spec.manifests import Descriptor
from darse.image_spec.platforms import Platform
from darse.images import builtin
from darse.images.model import Image, parse_config
from darse.images.progress import LayerStage, PulledImage, PullStarted, Report, ignore
from darse.images.pull_traces import step
from darse.images.references import Reference, refuse_algorithm
from darse.images.service import ImageService
from darse.images.transfer import registry_errors
from darse.images.transfer.manager import LayerTransfer, TransferManager
from darse.images.transfer.mirrors import first_answer, try_endpoints
from darse.images.transfer.progress import ProgressReporter, ProgressStep
from darse.images.transfer.registries import Registries, in_thread
from darse.images.transfer.resolver import Resolved, config_of, resolve
from darse.images.transfer.trace import add_layers, fetches
from darse.images.writer import ImageDocuments

if TYPE_CHECKING:
    from darse.distribution import Credentials, RegistryClient, Repository


class PresentLayer(NamedTuple):
    """A layer of a pull that is here already."""

    digest: str

    def steps(self) -> list[ProgressStep]:
        """Its only stage."""
        return [ProgressStep(LayerStage.PRESENT)]


class PullOptions(NamedTuple):
    """What is pulled by whom: for `platform` or this machine; `mirror_credentials` are by `HOST[:PORT]`."""

    platform: Platform | None = None
    credentials: Credentials | None = None
    mirror_credentials: dict[str, Credentials] | None = None


class _Request(NamedTuple):
    """One image of a pull."""

    client: RegistryClient
    reference: Reference
    platform: Platform
    report: Report


_DEFAULTS = PullOptions()


class Puller:
    """Pulls images."""

    def __init__(
        self, images: ImageService, registries: Registries, transfers: TransferManager, events: EventLog
    ) -> None:
        self._images = images
        self._stores = images.stores
        self._registries = registries
        self.transfers = transfers
        self._events = events

    async def pull_image(
        self, reference: Reference, options: PullOptions = _DEFAULTS, report: Report = ignore
    ) -> PulledImage:
        """Pull the image that a reference names; of a tag and a digest the digest counts. Raises EngineError."""
        platform = options.platform or platforms.host()
        if not reference.digest:
            refuse_algorithm(reference)
        if reference.name.startswith(builtin.PREFIX):
            return await self._pull_builtin(reference, platform, report)
        client = self._registries.client(options.credentials, options.mirror_credentials)
        try:
            return await self._pull(_Request(client, reference, platform, report))
        except RegistryError as error:
            raise registry_errors.of_pull(error, reference) from error

    async def pull_all_tags(
        self, repository: Reference, options: PullOptions = _DEFAULTS, report: Report = ignore
    ) -> list[PulledImage]:
        """Pull the images of all tags of a repository, in the registry's order. Raises EngineError."""
        platform = options.platform or platforms.host()
        refuse_algorithm(repository)
        if repository.name.startswith(builtin.PREFIX):
            return [await self._pull_builtin(repository, platform, report)]
        client = self._registries.client(options.credentials, options.mirror_credentials)
        try:
            tags = await in_thread(
                client.cancellation, lambda: first_answer(client, repository, lambda one: one.tags())
            )
            named = [Reference(repository.domain, repository.path, tag) for tag in tags]
            return [await self._pull(_Request(client, one, platform, report)) for one in named]
        except RegistryError as error:
            raise registry_errors.of_pull(error, repository) from error

    async def _pull_builtin(self, reference: Reference, platform: Platform, report: Report) -> PulledImage:
        """The images that come with darse are in no registry."""
        with self._images.pulls.record(reference.familiar) as operation:
            with step(operation, "layer", "assemble the image from the host's busybox, unless it is there"):
                image = await self._images.ensure_image(str(reference), platform)
            operation.subject = image.manifest.digest
        report(PullStarted(reference))
        pulled = PulledImage(reference, image, image.manifest.digest, is_newer=False)
        report(pulled)
        return pulled

    async def _pull(self, request: _Request) -> PulledImage:
        name = _recorded_name(request.reference)
        former = self._stores.images.named(name)
        with self._images.pulls.record(name.familiar) as operation:
            image = await try_endpoints(
                request.client, request.reference, lambda repository: self._pull_from(repository, request, operation)
            )
            digest = operation.subject
        pulled = PulledImage(name, image, digest, is_newer=former is None or former.digest != digest)
        request.report(pulled)
        return pulled

    async def _pull_from(self, repository: Repository, request: _Request, operation: Operation) -> Image:
        """Pull from one endpoint: resolve, fetch and unpack the layers, record the image."""
        client, reference = request.client, request.reference
        asked = reference.digest or reference.tag
        base = repository.session.endpoint.base
        with step(operation, "request", f"find {asked} at {base}", *fetches(repository, "manifests", asked)):
            resolved = await in_thread(client.cancellation, lambda: resolve(repository, asked, request.platform))
        operation.subject = resolved.target.digest
        request.report(PullStarted(reference))
        digest = resolved.manifest.config.digest
        with step(operation, "request", "the image's config", *fetches(repository, "blobs", digest)):
            config = await self._config(client, repository, resolved)
        diff_ids = (await executors.storage.run(parse_config, config)).rootfs.diff_ids
        if len(diff_ids) != len(resolved.layers):
            raise InvalidParameter(
                f"invalid image: the manifest has {len(resolved.layers)} layers, and the config {len(diff_ids)}"
            )
        chain = chain_ids(diff_ids)
        async with self._stores.gc.lease() as lease:
            lease.hold(*chain)
            transfers: list[LayerTransfer] = []
            discard = False
            try:
                layers: list[LayerTransfer | PresentLayer] = []
                for chain_id, diff_id, layer in zip(chain, diff_ids, resolved.layers, strict=True):
                    if self._stores.layers.exists(chain_id):
                        layers.append(PresentLayer(layer.digest))
                    else:
                        transfers.append(await self.transfers.acquire(chain_id, diff_id, layer, repository))
                        layers.append(transfers[-1])
                await ProgressReporter(layers, request.report).wait(one.task for one in transfers)
                if self._stores.keep_layer_blobs:
                    await self._keep_blobs(transfers)
                with step(operation, "state", f"record the image, {len(layers)} layers, in one transaction"):
                    image = await self._record(reference, resolved, config, diff_ids)
                discard = True
            except NoSpace:
                discard = True  # the archives would fill the disk until the next pull
                raise
            finally:
                add_layers(operation, transfers, repository)
                operation.steps.sort(key=lambda one: one.begin_ns)
                self.transfers.release_transfers(transfers, discard=discard)
        return image

    async def _keep_blobs(self, transfers: list[LayerTransfer]) -> None:
        """Make the downloads blobs before the image is recorded: they are dropped when the last pull releases them."""
        content = self._stores.content
        digests = {one.digest for one in transfers}
        self._stores.gc.note_blobs(digests)
        for digest in digests:
            await executors.storage.run(content.share, content.ingests.path(digest), digest)

    async def _config(self, client: RegistryClient, repository: Repository, resolved: Resolved) -> bytes:
        digest = resolved.manifest.config.digest
        try:
            return (await self._stores.content.read_documents([digest]))[digest]
        except NotFound:
            return await in_thread(client.cancellation, lambda: config_of(repository, resolved.manifest))

    async def _record(self, reference: Reference, resolved: Resolved, config: bytes, diff_ids: list[str]) -> Image:
        """Record the image, its name and its layers' blobs, and publish the event, in one transaction."""
        stores = self._stores
        name = _recorded_name(reference)
        manifests = {digest: document.content for digest, document in resolved.others.items()}
        documents = ImageDocuments.of_target(
            resolved.target.content, resolved.target_type, config=config, manifests=manifests
        )
        prepared = await stores.writer.prepare(documents)
        async with stores.content.stored(documents.contents):
            with stores.images.changing():
                image, _ = stores.writer.record(prepared, names=[name])
                for diff_id, layer in zip(diff_ids, resolved.layers, strict=True):
                    blob = Descriptor(layer.media_type, layer.digest, layer.size, urls=layer.urls or None)
                    stores.compressed.add(diff_id, blob, reference.name)
                labels = image.container_config().Labels or {}
                self._events.publish("image", "pull", name.familiar, {**labels, "name": reference.familiar_name})
        return image


def _recorded_name(reference: Reference) -> Reference:
    """The name under which a pulled image is recorded: a digest stands without the tag beside it."""
    if reference.digest:
        return Reference(reference.domain, reference.path, "", reference.digest)
    return reference
