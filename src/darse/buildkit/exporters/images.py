"""The exporters `moby` and `image`: an image in the engine's store, and in registries."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import msgspec

from darse.build.errors import BuildError
from darse.build.exporter import Exported, ExportOptions, PlatformResult, export_images
from darse.build.progress import BuildReport, VertexNote, internal_vertex
from darse.build.service import BuildService
from darse.buildkit.sessions.confidences import Confidences
from darse.core.errors import EngineError
from darse.images import references

_TRUE = frozenset({"1", "t", "true"})
# Attributes that say where an image goes, not how it is made.
_WHERE = frozenset(
    "name push registry.insecure prefer-image-digest unpack store danglingname-prefix dangling-name-prefix "
    "name-canonical push-by-digest buildinfo-attrs dest tar context".split()
)


def is_set(attributes: Mapping[str, str], name: str) -> bool:
    """Whether an attribute says yes."""
    return attributes.get(name, "").lower() in _TRUE


def export_options(attributes: Mapping[str, str], epoch: int | None) -> ExportOptions:
    """How an image is made. Raises BuildError."""
    names = [name for name in attributes.get("name", "").split(",") if name]
    options = ExportOptions(names=names, epoch=epoch)
    return options.with_attributes({key: value for key, value in attributes.items() if key not in _WHERE})


async def export_to_store(
    service: BuildService,
    confidences: Confidences,
    attributes: Mapping[str, str],
    results: Sequence[PlatformResult],
    epoch: int | None,
    report: BuildReport,
) -> dict[str, str]:
    """Make an image, name it, push it; return what its client is told. Raises BuildError."""
    if is_set(attributes, "push-by-digest"):
        raise BuildError("push-by-digest is not supported by this engine: an image is pushed by its name")
    options = export_options(attributes, epoch)
    async with internal_vertex(report, "exporting to image") as vertex:
        try:
            exported = await export_images(service.executor, results, options)
        except EngineError as error:
            raise BuildError(str(error)) from error
        report(VertexNote(vertex, f"writing image {exported.id}"))
        for name in options.names:
            report(VertexNote(vertex, f"naming to {references.parse_tag(name)}"))
    if is_set(attributes, "push"):
        for name in options.names:
            await _push(service, confidences, name, report)
    return response(exported, options.names)


async def _push(service: BuildService, confidences: Confidences, name: str, report: BuildReport) -> None:
    reference = references.parse_tag(name)
    credentials = await confidences.log_in(reference.domain)
    async with internal_vertex(report, f"pushing {reference}"):
        try:
            await service.registries.pusher.push_image(reference, credentials=credentials)
        except EngineError as error:
            raise BuildError(f"failed to push {reference}: {error}") from error


def response(exported: Exported, names: Sequence[str]) -> dict[str, str]:
    """What clients write down of an image (`--iidfile`, `--metadata-file`)."""
    found = {
        "containerimage.digest": exported.target.digest,
        "containerimage.descriptor": base64.b64encode(msgspec.json.encode(exported.target)).decode(),
    }
    if len(exported.image_ids) == 1:
        found["containerimage.config.digest"] = exported.image_ids[0]
    if names:
        found["image.name"] = ",".join(str(references.parse_tag(name)) for name in names)
    return found
