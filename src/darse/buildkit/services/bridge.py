"""`moby.buildkit.v1.frontend.LLBBridge`: what a front end in the client asks, on the connection of its build.

buildx builds so: it asks for the built-in front end, looks at its result, and returns that as its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from darse.build.graph import Definition
from darse.buildkit.definitions import decode
from darse.buildkit.encoded_definitions import encode
from darse.buildkit.errors import as_status, not_implemented
from darse.buildkit.progress import source_info
from darse.buildkit.services import capabilities
from darse.buildkit.services.processes import ProcessCall
from darse.buildkit.solving.caches import place_of
from darse.buildkit.solving.client_build import ClientBuild
from darse.buildkit.solving.images import image_config
from darse.buildkit.solving.lazy_references import BuildResult, LazyReference
from darse.buildkit.solving.pool import BuildPool
from darse.buildkit.solving.trees import ReadTree, list_directory, read_file, stat_file, tree_of
from darse.buildkit.transport import request_of
from darse.buildkit.transport.status import Detail
from darse.buildkit.wire import control_pb2, gateway_pb2, worker_pb2
from darse.buildkit.wire.gateway_grpc import LLBBridgeBase

_BUILD_ID = "buildkit-controlapi-buildid"


class BridgeService(LLBBridgeBase):
    """The calls of clients' own front ends, of all builds."""

    def __init__(self, builds: BuildPool, worker: Callable[[], worker_pb2.WorkerRecord]) -> None:
        self._builds = builds
        self._worker = worker

    async def _build(self, stream: Stream[Any, Any]) -> ClientBuild:
        """The build that a call is about, when it is ready for it."""
        assert stream.metadata is not None
        identifier = str(stream.metadata.get(_BUILD_ID, ""))
        if not identifier:
            raise GRPCError(Status.INVALID_ARGUMENT, "no buildid found in context")
        build = await self._builds.get(identifier)
        await build.opened_event.wait()
        if build.is_over:
            raise GRPCError(Status.FAILED_PRECONDITION, f"the build {identifier} has ended")
        return build

    def _return_of(self, build: ClientBuild) -> asyncio.Future[BuildResult]:
        """Where the front end's result goes."""
        return build.returned

    async def Ping(self, stream: Stream[Any, Any]) -> None:
        """What can be done."""
        await stream.recv_message()
        await self._build(stream)
        answer = gateway_pb2.PongResponse(
            FrontendAPICaps=capabilities.FRONTEND, LLBCaps=capabilities.GRAPH, Workers=[self._worker()]
        )
        await stream.send_message(answer)

    async def Solve(self, stream: Stream[Any, Any]) -> None:
        """A graph, or the built-in front end, as references."""
        request = await request_of(stream)
        build = await self._build(stream)
        with as_status(build):
            result = await self._solve(build, request)
            if request.Evaluate:
                await build.solved(result)
        await stream.send_message(gateway_pb2.SolveResponse(result=_message(result)))

    async def _solve(self, build: ClientBuild, request: Any) -> BuildResult:
        _refuse_policies(request)
        for one in request.CacheImports:
            build.import_from(place_of(one))
        if request.Frontend:
            inputs = {name: decode(graph) for name, graph in request.FrontendInputs.items()}
            return await build.run_frontend(request.Frontend, dict(request.FrontendOpt), inputs)
        if not getattr(request.Definition, "def"):
            return BuildResult({"": None}, {})
        return BuildResult({"": build.reference(decode(request.Definition))}, {})

    async def Evaluate(self, stream: Stream[Any, Any]) -> None:
        """Solve a reference now."""
        request = await request_of(stream)
        build = await self._build(stream)
        with as_status(build):
            if request.Ref:
                await build.find(request.Ref).solution()
        await stream.send_message(gateway_pb2.EvaluateResponse())

    async def Return(self, stream: Stream[Any, Any]) -> None:
        """The result of the build, or why there is none."""
        request = await request_of(stream)
        build = await self._build(stream)
        returned = self._return_of(build)
        if returned.done():
            raise GRPCError(Status.FAILED_PRECONDITION, "the build has returned already")
        if request.HasField("error") and request.error.code:
            details = [Detail(one.type_url, one.value) for one in request.error.details]
            failed = GRPCError(Status(request.error.code), request.error.message, details)
            returned.set_exception(failed)
        else:
            returned.set_result(_returned(build, request.result))
        await stream.send_message(gateway_pb2.ReturnResponse())

    async def ResolveImageConfig(self, stream: Stream[Any, Any]) -> None:
        """The configuration of an image."""
        request = await request_of(stream)
        _refuse_policies(request)
        build = await self._build(stream)
        with as_status(build):
            found = await image_config(build, request.Ref, request.Platform, request.ResolveMode)
        answer = gateway_pb2.ResolveImageConfigResponse(Digest=found.digest, Config=found.config, Ref=found.reference)
        await stream.send_message(answer)

    async def ResolveSourceMeta(self, stream: Stream[Any, Any]) -> None:
        """What is known of a source: of images; the others' is not supported yet."""
        request = await request_of(stream)
        _refuse_policies(request)
        build = await self._build(stream)
        scheme, _, name = request.Source.identifier.partition("://")
        with as_status(build):
            if scheme != "docker-image":
                raise not_implemented(f"ResolveSourceMeta of {scheme} sources")
            found = await image_config(build, name, request.Platform, request.ResolveMode)
        image = gateway_pb2.ResolveSourceImageResponse(Digest=found.digest, Config=found.config)
        source = type(request.Source)(identifier=f"docker-image://{found.reference}", attrs=request.Source.attrs)
        await stream.send_message(gateway_pb2.ResolveSourceMetaResponse(Source=source, Image=image))

    async def ReadFile(self, stream: Stream[Any, Any]) -> None:
        """Bytes of a file of a reference."""
        request = await request_of(stream)
        build = await self._build(stream)
        with as_status(build):
            data = await read_file(
                tree_of(build, build.find(request.Ref)), request.FilePath, request.Range.Offset, request.Range.Length
            )
        await stream.send_message(gateway_pb2.ReadFileResponse(Data=data))

    async def ReadDir(self, stream: Stream[Any, Any]) -> None:
        """What is in a directory of a reference."""
        request = await request_of(stream)
        build = await self._build(stream)
        with as_status(build):
            found = await list_directory(
                tree_of(build, build.find(request.Ref)), request.DirPath, request.IncludePattern
            )
        await stream.send_message(gateway_pb2.ReadDirResponse(entries=found))

    async def StatFile(self, stream: Stream[Any, Any]) -> None:
        """The attributes of a file of a reference."""
        request = await request_of(stream)
        build = await self._build(stream)
        with as_status(build):
            found = await stat_file(tree_of(build, build.find(request.Ref)), request.Path)
        await stream.send_message(gateway_pb2.StatFileResponse(stat=found))

    async def Warn(self, stream: Stream[Any, Any]) -> None:
        """A warning for whoever follows the build."""
        given = await request_of(stream)
        build = await self._build(stream)
        build.progress.warn(
            control_pb2.VertexWarning(
                vertex=given.digest,
                level=given.level,
                short=given.short,
                detail=given.detail,
                url=given.url,
                info=given.info,
                ranges=given.ranges,
            )
        )
        await stream.send_message(gateway_pb2.WarnResponse())

    async def Inputs(self, stream: Stream[Any, Any]) -> None:
        """Those that a front end in a container is given: there are none."""
        await stream.recv_message()
        await stream.send_message(gateway_pb2.InputsResponse())

    async def NewContainer(self, stream: Stream[Any, Any]) -> None:
        """A container on references, in which processes can be run."""
        request = await request_of(stream)
        build = await self._build(stream)
        with as_status(build):
            await build.containers.create(request)
        await stream.send_message(gateway_pb2.NewContainerResponse())

    async def ReleaseContainer(self, stream: Stream[Any, Any]) -> None:
        """End one, with its processes."""
        request = await request_of(stream)
        build = await self._build(stream)
        with as_status(build):
            await build.containers.release(request.ContainerID)
        await stream.send_message(gateway_pb2.ReleaseContainerResponse())

    async def ExecProcess(self, stream: Stream[Any, Any]) -> None:
        """Processes in containers."""
        build = await self._build(stream)
        with as_status(build):
            await ProcessCall(stream, build.containers).serve()

    async def ReadFileContainer(self, stream: Stream[Any, Any]) -> None:
        """Bytes of a file of what is mounted in a container."""
        request = await request_of(stream)
        build = await self._build(stream)
        with as_status(build):
            data = await read_file(_mount(build, request), request.FilePath, request.Range.Offset, request.Range.Length)
        await stream.send_message(gateway_pb2.ReadFileResponse(Data=data))

    async def ReadDirContainer(self, stream: Stream[Any, Any]) -> None:
        """What is in a directory of what is mounted in a container."""
        request = await request_of(stream)
        build = await self._build(stream)
        with as_status(build):
            found = await list_directory(_mount(build, request), request.DirPath, request.IncludePattern)
        await stream.send_message(gateway_pb2.ReadDirResponse(entries=found))

    async def StatFileContainer(self, stream: Stream[Any, Any]) -> None:
        """The attributes of a file of what is mounted in a container."""
        request = await request_of(stream)
        build = await self._build(stream)
        with as_status(build):
            found = await stat_file(_mount(build, request), request.Path)
        await stream.send_message(gateway_pb2.StatFileResponse(stat=found))


def _mount(build: ClientBuild, request: Any) -> ReadTree:
    """What is mounted in a container, by the mount's position."""
    return partial(build.containers.find(request.Ref).read, request.MountIndex)


class FrontendBridge(BridgeService):
    """The calls of one front end that runs in a container: no header says whose build it is."""

    def __init__(
        self,
        builds: BuildPool,
        worker: Callable[[], worker_pb2.WorkerRecord],
        build: ClientBuild,
        inputs: Mapping[str, Definition],
        returned: asyncio.Future[BuildResult],
    ) -> None:
        super().__init__(builds, worker)
        self._own = build
        self._inputs = inputs
        self._returned = returned

    async def _build(self, stream: Stream[Any, Any]) -> ClientBuild:
        return self._own

    def _return_of(self, build: ClientBuild) -> asyncio.Future[BuildResult]:
        return self._returned

    async def Inputs(self, stream: Stream[Any, Any]) -> None:
        """Results of other builds."""
        await stream.recv_message()
        answer = gateway_pb2.InputsResponse()
        for name, graph in self._inputs.items():
            answer.Definitions[name].CopyFrom(encode(graph))
        await stream.send_message(answer)


def _message(result: BuildResult) -> gateway_pb2.Result:
    found = gateway_pb2.Result(metadata=dict(result.metadata))
    if set(result.references) <= {""}:
        _fill(found.ref, result.references.get(""))
        return found
    for platform, one in result.references.items():
        _fill(found.refs.refs[platform], one)
    return found


def _fill(message: gateway_pb2.Ref, reference: LazyReference | None) -> None:
    """A reference, with the graph that clients build on."""
    message.id = reference.id if reference is not None else ""
    if reference is not None:
        source = source_info(reference.origin.dockerfile) if reference.origin is not None else None
        getattr(message, "def").CopyFrom(encode(reference.definition, source))


def _refuse_policies(request: Any) -> None:
    """Raise GRPCError where rules for sources are to be obeyed: one that denies must not be passed over."""
    if any(policy.rules for policy in request.SourcePolicies):
        raise not_implemented("a source policy")


def _returned(build: ClientBuild, given: Any) -> BuildResult:
    """The result that a client returns. Raises GRPCError for references that are not the build's."""
    names: Mapping[str, str]
    match given.WhichOneof("result"):
        case "ref":
            names = {"": given.ref.id}
        case "refs":
            names = {platform: one.id for platform, one in given.refs.refs.items()}
        case "refDeprecated":
            names = {"": given.refDeprecated}
        case "refsDeprecated":
            names = dict(given.refsDeprecated.refs)
        case _:
            names = {"": ""}
    found: dict[str, LazyReference | None] = {
        platform: build.find(name) if name else None for platform, name in names.items()
    }
    return BuildResult(found, dict(given.metadata))
