"""Push: from an image in the store to a registry.

    for each tag: for each image of its target: layers → config → manifest; then the index, where there is one → tag

Where the registry has, or can mount, the very archives that an image came as, its manifest goes as it is, and keeps its
digest. Layers that must be sent are compressed anew, so the manifest is another one; the name then refers to that.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from darse.core.errors import InvalidParameter, NotFound
from darse.core.events import EventLog
from darse.distribution.errors import RegistryError
from darse.distribution.manifests import Document
from darse.images import platforms, references
from darse.images.content.manifests import Manifest, decode
from darse.images.layers.compressed import CompressedDigest
from darse.images.model import Descriptor, Image, Layer, Target, digest_of
from darse.images.platforms import Platform
from darse.images.references import Reference
from darse.images.service import ImageService
from darse.images.transfer import registry_errors
from darse.images.transfer.manager import ResizableSemaphore
from darse.images.transfer.mirrors import try_endpoints
from darse.images.transfer.progress import ProgressReporter, until_done
from darse.images.transfer.registries import Registries, in_thread
from darse.images.transfer.uploads import LayerUpload
from darse.wire.images import Progress

if TYPE_CHECKING:
    from darse.distribution import Client, Credentials, Repository


class Pusher:
    """Pushes images; so many layers at once as `at_once` says."""

    def __init__(
        self, images: ImageService, registries: Registries, events: EventLog, at_once: Callable[[], int]
    ) -> None:
        self._images = images
        self._registries = registries
        self._events = events
        self._slots = ResizableSemaphore(at_once)

    async def push(
        self, name: Reference, *, platform: Platform | None = None, credentials: Credentials | None = None
    ) -> AsyncIterator[Progress]:
        """Push a tag, or without one all tags of the name; yield docker's progress messages. Raises EngineError."""
        if name.digest:
            raise InvalidParameter("cannot push a digest reference")
        chosen = self._named(name)
        client = self._registries.client(credentials)
        yield {"status": f"The push refers to repository [{name.name}]"}
        try:
            transfer = partial(self._push_all, client, chosen, platform)
            async for message in try_endpoints(client, name, transfer, writing=True):
                yield message
        except RegistryError as error:
            raise registry_errors.of_push(error, name) from error

    async def _push_all(
        self,
        client: Client,
        chosen: list[tuple[Reference, Target]],
        platform: Platform | None,
        repository: Repository,
    ) -> AsyncIterator[Progress]:
        await in_thread(client.cancellation, repository.session.ping)
        for reference, target in chosen:
            async for message in self._push_one(client, repository, reference, target, platform):
                yield message

    def _named(self, name: Reference) -> list[tuple[Reference, Target]]:
        """What is to be pushed, by tag. Raises NotFound in docker's words."""
        store = self._images.store
        present = [references.parse_name(one) for names in store.all_names().values() for one in names]
        tagged = sorted((one for one in present if one.name == name.name and one.tag), key=lambda one: one.tag)
        if not tagged:
            raise NotFound(f"An image does not exist locally with the tag: {name.familiar_name}")
        wanted = [name] if name.tag else tagged
        found = [(one, target) for one in wanted if (target := store.named(one)) is not None]
        if not found:
            raise NotFound(f"tag does not exist: {name.familiar}")
        return found

    async def _push_one(
        self, client: Client, repository: Repository, reference: Reference, target: Target, platform: Platform | None
    ) -> AsyncIterator[Progress]:
        """Push a tag's images, and then what the tag is to refer to."""
        from darse.distribution import Uploads  # noqa: PLC0415

        plan = await self._plan(client, repository, reference, target, platform)
        pushed: dict[str, Document] = {}
        async with self._images.keeping_content() as hold:
            for image, manifest in plan.images:
                hold(*image.chain_ids)
                document = self._images.content.read(manifest.digest)
                layers = [
                    msgspec.structs.replace(layer, blob=blob)
                    for layer, blob in zip(image.layers, decode(document, Manifest).layers, strict=True)
                ]
                uploads = [self._upload(layer, manifest.media_type, reference) for layer in layers]
                tasks = [
                    asyncio.create_task(
                        upload.run(repository.apart(client.cancellation), reference, self._images.layers, self._slots)
                    )
                    for upload in uploads
                ]
                async for message in _until_done(uploads, tasks):
                    yield message
                blobs = [task.result() for task in tasks]
                made = with_layers(document, manifest.media_type, blobs)
                config = self._images.content.read(image.id)
                by_digest = plan.index is not None
                await in_thread(client.cancellation, partial(_put, repository, made, config, by_digest=by_digest))
                pushed[manifest.digest] = made
                self._remember(reference, image, blobs)
            final = plan.final(pushed)
            await in_thread(client.cancellation, lambda: Uploads(repository).put_manifest(reference.tag, final))
            self._rename(reference, target, plan, final, pushed)
        size = len(final.content)
        yield {"status": f"{reference.tag}: digest: {final.digest} size: {size}"}
        yield {"progressDetail": {}, "aux": {"Tag": reference.tag, "Digest": final.digest, "Size": size}}
        if target.is_index and plan.index is None and platform is None:
            yield _instead_of(target, final)

    async def _plan(
        self, client: Client, repository: Repository, reference: Reference, target: Target, platform: Platform | None
    ) -> Plan:
        """Choose: the images of the platform, or the whole index when all of it is here or there, or the default."""
        store = self._images.store
        here = [(store.by_id(variant.image_id), variant.manifest) for variant in target.variants if variant.image_id]
        images = [(image, manifest) for image, manifest in here if image is not None]
        if platform is not None:
            suiting = [one for one in images if platforms.distance(platform, one[0].platform) == 0]
            if not suiting:
                raise NotFound(
                    f"image with reference {reference.familiar} was found but does not provide the specified platform "
                    f"({platform})"
                )
            return Plan(suiting[:1])
        if target.is_index:
            absent = [variant.manifest.digest for variant in target.variants if not variant.image_id]
            if await in_thread(client.cancellation, lambda: _has_all(repository, absent)):
                return Plan(images, described(self._images.content.read(target.digest), target.descriptor.media_type))
        default = store.default(target)
        return Plan([one for one in images if one[0].id == default.id][:1])

    def _upload(self, layer: Layer, manifest_type: str, reference: Reference) -> LayerUpload:
        """What is known of a layer: where it was pushed or pulled, its own archive first, this repository first."""
        known = self._images.layer_blobs.known(layer.diff_id)
        own = [one for one in known if one.descriptor.digest == layer.blob.digest]
        rest = sorted((one for one in known if one not in own), key=lambda one: one.repository != reference.name)
        candidates = [*own, *([] if own else [CompressedDigest(layer.blob, "")]), *rest]
        size = self._images.layers.archive_size(layer.chain_id)
        content = self._images.content
        kept = content.path(layer.blob.digest) if content.has(layer.blob.digest) else None
        return LayerUpload(layer, size, candidates, manifest_type, kept)

    def _remember(self, reference: Reference, image: Image, blobs: list[Descriptor]) -> None:
        for layer, blob in zip(image.layers, blobs, strict=True):
            self._images.layer_blobs.remember(layer.diff_id, blob, reference.name)

    def _rename(
        self, reference: Reference, target: Target, plan: Plan, final: Document, pushed: dict[str, Document]
    ) -> None:
        """Let the name refer to what was pushed, when that is another document, and tell."""
        images = self._images
        with images.store.changing():
            if final.digest != target.digest and (plan.index is not None or not target.is_index):
                for image, _ in plan.images:
                    images.recorder.record(
                        final.content,
                        final.media_type,
                        config=images.content.read(image.id),
                        manifests={made.digest: made.content for made in pushed.values()} if plan.index else None,
                        names=[reference],
                    )
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
    return Document(content, media_type, digest_of(content))


def _put(repository: Repository, manifest: Document, config: bytes, *, by_digest: bool) -> None:
    """Push the config, and a manifest that an index will name. Blocks."""
    from darse.distribution import Uploads  # noqa: PLC0415

    digest = digest_of(config)
    if repository.has_blob(digest) is None:
        Uploads(repository).put(config, digest)
    if by_digest:
        Uploads(repository).put_manifest(manifest.digest, manifest)


def _has_all(repository: Repository, digests: list[str]) -> bool:
    """Whether the repository has manifests that are not here. Blocks."""
    return all(repository.head(digest) is not None for digest in digests)


async def _until_done(uploads: list[LayerUpload], tasks: list[asyncio.Task[Descriptor]]) -> AsyncIterator[Progress]:
    """Tell what the layers do, the topmost first as docker does, until all are there; what fails ends the others."""
    try:
        async for message in until_done(ProgressReporter(uploads[::-1]), tasks):
            yield message
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _instead_of(target: Target, final: Document) -> Progress:
    """What docker's client is told when only one platform of several went."""
    selected = Descriptor(final.media_type, final.digest, len(final.content))
    return {
        "progressDetail": {},
        "aux": {
            "manifestPushedInsteadOfIndex": True,
            "originalIndex": msgspec.to_builtins(target.descriptor),
            "selectedManifest": msgspec.to_builtins(selected),
        },
    }
