"""Save images to archives: docker's layout and OCI's in one, as docker writes since 25.0.

Layers are rebuilt from their unpacked files, so the archive holds them uncompressed, whatever they were when they came;
manifests and an index are written for that. Where every layer came uncompressed, or the archives are kept, the
documents are the original ones. Documents come first, so that a reader of the stream knows what follows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import NamedTuple

import msgspec

from darse.archive.headers import END, entry_headers, member
from darse.archive.tar import BLOCK, REGULAR
from darse.core import executors
from darse.core.errors import SystemFault
from darse.core.events import EventLog
from darse.image_spec.manifests import Descriptor, Index, Manifest, encode_index, encode_manifest
from darse.image_spec.media_types import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from darse.image_spec.platforms import Platform
from darse.images.archive.layout import ArchiveManifestEntry, blob_name
from darse.images.content import attestations
from darse.images.content.manifests import decode
from darse.images.content.store import ContentStore
from darse.images.events import publish_image_event
from darse.images.gc.collector import GarbageCollector
from darse.images.layers.store import LayerStore
from darse.images.model import Image, Target
from darse.images.references import Reference
from darse.images.store import ImageStore
from darse.linux.fs.files import open_regular

_PIECE = 1024 * 1024


class _Chosen(NamedTuple):
    """A target to write: its images that are saved, and the names that it gets."""

    target: Target
    images: list[Image]
    names: list[Reference]


class _Plan:
    """The archive's content: documents by member name, and layers by digest."""

    def __init__(self) -> None:
        self.documents: dict[str, bytes] = {}
        # Of each layer: its descriptor, and the chain ID that it is rebuilt from, or "" for a kept blob.
        self.layers: dict[str, tuple[Descriptor, str]] = {}

    def blob(self, content: bytes, media_type: str) -> Descriptor:
        """Add a document."""
        descriptor = Descriptor.of(content, media_type)
        self.documents[blob_name(descriptor.digest)] = content
        return descriptor


class ImageSaver:
    """Saves images."""

    def __init__(
        self, images: ImageStore, content: ContentStore, layers: LayerStore, gc: GarbageCollector, events: EventLog
    ) -> None:
        self._images = images
        self._content = content
        self._layers = layers
        self._gc = gc
        self._events = events

    def save_images(self, texts: list[str], platforms: Sequence[Platform] = ()) -> AsyncIterator[bytes]:
        """Return an archive of the images with these names, ids or digests, as a stream.

        A name saves the images of all platforms that are here, or only of `platforms`; an id saves one image. A name
        without a tag means all tags of the repository. Raises NotFound before the stream begins.
        """
        chosen: dict[str, _Chosen] = {}
        for text, name in [(asked, one) for asked in texts for one in self._images.tags_of(asked) or (asked,)]:
            of_platforms = [self._images.find(name, platform) for platform in platforms or (None,)]
            found = of_platforms[0]
            whole = not platforms and (found.reference is not None or text == found.target.digest)
            images = list({one.image.id: one.image for one in of_platforms}.values())
            if whole:
                images = self._images.images_of(found.target)
            key = f"{found.target.digest} {' '.join(image.id for image in images)}"
            one = chosen.setdefault(key, _Chosen(found.target, images, []))
            reference = found.reference
            if reference is not None and not reference.digest and reference not in one.names:
                one.names.append(reference)
        for one in chosen.values():
            publish_image_event(self._events, "save", self._foremost(one))
        return self._saved(list(chosen.values()))

    def save_as(self, digest: str, names: Sequence[Reference]) -> AsyncIterator[bytes]:
        """Return an archive of the manifest or index with this digest under names that it need not have here.

        Raises NotFound before the stream begins.
        """
        target = self._images.find(digest).target
        return self._saved([_Chosen(target, self._images.images_of(target), list(names))])

    async def _saved(self, chosen: list[_Chosen]) -> AsyncIterator[bytes]:
        async with self._gc.lease() as lease:
            for one in chosen:
                lease.hold(*(chain_id for image in one.images for chain_id in image.chain_ids))
            plan = self._planned(chosen)
            yield b"".join(member(name.encode(), content) for name, content in plan.documents.items())
            for descriptor, chain_id in plan.layers.values():
                yield entry_headers(blob_name(descriptor.digest).encode(), REGULAR, size=descriptor.size)
                written = 0
                async for piece in self._layer(descriptor, chain_id):
                    written += len(piece)
                    yield piece
                if written != descriptor.size:
                    raise SystemFault(f"layer {descriptor.digest} has {written} bytes instead of {descriptor.size}")
                yield bytes(-descriptor.size % BLOCK)
            yield END

    async def _layer(self, descriptor: Descriptor, chain_id: str) -> AsyncIterator[bytes]:
        if chain_id:
            async for piece in self._layers.archive(chain_id):
                yield piece
        else:
            with open(self._content.path(descriptor.digest), "rb", opener=open_regular) as file:
                while piece := await executors.storage.run(file.read, _PIECE):
                    yield piece

    def _planned(self, chosen: list[_Chosen]) -> _Plan:
        plan = _Plan()
        entries: list[Descriptor] = []
        table: list[ArchiveManifestEntry] = []
        blobs = _Plan()
        together = {image.id for one in chosen for image in one.images}
        for one in chosen:
            manifests = {image.id: self._manifest(one.target, image, blobs) for image in one.images}
            top = self._top(one, manifests, blobs)
            top = msgspec.structs.replace(top, annotations=None, platform=None)
            entries += [msgspec.structs.replace(top, annotations=_naming(name)) for name in one.names] or [top]
            foremost = self._foremost(one)
            layers = decode(blobs.documents[blob_name(manifests[foremost.id].digest)], Manifest).layers
            names = [name.familiar for name in one.names]
            parent = self._parent(foremost, together) or msgspec.UNSET
            paths = [blob_name(layer.digest) for layer in layers]
            table.append(ArchiveManifestEntry(blob_name(foremost.id), names, paths, parent))
        plan.documents = {
            "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
            "index.json": encode_index(entries),
            "manifest.json": msgspec.json.encode(table),
            **blobs.documents,
        }
        plan.layers = blobs.layers
        return plan

    def _parent(self, image: Image, together: set[str]) -> str:
        """The nearest image in the archive that an image was made from; "" for none."""
        parent = image.parent
        while parent and parent not in together:
            above = self._images.by_id(parent)
            parent = above.parent if above is not None else ""
        return parent

    def _manifest(self, target: Target, image: Image, plan: _Plan) -> Descriptor:
        """Add an image, and return its manifest in the archive."""
        variant = next((one.manifest for one in target.variants if one.image_id == image.id), image.manifest)
        original = self._content.read(variant.digest)
        came = decode(original, Manifest)
        came_as = came.layers
        blobs = []
        for blob, layer in zip(came_as, image.layers, strict=True):
            kept = self._content.has(blob.digest)
            blobs.append(blob if kept else self._rebuilt(layer.diff_id, layer.chain_id))
            plan.layers[blobs[-1].digest] = (blobs[-1], "" if kept else layer.chain_id)
        plan.blob(self._content.read(image.id), OCI_CONFIG)
        if [blob.digest for blob in blobs] == [blob.digest for blob in came_as]:
            made = plan.blob(original, variant.media_type)
        else:
            config = Descriptor(OCI_CONFIG, image.id, image.config_size)
            made = plan.blob(encode_manifest(config, blobs, annotations=came.annotations), OCI_MANIFEST)
        return msgspec.structs.replace(
            made, platform=variant.platform or image.platform, annotations=variant.annotations
        )

    def _rebuilt(self, diff_id: str, chain_id: str) -> Descriptor:
        return Descriptor(OCI_LAYER, diff_id, self._layers.archive_size(chain_id))

    def _top(self, one: _Chosen, manifests: dict[str, Descriptor], plan: _Plan) -> Descriptor:
        """The target of the archive's names: the manifest, or an index of several."""
        attested = list(self._attestations(one.target, manifests, plan))
        if not one.target.is_index or (len(one.images) == 1 and not attested):
            return manifests[one.images[0].id]
        original = self._content.read(one.target.digest)
        index, listed = decode(original, Index), [*manifests.values(), *attested]
        if {entry.digest for entry in index.manifests} == {made.digest for made in listed}:
            return plan.blob(original, one.target.descriptor.media_type)
        return plan.blob(encode_index(listed, annotations=index.annotations), OCI_INDEX)

    def _attestations(self, target: Target, manifests: dict[str, Descriptor], plan: _Plan) -> Iterator[Descriptor]:
        """Add what is attested of the images that are saved, where it is here; yield the attestations' manifests."""
        made = {one.manifest.digest: manifests[one.image_id] for one in target.variants if one.image_id in manifests}
        for variant in target.variants:
            subject = made.get(variant.manifest.attests)
            found = attestations.moved(self._content, variant.manifest, subject.digest) if subject is not None else None
            if found is not None:
                for content in found.contents:
                    plan.blob(content, "")
                yield found.descriptor

    def _foremost(self, one: _Chosen) -> Image:
        """The image that docker's layout lists, and that the event is about."""
        default = self._images.default(one.target)
        return default if default in one.images else one.images[0]


def _naming(name: Reference) -> dict[str, str]:
    return {"io.containerd.image.name": str(name), "org.opencontainers.image.ref.name": name.tag}
