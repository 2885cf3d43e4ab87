"""The bills of materials of one build: of its results, and of the stages and contexts that its Dockerfile names."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from darse.build.dockerfile.convert import ResolvedImage
from darse.build.errors import BuildError
from darse.build.executor.session import BuildSession
from darse.build.exporter import BillOfMaterials, PlatformResult
from darse.build.graph import Definition, GraphBuilder, ImageSource, VertexMetadata
from darse.build.progress import BuildReport, VertexNote, internal_vertex
from darse.build.request import SbomRequest
from darse.build.sbom.answers import PREDICATE_TYPE
from darse.build.sbom.generator import read_bills, scanner_process
from darse.build.sbom.scanner import scan_tree
from darse.build.solver import Snapshot, Solution, VertexLog
from darse.core.errors import EngineError
from darse.image_spec import platforms
from darse.images import references

if TYPE_CHECKING:
    from darse.build.executor import EngineExecutor

_CORE = "sbom"


class ScanServices(msgspec.Struct, frozen=True):
    """What scans use of the build that they are for."""

    executor: EngineExecutor
    session: BuildSession
    report: BuildReport
    resolve: Callable[[str, str], Awaitable[ResolvedImage]]
    """An image by its full reference, for a platform."""
    solve: Callable[[Definition], Awaitable[Solution]]
    """What a graph comes to."""
    release: Callable[[Solution], None]


async def with_bills(
    services: ScanServices,
    asked: SbomRequest,
    results: Sequence[PlatformResult],
    extras: Sequence[Mapping[str, Definition]],
) -> list[PlatformResult]:
    """Results with their bills of materials. extras: of each, graphs of other trees that are scanned, by name.

    Raises BuildError.
    """
    made = []
    for result, more in zip(results, extras, strict=True):
        scans = _Scans(services, asked, result)
        try:
            found = await (scans.in_image(more) if asked.generator else scans.built_in(more))
        except (EngineError, OSError) as error:
            raise BuildError(f"failed to make the bill of materials: {error}") from error
        finally:
            scans.close()
        made.append(msgspec.structs.replace(result, bills=found))
    return made


class _Scans:
    """Those of one result."""

    def __init__(self, services: ScanServices, asked: SbomRequest, result: PlatformResult) -> None:
        self._services = services
        self._asked = asked
        self._result = result
        self._solutions: list[Solution] = []

    def close(self) -> None:
        """Release what was solved."""
        for one in self._solutions:
            self._services.release(one)

    async def built_in(self, extras: Mapping[str, Definition]) -> list[BillOfMaterials]:
        """By the engine's own scanner: a document for each tree."""
        services, platform = self._services, self._result.image.platform
        created = self._result.created if self._result.created is not None else int(time.time())
        async with internal_vertex(services.report, f"[internal] generating sbom for {platform}") as vertex:
            trees = {_CORE: self._result.snapshot}
            trees |= {f"{_CORE}-{name}": one for name, one in (await self._solved(extras)).items()}
            found = []
            for name, snapshot in trees.items():
                document = await scan_tree(services.executor, snapshot, name, created)
                facts = msgspec.json.decode(document, type=_Facts)
                services.report(VertexNote(vertex, f"{name}: {len(facts.packages) - 1} packages"))
                for note in filter(None, facts.creation.comment.split("\n")):
                    services.report(VertexLog(vertex, 2, f"{name}: {note}\n".encode()))
                found.append(BillOfMaterials(f"{name}.spdx.json", PREDICATE_TYPE, msgspec.Raw(document)))
        return found

    async def in_image(self, extras: Mapping[str, Definition]) -> list[BillOfMaterials]:
        """By the scanner of an image, which runs on this machine, whatever platform it scans."""
        services, asked = self._services, self._asked
        platform = str(platforms.host())
        resolved = await services.resolve(str(references.parse_tag(asked.generator)), platform)
        graph = GraphBuilder()
        source = ImageSource(reference=resolved.reference)
        edge = graph.add(source, platform=platform, metadata=VertexMetadata(f"resolve scanner {asked.generator}"))
        scanner = await self._solve(graph.definition(edge))
        if scanner is None:
            raise BuildError(f"scanner {asked.generator} has no files")
        others = {name: one for name, one in (await self._solved(extras)).items() if one is not None}
        tree = self._result.snapshot
        config = resolved.config.get("config") or {}
        process = scanner_process(asked, config, list(others), has_tree=tree is not None)
        inputs = [scanner, *([tree] if tree is not None else []), *others.values()]
        name = f"[{self._result.image.platform}] generating sbom using {asked.generator}"
        async with AsyncExitStack() as stack, internal_vertex(services.report, name) as vertex:

            def log(stream: int, data: bytes) -> None:
                services.report(VertexLog(vertex, stream, data))

            outputs = await services.executor.processes.run(services.session, process, "", inputs, {}, log)
            for one in outputs:
                stack.push_async_callback(partial(services.executor.remove, one.id))
            return await services.executor.trees.read(services.executor.layers_of(outputs[0]), read_bills)

    async def _solved(self, extras: Mapping[str, Definition]) -> dict[str, Snapshot | None]:
        return {name: await self._solve(_from_cache(graph)) for name, graph in extras.items()}

    async def _solve(self, graph: Definition) -> Snapshot | None:
        solution = await self._services.solve(graph)
        self._solutions.append(solution)
        return solution.snapshot


def _from_cache(graph: Definition) -> Definition:
    """A graph that the build has run already: what `--no-cache` has made anew is not made once more."""
    metadata = {digest: msgspec.structs.replace(one, ignore_cache=False) for digest, one in graph.metadata.items()}
    return msgspec.structs.replace(graph, metadata=metadata)


class _Creation(msgspec.Struct):
    comment: str = ""


class _Facts(msgspec.Struct):
    """What is said of a document in the progress."""

    packages: Sequence[msgspec.Raw]
    creation: _Creation = msgspec.field(name="creationInfo")
