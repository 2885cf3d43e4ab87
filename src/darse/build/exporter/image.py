"""Images of builds' trees and of the configurations that the front end has made.

    manifest                                     one platform
    index ── manifest, manifest, …               several, or with attestations, which are manifests, too
          └─ attestation ── statement, …

The history has one line with a layer for each layer, as the image specification wants it (config.md).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from darse.build.dockerfile.convert.image import HistoryLine, ImageDocument, timestamp
from darse.build.errors import BuildError
from darse.build.exporter.attestations import attestation_of
from darse.build.exporter.layers import LayerExport
from darse.build.exporter.options import ExportOptions, PlatformResult
from darse.build.solver.operation_executor import Snapshot
from darse.core import executors
from darse.core.errors import InvalidParameter
from darse.core.times import rfc3339
from darse.image_spec.manifests import Descriptor, encode_index, encode_manifest
from darse.image_spec.media_types import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from darse.image_spec.platforms import Platform
from darse.images import references
from darse.images.gc.collector import Lease
from darse.images.model import Layer, parse_config
from darse.images.references import Reference
from darse.images.writer import ImageDocuments

if TYPE_CHECKING:
    from darse.build.executor import EngineExecutor


#: Of a history that is written at once; one of a hundred thousand is written in a thread.
_FEW_LINES = 200
INLINE_CACHE = "moby.buildkit.cache.v0"
"""The member of a configuration with the cache of its build."""


class Exported(msgspec.Struct, frozen=True):
    """What was recorded."""

    id: str
    """The image's, or of several the index's digest."""
    target: Descriptor
    """The manifest, or the index."""
    image_ids: tuple[str, ...]


class _Made(msgspec.Struct, frozen=True):
    """The documents of one platform's image."""

    config: bytes
    manifest: bytes
    descriptor: Descriptor


async def export_image(
    executor: EngineExecutor,
    snapshot: Snapshot | None,
    image: ImageDocument,
    *,
    names: Sequence[str] = (),
    epoch: int | None = None,
) -> str:
    """Record an image of one tree under these names; return its id. Raises as `export_images`."""
    result = PlatformResult(snapshot=snapshot, image=image, created=epoch)
    return (await export_images(executor, [result], ExportOptions(names=names))).id


async def export_images(
    executor: EngineExecutor, results: Sequence[PlatformResult], options: ExportOptions
) -> Exported:
    """Record an image of each platform's tree, and an index of them where there are several, or attestations.

    Raises BuildError for names that are none, InvalidParameter for a tree that no layer can hold, and SystemFault.
    """
    tags = [_tag(name) for name in options.names]
    with_index = len(results) > 1 or any(one.predicates for one in results)
    if not with_index and any(one.kind == "index" for one in options.annotations):
        raise BuildError("index annotations not supported for single platform export")
    async with executor.images.lease() as lease:
        made = [await _made(executor, one, options, lease) for one in results]
        more: list[bytes] = []
        target, media_type = made[0].manifest, OCI_MANIFEST
        if with_index:
            listed = [one.descriptor for one in made]
            for one, result in zip(made, results, strict=True):
                if result.predicates:
                    attestation = attestation_of(one.descriptor, result.predicates, options.names)
                    listed.append(attestation.descriptor)
                    more += attestation.contents
            target = encode_index(listed, annotations=_annotations(options, "index"))
            media_type = OCI_INDEX
        manifests = {one.descriptor.digest: one.manifest for one in made} if with_index else None
        documents = [
            ImageDocuments.of_target(target, media_type, config=one.config, manifests=manifests) for one in made
        ]
        recorded, found = await executor.images.create_target(documents, more, names=tags)
        ids = tuple(one.id for one in recorded)
        return Exported(ids[0] if len(ids) == 1 else found.digest, found.descriptor, ids)


def _tag(name: str) -> Reference:
    try:
        return references.parse_tag(name)
    except InvalidParameter as error:
        raise BuildError(f"invalid tag {name!r}: {error}") from error


async def _made(executor: EngineExecutor, result: PlatformResult, options: ExportOptions, lease: Lease) -> _Made:
    stack = executor.layers_of(result.snapshot) if result.snapshot is not None else ()
    image = result.image
    layers = await LayerExport(executor, lease, options).export(stack, image.diff_ids)
    squash = options.squash and len(layers) > len(image.diff_ids)
    if len(image.history) <= _FEW_LINES:
        config, platform = _config(result, layers, squash=squash)
    else:
        config, platform = await executors.storage.run(_config, result, layers, squash=squash)
    shown = str(platform)
    manifest = encode_manifest(
        Descriptor.of(config, OCI_CONFIG),
        [layer.blob for layer in layers],
        annotations=_annotations(options, "manifest", shown),
    )
    descriptor = msgspec.structs.replace(
        Descriptor.of(manifest, OCI_MANIFEST),
        platform=platform,
        annotations=_annotations(options, "manifest-descriptor", shown),
    )
    return _Made(config, manifest, descriptor)


def _config(result: PlatformResult, layers: Sequence[Layer], *, squash: bool) -> tuple[bytes, Platform]:
    """The configuration, and its platform in the normal form."""
    document = _document(result.image, layers, result.created, squash=squash)
    if result.inline_cache is not None:
        document[INLINE_CACHE] = result.inline_cache([layer.diff_id for layer in layers])
    config = msgspec.json.encode(document)
    return config, parse_config(config).platform


def _annotations(options: ExportOptions, kind: str, platform: str = "") -> dict[str, str] | None:
    found = {one.name: one.value for one in options.annotations if one.is_for(kind, platform)}
    return dict(sorted(found.items())) or None


def _document(image: ImageDocument, layers: Sequence[Layer], epoch: int | None, *, squash: bool) -> dict[str, Any]:
    created = rfc3339(time.time_ns()) if epoch is None else timestamp(epoch)
    document = image.document()
    lines = _squashed(image.history, len(layers)) if squash else image.history
    history = [msgspec.structs.replace(line, created=line.created or created) for line in _matching(lines, len(layers))]
    return {
        "created": created,
        **document,
        "history": [line.document() for line in history],
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }


def _squashed(history: Sequence[HistoryLine], layers: int) -> list[HistoryLine]:
    """The history of an image whose own layers are one: the last line has it, as docker's classic builder does it."""
    lines: list[HistoryLine] = []
    for line in history:
        below = layers > 1 and not line.empty_layer
        layers -= below
        lines.append(line if below or line.empty_layer else msgspec.structs.replace(line, empty_layer=True))
    return [*lines, HistoryLine("", empty_layer=False, comment="squash")] if layers else lines


def _matching(history: Sequence[HistoryLine], layers: int) -> list[HistoryLine]:
    """The history with as many lines with a layer as there are layers: other front ends' may not match."""
    matched = []
    for line in history:
        if not line.empty_layer and not layers:
            matched.append(msgspec.structs.replace(line, empty_layer=True))
            continue
        layers -= not line.empty_layer
        matched.append(line)
    return [*matched, *(HistoryLine("created by darse", empty_layer=False) for _ in range(layers))]
