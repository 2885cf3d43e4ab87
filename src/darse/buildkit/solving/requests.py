"""`Control/Solve`: a build from its request to its response.

wait for the session → have what a build needs → the front end's result → solve → export, each exporter in its turn
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import msgspec
from grpclib.exceptions import GRPCError

from darse.build.dockerfile.convert import ImageDocument
from darse.build.errors import BuildError
from darse.build.exporter import PlatformResult, export_archive, with_attestations
from darse.build.graph import NetworkMode
from darse.build.history import AttachmentCollector
from darse.build.progress import BuiltImage, internal_vertex
from darse.build.provenance import BuildFacts, predicate
from darse.build.remote_cache import results_of
from darse.build.request import BuildRequest, ProvenanceRequest
from darse.build.sbom.service import with_bills
from darse.build.service import BuildService
from darse.build.solver import Snapshot, Solution
from darse.buildkit.definitions import decode
from darse.buildkit.errors import as_status, not_implemented
from darse.buildkit.exporters.archives import send_archive
from darse.buildkit.exporters.images import export_to_store, is_set
from darse.buildkit.exporters.saved_images import send_image
from darse.buildkit.exporters.trees import send_trees
from darse.buildkit.frontend.dockerfile import CONFIG
from darse.buildkit.frontend.options import build_request, sbom_request
from darse.buildkit.sessions import SessionPool
from darse.buildkit.solving.caches import export_caches, place_of
from darse.buildkit.solving.client_build import ClientBuild
from darse.buildkit.solving.foreign_frontends import FrontendServices
from darse.buildkit.solving.lazy_references import BuildResult, LazyReference
from darse.buildkit.solving.pool import BuildPool
from darse.buildkit.solving.recording import (
    attach_attestations,
    attach_error,
    attach_progress,
    attach_results,
    attach_trace,
    shown_options,
)
from darse.core.errors import EngineError, InvalidParameter
from darse.image_spec import platforms
from darse.images import references

# As BuildKit's clients make them.
_NAME = re.compile(r"[a-z0-9]{20,40}", re.ASCII)
_STORE = frozenset({"moby", "image"})


class Exporter(msgspec.Struct, frozen=True):
    """Where a result goes."""

    kind: str
    attributes: Mapping[str, str]


class SolveRequests:
    """Runs builds of clients."""

    def __init__(
        self, service: BuildService, sessions: SessionPool, builds: BuildPool, frontend_services: FrontendServices
    ) -> None:
        self._frontend_services = frontend_services
        self._service = service
        self._sessions = sessions
        self._builds = builds

    async def solve(self, message: Any) -> dict[str, str]:
        """Run one; return its exporter response. Raises GRPCError."""
        session = await self._sessions.get(message.Session)
        if message.SourcePolicy.rules or message.SourcePolicySession:
            # A rule that denies a source must not be passed over.
            raise not_implemented("a source policy")
        exporters = _exporters(message)
        build = ClientBuild(message.Ref, self._service, session, self._sessions, self._frontend_services)
        self._builds.add(build)
        try:
            with as_status(build):
                return await self._solve(build, message, exporters)
        finally:
            self._builds.end(build)

    async def _solve(self, build: ClientBuild, message: Any, exporters: Sequence[Exporter]) -> dict[str, str]:
        request = self._request(message, exporters)
        name, internal = _identifier(build.name), message.Internal
        with self._service.history.recorded(request, build.progress, name, internal=internal) as recorder:
            build.report = recorder
            collected = recorder.collected = AttachmentCollector(message.Frontend, shown_options(message.FrontendAttrs))
            build.places_to = tuple(map(place_of, message.Cache.Exports))
            try:
                async with build.opened(request):
                    exporter_response, exported = await self._run(build, message, exporters, collected)
            except (BuildError, EngineError, GRPCError) as error:
                attach_error(collected, error, build)
                raise
            finally:
                await attach_progress(collected, build.progress)
                await attach_trace(collected, recorder)
            collected.response = exporter_response
            recorder.built(BuiltImage(exported))
        return exporter_response

    def _request(self, message: Any, exporters: Sequence[Exporter]) -> BuildRequest:
        """What the history says was asked for, with what its session may use."""
        try:
            asked = build_request(dict(message.FrontendAttrs))
        except BuildError:
            asked = BuildRequest()  # of a front end that is not ours
        names = [name for one in exporters for name in one.attributes.get("name", "").split(",") if name]
        try:
            tags = tuple(references.parse_tag(name) for name in names)
        except InvalidParameter as error:
            raise BuildError(f"invalid tag: {error}") from error
        entitlements = set(message.Entitlements)
        if asked.network is NetworkMode.HOST and "network.host" not in entitlements:
            raise BuildError("network.host is not allowed")
        return msgspec.structs.replace(asked, names=tags, entitlements=frozenset(entitlements))

    async def _run(
        self, build: ClientBuild, message: Any, exporters: Sequence[Exporter], collected: AttachmentCollector
    ) -> tuple[dict[str, str], str]:
        """Solve and export; return the exporter response, and the image."""
        for entry in message.Cache.Imports:
            build.import_from(place_of(entry))
        result = await self._result(build, message)
        solved = await build.solved(result)
        results = [self._platform(build, result, *one) for one in solved]
        if (asked := sbom_request(dict(message.FrontendAttrs))) is not None:
            extras = [one.origin.converted.scanned if one and one.origin else {} for _, one, _ in solved]
            results = await with_bills(build.scan_services(), asked, results, extras)
        for (name, reference, solution), one in zip(solved, results, strict=True):
            attach_attestations(collected, name, _recorded_provenance(one, reference, solution))
        inline = any(place.kind == "inline" for place in build.places_to)
        exporter_response: dict[str, str] = {}
        cache = None
        if build.places_to:
            cache = await results_of(self._service.executor, build.lease, [solution for _, _, solution in solved])
            if inline:
                results = [msgspec.structs.replace(one, inline_cache=cache.inline) for one in results]
        responses = [
            await self._export(build, exporter, number, solved, results) for number, exporter in enumerate(exporters)
        ]
        for response in responses:
            exporter_response |= response
        await attach_results(self._service, collected, responses)
        image = exporter_response.get("containerimage.config.digest") or exporter_response.get(
            "containerimage.digest", ""
        )
        if cache is not None:
            ids = [image] if "containerimage.config.digest" in exporter_response else []
            exporter_response |= await export_caches(build, cache, ids)
        return exporter_response, image

    async def _result(self, build: ClientBuild, message: Any) -> BuildResult:
        if getattr(message.Definition, "def"):
            graph = decode(message.Definition)
            return BuildResult({"": build.reference(graph)}, {})
        if message.Frontend:
            inputs = {name: decode(graph) for name, graph in message.FrontendInputs.items()}
            return await build.run_frontend(message.Frontend, dict(message.FrontendAttrs), inputs)
        return await build.returned

    def _platform(
        self, build: ClientBuild, result: BuildResult, name: str, reference: LazyReference | None, solution: Solution
    ) -> PlatformResult:
        """What one platform's graph came to, with its configuration, and where it is from."""
        config = result.metadata.get(f"{CONFIG}/{name}" if name else CONFIG)
        image = ImageDocument.of(json.loads(config)) if config else ImageDocument(name or str(platforms.host()))
        origin = reference.origin if reference is not None else None
        request = origin.request if origin is not None else BuildRequest()
        made = PlatformResult(snapshot=solution.snapshot, image=image, created=self._service.time_of(request, solution))
        return _attested(made, reference, solution, request.provenance) if request.provenance is not None else made

    async def _export(
        self,
        build: ClientBuild,
        exporter: Exporter,
        number: int,
        solved: Sequence[tuple[str, LazyReference | None, Solution]],
        results: Sequence[PlatformResult],
    ) -> dict[str, str]:
        epoch = next((one.origin.request.source_date_epoch for _, one, _ in solved if one and one.origin), None)
        service, attributes = self._service, exporter.attributes
        if not _leaves_engine(exporter):
            results = [_without_unasked(result, one) for result, (_, one, _) in zip(results, solved, strict=True)]
        if exporter.kind in _STORE:
            return await export_to_store(service, build.session_secrets, attributes, results, epoch, build.report)
        if exporter.kind in ("oci", "docker"):
            kind = exporter.kind
            return await send_image(build.session, number, service, kind, attributes, results, epoch, build.report)
        if exporter.kind in ("local", "tar"):
            is_split = _is_split(exporter, solved)
            async with AsyncExitStack() as stack:
                trees = {}
                for (name, _, _), result in zip(solved, results, strict=True):
                    suffix = "" if is_split or not name else f".{name}"
                    prefix = attributes.get("attestation-prefix", "")
                    files = with_attestations(service.executor, result, prefix, suffix)
                    trees[name] = await stack.enter_async_context(files)
                await self._send_trees(build, exporter, number, trees, split=is_split)
            return {}
        raise BuildError(f'exporter "{exporter.kind}" could not be found')

    async def _send_trees(
        self, build: ClientBuild, exporter: Exporter, number: int, trees: Mapping[str, Snapshot | None], *, split: bool
    ) -> None:
        """Send trees, by their platforms, to a directory of the client, or as an archive."""
        executor = self._service.executor
        if exporter.kind == "local":
            named = {name or str(platforms.host()): one for name, one in trees.items()}
            async with internal_vertex(build.report, "exporting to client directory"):
                await send_trees(build.session, number, executor, named, split=split)
            return
        async with internal_vertex(build.report, "sending tarball"):
            pieces = export_archive(executor, {name.replace("/", "_"): one for name, one in trees.items()})
            try:
                await send_archive(build.session, number, pieces, {})
            finally:
                await pieces.aclose()


def _is_split(exporter: Exporter, solved: Sequence[tuple[str, LazyReference | None, Solution]]) -> bool:
    """Whether each platform's files have a directory of their own; without a word those of a result by platform."""
    given = exporter.attributes.get("platform-split", "")
    return is_set(exporter.attributes, "platform-split") if given else any(name for name, _, _ in solved)


def _identifier(name: str) -> str:
    """A client's name of a build as its id in the history; empty where it could be mistaken for another's."""
    return name if _NAME.fullmatch(name) else ""


def _attested(
    result: PlatformResult, reference: LazyReference | None, solution: Solution, asked: ProvenanceRequest
) -> PlatformResult:
    """With a provenance, where it is known what a result is of."""
    if reference is None or reference.origin is None:
        return result
    made = predicate(asked, _facts(reference.origin.request, reference, result.image, solution))
    return msgspec.structs.replace(result, provenance=made, provenance_type=asked.predicate_type)


def _recorded_provenance(result: PlatformResult, reference: LazyReference | None, solution: Solution) -> PlatformResult:
    """With the provenance that the history has: all of it, whatever is asked for."""
    if reference is None or reference.origin is None:
        return result
    asked = reference.origin.request.provenance or ProvenanceRequest()
    return _attested(result, reference, solution, msgspec.structs.replace(asked, complete=True, version="v1"))


def _facts(
    request: BuildRequest, reference: LazyReference | None, image: ImageDocument, solution: Solution
) -> BuildFacts:
    assert reference is not None
    assert reference.origin is not None
    return BuildFacts(
        request=request,
        converted=reference.origin.converted,
        platform=image.platform,
        identities=solution.identities,
        dockerfile=reference.origin.dockerfile,
        started=reference.origin.started,
        finished=time.time(),
    )


def _leaves_engine(exporter: Exporter) -> bool:
    """Whether others get the image: in an archive of the form that has attestations, or from a registry."""
    return exporter.kind == "oci" or (exporter.kind in _STORE and is_set(exporter.attributes, "push"))


def _without_unasked(result: PlatformResult, reference: LazyReference | None) -> PlatformResult:
    """Without a provenance that nobody has asked the client for.

    It has the time and a number of the build: the engine's own image is to be the same as long as nothing changes.
    """
    asked = reference.origin.request.provenance if reference is not None and reference.origin is not None else None
    return msgspec.structs.replace(result, provenance=None) if asked is not None and asked.inline_only else result


def _exporters(message: Any) -> list[Exporter]:
    found = [Exporter(one.Type, dict(one.Attrs)) for one in message.Exporters]
    if not found and message.ExporterDeprecated:
        found = [Exporter(message.ExporterDeprecated, dict(message.ExporterAttrsDeprecated))]
    return found
