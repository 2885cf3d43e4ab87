"""The exporters `moby` and `image`: an image in the engine's store, and in registries."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from darse.build.errors import BuildError
from darse.build.exporter import Exported, ExportOptions, PlatformResult, export_images
from darse.build.progress import BuildReport, VertexNote, internal_vertex
from darse.build.service import BuildService
from darse.buildkit.sessions.secrets import SessionSecrets
from darse.core.errors import EngineError
from darse.image_spec.manifests import Descriptor
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
    secrets: SessionSecrets,
    attributes: Mapping[str, str],
    results: Sequence[PlatformResult],
    epoch: int | None,
    report: BuildReport,
) -> dict[str, str]:
    """Make an image, name it, push it; return the exporter's response. Raises BuildError."""
    if is_set(attributes, "push-by-digest"):
        return await _push_unnamed(service, secrets, attributes, results, epoch, report)
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
            exported = msgspec.structs.replace(exported, target=await _push(service, secrets, name, report))
        return response(exported, options.names)
    found = response(exported, options.names)
    if len(exported.image_ids) == 1:
        # As moby says it: compose compares it with the id of the image that a container is made from.
        found["containerimage.digest"] = exported.image_ids[0]
    return found


async def _push(service: BuildService, secrets: SessionSecrets, name: str, report: BuildReport) -> Descriptor:
    """Push a name; return what it refers to there: layers that are compressed on the way make another manifest."""
    reference = references.parse_tag(name)
    credentials = await secrets.log_in(reference.domain)
    async with internal_vertex(report, f"pushing {reference}"):
        try:
            (pushed,) = await service.registries.pusher.push_image(reference, credentials=credentials)
        except EngineError as error:
            raise BuildError(f"failed to push {reference}: {error}") from error
    return pushed.target


async def _push_unnamed(
    service: BuildService,
    secrets: SessionSecrets,
    attributes: Mapping[str, str],
    results: Sequence[PlatformResult],
    epoch: int | None,
    report: BuildReport,
) -> dict[str, str]:
    """Push an image by its digest alone, to repositories; nothing has a name afterwards, and nothing is kept here."""
    repositories = [references.parse_name(name) for name in attributes.get("name", "").split(",") if name]
    if not repositories or not is_set(attributes, "push"):
        raise BuildError("push-by-digest needs push=true and a name")
    if not all(one.is_bare for one in repositories):
        raise BuildError("can't push tagged ref by digest: name the repository alone, without a tag")
    async with exported_for_now(service, {**attributes, "name": ""}, results, epoch, report) as exported:
        for one in repositories:
            credentials = await secrets.log_in(one.domain)
            async with internal_vertex(report, f"pushing {one} by digest"):
                digest = exported.target.digest
                pushed = await service.registries.pusher.push_by_digest(one, digest, credentials=credentials)
            last = msgspec.structs.replace(exported, target=pushed)
        return response(last, ()) | {"image.name": ",".join(map(str, repositories))}


@contextlib.asynccontextmanager
async def exported_for_now(
    service: BuildService,
    attributes: Mapping[str, str],
    results: Sequence[PlatformResult],
    epoch: int | None,
    report: BuildReport,
    vertex: str = "exporting to image",
) -> AsyncIterator[Exported]:
    """An image in the engine's store for the block, without a name, and gone again unless it was there before.

    Raises BuildError, also where the block raises EngineError.
    """
    images = service.images
    before = images.image_ids()
    try:
        async with internal_vertex(report, vertex):
            exported = await export_images(service.executor, results, export_options(attributes, epoch))
        try:
            yield exported
        finally:
            for image_id in exported.image_ids:
                if image_id not in before and not images.names_with(image_id):
                    await images.deletion.remove_image(image_id, force=False, prune=False)
    except EngineError as error:
        raise BuildError(str(error)) from error


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
