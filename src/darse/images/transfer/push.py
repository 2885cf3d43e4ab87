"""Push: from an image in the store to a registry.

    for each tag: for each image of its target: layers → config → manifest; then the index, where there is one → tag

Where the registry has, or can mount, the very archives that an image came as, its manifest is pushed unchanged and
keeps its digest. Layers that must be sent are compressed anew, which makes another manifest; the name then refers to
that one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from darse.core import executors
from darse.core.errors import InvalidParameter, NotFound
from darse.core.events import EventLog
from darse.distribution.errors import RegistryError
from darse.distribution.manifests import Document
from darse.image_spec import platforms
from darse.image_spec.digests import digest_of
from darse.image_spec.manifests import Descriptor, Manifest
from darse.image_spec.media_types import OCI_MANIFEST
from darse.image_spec.platforms import Platform
from darse.images import references
from darse.images.content import attestations
from darse.images.content.manifests import decode
from darse.images.layers.compressed import CompressedDigest
from darse.images.model import Image, Layer, Target
from darse.images.progress import PushedTag, PushStarted, Report, ignore
from darse.images.references import Reference
from darse.images.stores import ImageStores
from darse.images.transfer import registry_errors
from darse.images.transfer.manager import ResizableSemaphore
from darse.images.transfer.mirrors import try_endpoints
from darse.images.transfer.progress import ProgressReporter
from darse.images.transfer.registries import Registries, in_thread
from darse.images.transfer.uploads import LayerUpload
from darse.images.writer import ImageDocuments, PreparedImage

if TYPE_CHECKING:
    from darse.distribution import Credentials, RegistryClient, Repository


class _Push(NamedTuple):
    """A push to one endpoint."""

    client: RegistryClient
    repository: Repository
    platform: Platform | None
    report: Report
    by_digest: bool = False
    """Under no tag: the name here stays what it is, too."""


class Pusher:
    """Pushes images; `at_once` layers are sent at the same time."""

    def __init__(
        self, stores: ImageStores, registries: Registries, events: EventLog, at_once: Callable[[], int]
    ) -> None:
        self._stores = stores
        self._registries = registries
        self._events = events
        self._slots = ResizableSemaphore(at_once)

    async def push_image(
        self,
        name: Reference,
        *,
        platform: Platform | None = None,
        credentials: Credentials | None = None,
        report: Report = ignore,
    ) -> list[PushedTag]:
        """Push the tag of a name, or, when it has none, all tags of its repository. Raises EngineError."""
        if name.digest:
            raise InvalidParameter("cannot push a digest reference")
        chosen = self._named(name)
        return await self._push(name, chosen, credentials, report, platform=platform)

    async def push_by_digest(
        self, name: Reference, digest: str, *, credentials: Credentials | None = None, report: Report = ignore
    ) -> Descriptor:
        """Push what the store has by a digest to the repository of a name, under no tag; return what it is there.

        Raises EngineError.
        """
        target = self._stores.images.target(digest)
        if target is None:
            raise NotFound(f"no such image: {digest}")
        (pushed,) = await self._push(name, [(name, target)], credentials, report, by_digest=True)
        return pushed.target

    async def _push(
        self,
        name: Reference,
        chosen: Sequence[tuple[Reference, Target]],
        credentials: Credentials | None,
        report: Report,
        *,
        platform: Platform | None = None,
        by_digest: bool = False,
    ) -> list[PushedTag]:
        client = self._registries.client(credentials)
        report(PushStarted(name))

        async def push(repository: Repository) -> list[PushedTag]:
            await in_thread(client.cancellation, repository.session.ping)
            one = _Push(client, repository, platform, report, by_digest)
            return [await self._push_tag(one, reference, target) for reference, target in chosen]

        try:
            return await try_endpoints(client, name, push, writing=True)
        except RegistryError as error:
            raise registry_errors.of_push(error) from error

    def _named(self, name: Reference) -> list[tuple[Reference, Target]]:
        """The tags that are pushed, with their targets. Raises NotFound in docker's words."""
        store = self._stores.images
        present = [references.parse_name(one) for names in store.all_names().values() for one in names]
        tagged = sorted((one for one in present if one.name == name.name and one.tag), key=lambda one: one.tag)
        if not tagged:
            raise NotFound(f"An image does not exist locally with the tag: {name.familiar_name}")
        requested = [name] if name.tag else tagged
        found = [(one, target) for one in requested if (target := store.named(one)) is not None]
        if not found:
            raise NotFound(f"tag does not exist: {name.familiar}")
        return found

    async def _push_tag(self, push: _Push, reference: Reference, target: Target) -> PushedTag:
        """Push a tag's images, and then the manifest or index that the tag refers to."""
        from darse.distribution import Uploads  # noqa: PLC0415

        plan = await self._plan(push, reference, target)
        pushed: dict[str, Document] = {}
        async with self._stores.gc.lease() as lease:
            for image, manifest in plan.images:
                lease.hold(*image.chain_ids)
                pushed[manifest.digest] = await self._push_manifest(
                    push, reference, image, manifest, by_digest=plan.index is not None
                )
            more = await self._push_attestations(push, target, pushed) if plan.index is not None else []
            final = plan.final(pushed)
            uploads = Uploads(push.repository)
            tag = final.digest if push.by_digest else reference.tag
            await in_thread(push.client.cancellation, lambda: uploads.put_manifest(tag, final))
            if not push.by_digest:
                await self._rename(reference, target, plan, final, pushed, more)
        is_part = target.is_index and plan.index is None and push.platform is None
        result = PushedTag(
            reference,
            Descriptor(final.media_type, final.digest, len(final.content)),
            target.descriptor if is_part else None,
        )
        push.report(result)
        return result

    async def _push_manifest(
        self, push: _Push, reference: Reference, image: Image, manifest: Descriptor, *, by_digest: bool
    ) -> Document:
        """Push an image's layers and config, and `by_digest` its manifest; return the manifest as it is there."""
        read = await self._stores.content.read_documents([manifest.digest, image.id])
        document = read[manifest.digest]
        layers = [
            msgspec.structs.replace(layer, blob=blob)
            for layer, blob in zip(image.layers, decode(document, Manifest).layers, strict=True)
        ]
        blobs = await self.push_layers(
            push.client, push.repository, reference, layers, manifest_type=manifest.media_type, report=push.report
        )
        made = with_layers(document, manifest.media_type, blobs)
        put = partial(_put, push.repository, made, read[image.id], by_digest=by_digest)
        await in_thread(push.client.cancellation, put)
        for layer, blob in zip(image.layers, blobs, strict=True):
            self._stores.compressed.add(layer.diff_id, blob, reference.name)
        return made

    async def push_layers(
        self,
        client: RegistryClient,
        repository: Repository,
        reference: Reference,
        layers: Sequence[Layer],
        *,
        manifest_type: str = OCI_MANIFEST,
        report: Report = ignore,
    ) -> list[Descriptor]:
        """Bring layers to a repository, beside each other; return the forms in which they are there.

        Call it with a lease on them. Raises RegistryError and EngineError.
        """
        uploads = [self._upload(layer, manifest_type, reference) for layer in layers]
        tasks = [
            asyncio.create_task(
                upload.run(repository.apart(client.cancellation), reference, self._stores.layers, self._slots)
            )
            for upload in uploads
        ]
        try:
            # docker's clients show the topmost layer first.
            await ProgressReporter(uploads[::-1], report).wait(tasks)
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
        return [task.result() for task in tasks]

    async def _push_attestations(self, push: _Push, target: Target, pushed: dict[str, Document]) -> list[bytes]:
        """Push what is attested of the images, about their manifests as they went; return the documents of it."""
        contents: list[bytes] = []
        for variant in target.variants:
            subject = pushed.get(variant.manifest.attests)
            if subject is None:
                continue
            found = await executors.storage.run(
                attestations.moved, self._stores.content, variant.manifest, subject.digest
            )
            if found is None:
                continue
            made = described(found.contents[0], found.descriptor.media_type)
            put = partial(_put_attestation, push.repository, made, found.contents[1:])
            await in_thread(push.client.cancellation, put)
            pushed[variant.manifest.digest] = made
            contents += found.contents
        return contents

    async def _plan(self, push: _Push, reference: Reference, target: Target) -> Plan:
        """Choose the platform's image; or the index when all of it is here or there; or the default image."""
        store = self._stores.images
        here = [(store.by_id(variant.image_id), variant.manifest) for variant in target.variants if variant.image_id]
        images = [(image, manifest) for image, manifest in here if image is not None]
        if push.platform is not None:
            suiting = [one for one in images if platforms.distance(push.platform, one[0].platform) == 0]
            if not suiting:
                raise NotFound(
                    f"image with reference {reference.familiar} was found but does not provide the specified platform "
                    f"({push.platform})"
                )
            return Plan(suiting[:1])
        if target.is_index:
            here_too = {one.digest for _, one in images}
            absent = [
                variant.manifest.digest
                for variant in target.variants
                if not variant.image_id
                and not (variant.manifest.attests in here_too and self._stores.content.has(variant.manifest.digest))
            ]
            if await in_thread(push.client.cancellation, lambda: _has_all(push.repository, absent)):
                read = await self._stores.content.read_documents([target.digest])
                return Plan(images, described(read[target.digest], target.descriptor.media_type))
        default = store.default(target)
        return Plan([one for one in images if one[0].id == default.id][:1])

    def _upload(self, layer: Layer, manifest_type: str, reference: Reference) -> LayerUpload:
        """The upload of a layer, with the blobs that a registry may have: its own first, then this repository's."""
        known = self._stores.compressed.known(layer.diff_id)
        own = [one for one in known if one.descriptor.digest == layer.blob.digest]
        rest = sorted((one for one in known if one not in own), key=lambda one: one.repository != reference.name)
        candidates = [*own, *([] if own else [CompressedDigest(layer.blob, "")]), *rest]
        size = self._stores.layers.archive_size(layer.chain_id)
        content = self._stores.content
        kept = content.path(layer.blob.digest) if content.has(layer.blob.digest) else None
        return LayerUpload(layer, size, candidates, manifest_type, kept)

    async def _rename(
        self,
        reference: Reference,
        target: Target,
        plan: Plan,
        final: Document,
        pushed: dict[str, Document],
        more: list[bytes],
    ) -> None:
        """Let the name refer to the pushed document when that is another one, and publish the event.

        `more` are documents of attestations.
        """
        stores = self._stores
        recorded: list[PreparedImage] = []
        if final.digest != target.digest and (plan.index is not None or not target.is_index):
            configs = await stores.content.read_documents(image.id for image, _ in plan.images)
            manifests = {made.digest: made.content for made in pushed.values()} if plan.index else None
            recorded = [
                await stores.writer.prepare(
                    ImageDocuments.of_target(final.content, final.media_type, config=config, manifests=manifests)
                )
                for config in configs.values()
            ]
        contents = [content for one in recorded for content in one.documents.contents]
        async with stores.content.stored([*contents, *more] if recorded else []):
            with stores.images.changing():
                for one in recorded:
                    stores.writer.record(one, names=[reference])
                self._events.publish("image", "push", reference.familiar, {"name": reference.familiar_name})


class Plan(msgspec.Struct, frozen=True):
    """What of a target is pushed: images with their manifests, and the index around them or None."""

    images: list[tuple[Image, Descriptor]]
    index: Document | None = None

    def final(self, pushed: dict[str, Document]) -> Document:
        """What the tag is to refer to; `pushed` are the manifests as they went, by the digest that they had here."""
        if self.index is None:
            return pushed[self.images[0][1].digest]
        if all(digest == made.digest for digest, made in pushed.items()):
            return self.index
        index = msgspec.json.decode(self.index.content)
        for entry in index["manifests"]:
            if (made := pushed.get(entry["digest"])) is not None:
                entry |= {"digest": made.digest, "size": len(made.content)}
            about = entry.get("annotations") or {}
            if (subject := pushed.get(about.get(attestations.REFERENCE_DIGEST, ""))) is not None:
                about[attestations.REFERENCE_DIGEST] = subject.digest
        return described(msgspec.json.encode(index), self.index.media_type)


def with_layers(content: bytes, media_type: str, blobs: list[Descriptor]) -> Document:
    """A manifest with its layers in the forms in which they are there; as it was when these are its own."""
    manifest = msgspec.json.decode(content)
    if [layer["digest"] for layer in manifest["layers"]] != [blob.digest for blob in blobs]:
        manifest["layers"] = [
            layer | {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}
            for layer, blob in zip(manifest["layers"], blobs, strict=True)
        ]
        content = msgspec.json.encode(manifest)
    return described(content, media_type)


def described(content: bytes, media_type: str) -> Document:
    """A document and its digest."""
    return Document.of(content, media_type)


def _put(repository: Repository, manifest: Document, config: bytes, *, by_digest: bool) -> None:
    """Push the config, and a manifest that an index will name. Blocks."""
    from darse.distribution import Uploads  # noqa: PLC0415

    digest = digest_of(config)
    if repository.has_blob(digest) is None:
        Uploads(repository).put(config, digest)
    if by_digest:
        Uploads(repository).put_manifest(manifest.digest, manifest)


def _put_attestation(repository: Repository, manifest: Document, blobs: Sequence[bytes]) -> None:
    """Push an attestation and what it is made of. Blocks."""
    from darse.distribution import Uploads  # noqa: PLC0415

    for blob in blobs:
        if repository.has_blob(digest_of(blob)) is None:
            Uploads(repository).put(blob, digest_of(blob))
    Uploads(repository).put_manifest(manifest.digest, manifest)


def _has_all(repository: Repository, digests: list[str]) -> bool:
    """Whether the repository has manifests that are not here. Blocks."""
    return all(repository.head(digest) is not None for digest in digests)
