"""The exporters `oci` and `docker`: an image as an archive for the client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from darse.build.errors import BuildError
from darse.build.exporter import PlatformResult
from darse.build.progress import BuildReport, internal_vertex
from darse.build.service import BuildService
from darse.buildkit.exporters.archives import send_archive
from darse.buildkit.exporters.images import export_options, exported_for_now, response
from darse.buildkit.sessions import ClientSession
from darse.images import references


async def send_image(
    session: ClientSession,
    number: int,
    service: BuildService,
    kind: str,
    attributes: Mapping[str, str],
    results: Sequence[PlatformResult],
    epoch: int | None,
    report: BuildReport,
) -> dict[str, str]:
    """Send an image; return the exporter's response. It is in the engine's store meanwhile, without a name.

    Raises BuildError.
    """
    if attributes.get("tar", "true").lower() in ("false", "0", "f"):
        raise BuildError(f"the {kind} exporter writes archives on this engine: tar=false is not supported")
    named = export_options(attributes, epoch)
    vertex = f"exporting to {kind} image format"
    unnamed = {**attributes, "name": ""}
    async with exported_for_now(service, unnamed, results, epoch, report, vertex) as exported:
        names = [references.parse_tag(name) for name in named.names]
        response_attributes = response(exported, named.names)
        async with internal_vertex(report, "sending tarball"):
            pieces = service.images.saver.save_as(exported.target.digest, names)
            await send_archive(session, number, pieces, response_attributes)
    return response_attributes
