"""What registries keep beside images: documents with layers that belong to no image here, such as caches of builds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from darse.distribution import manifests
from darse.distribution.errors import RegistryError
from darse.distribution.manifests import Document
from darse.image_spec.digests import digest_of
from darse.image_spec.manifests import Descriptor, Index, Manifest, encode_manifest
from darse.image_spec.media_types import OCI_MANIFEST
from darse.images.model import Layer
from darse.images.references import Reference
from darse.images.transfer import registry_errors
from darse.images.transfer.manager import TransferManager
from darse.images.transfer.mirrors import first_answer, try_endpoints
from darse.images.transfer.push import Pusher
from darse.images.transfer.registries import Registries, in_thread

if TYPE_CHECKING:
    from darse.distribution import Credentials, Repository

_T = TypeVar("_T")
ConfigOf = Callable[[Sequence[Descriptor]], tuple[bytes, str, list[Descriptor]]]
"""Of the layers as the registry has them: the content of the config, its media type, and the layers to be listed."""


class ArtifactTransfers:
    """Reads and writes them. Every method raises EngineError."""

    def __init__(self, registries: Registries, transfers: TransferManager, pusher: Pusher) -> None:
        self._registries = registries
        self._transfers = transfers
        self._pusher = pusher

    async def manifest(self, reference: Reference, credentials: Credentials | None) -> Manifest | Index:
        """What a reference names, an image or anything else."""
        asked = reference.digest or reference.tag

        def ask(repository: Repository) -> Manifest | Index:
            return manifests.parse(repository.manifest(asked))

        return await self._asked(reference, credentials, ask)

    async def described(
        self, reference: Reference, credentials: Credentials | None, descriptor: Descriptor
    ) -> Manifest | Index:
        """A document that an index has."""

        def ask(repository: Repository) -> Manifest | Index:
            return manifests.parse(repository.described(descriptor))

        return await self._asked(reference, credentials, ask)

    async def blob(
        self, reference: Reference, credentials: Credentials | None, descriptor: Descriptor, limit: int
    ) -> bytes:
        """A small blob of at most so many bytes, verified."""
        return await self._asked(reference, credentials, lambda repository: repository.small_blob(descriptor, limit))

    async def _asked(
        self, reference: Reference, credentials: Credentials | None, ask: Callable[[Repository], _T]
    ) -> _T:
        client = self._registries.client(credentials)
        try:
            return await in_thread(client.cancellation, lambda: first_answer(client, reference, ask))
        except RegistryError as error:
            raise registry_errors.of_pull(error, reference) from error

    async def fetch_layer(self, reference: Reference, credentials: Credentials | None, layer: Layer) -> None:
        """Bring a layer into the store, which verifies its archive and what that unpacks to. Call it with a lease."""
        client = self._registries.client(credentials)

        async def fetch(repository: Repository) -> None:
            transfer = await self._transfers.acquire(layer.chain_id, layer.diff_id, layer.blob, repository)
            try:
                await asyncio.shield(transfer.task)
            finally:
                self._transfers.release_transfers([transfer], discard=True)

        try:
            await try_endpoints(client, reference, fetch)
        except RegistryError as error:
            raise registry_errors.of_pull(error, reference) from error

    async def push(
        self, reference: Reference, credentials: Credentials | None, layers: Sequence[Layer], config_of: ConfigOf
    ) -> Descriptor:
        """Push layers, and a manifest of them with a config; return its descriptor. Call it with a lease on them."""
        from darse.distribution import Uploads  # noqa: PLC0415

        client = self._registries.client(credentials)

        async def push(repository: Repository) -> Descriptor:
            await in_thread(client.cancellation, repository.session.ping)
            blobs = await self._pusher.push_layers(client, repository, reference, layers)
            content, media_type, listed = config_of(blobs)
            document = Document.of(encode_manifest(Descriptor.of(content, media_type), listed), OCI_MANIFEST)

            def put() -> None:
                uploads = Uploads(repository)
                if repository.has_blob(digest_of(content)) is None:
                    uploads.put(content, digest_of(content))
                uploads.put_manifest(reference.tag, document)

            await in_thread(client.cancellation, put)
            return document.descriptor

        try:
            return await try_endpoints(client, reference, push, writing=True)
        except RegistryError as error:
            raise registry_errors.of_push(error) from error
