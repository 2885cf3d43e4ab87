"""What stages begin with: nothing, an image, or a named context."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec

from darse.build.dockerfile.convert.conversion import Conversion, follow_paths
from darse.build.dockerfile.convert.files import is_http
from darse.build.dockerfile.convert.git import parse_git
from darse.build.dockerfile.convert.image import ImageDocument
from darse.build.dockerfile.convert.nodes import Node, Tree, tree_of
from darse.build.dockerfile.convert.options import ImageResolver
from darse.build.dockerfile.convert.platforms import same_machine
from darse.build.dockerfile.convert.stages import SCRATCH_NAME, StageState
from darse.build.dockerfile.errors import DockerfileError
from darse.build.errors import BuildError
from darse.build.graph.definition import VertexMetadata
from darse.build.graph.operations import CopyAction, FileAction, FileOperation
from darse.build.graph.sources import HTTPSource, ImageSource, LocalSource, OCILayoutSource
from darse.image_spec import references
from darse.image_spec.references import InvalidReference
from darse.quoting import quote

_IMAGE, _LAYOUT, _LOCAL, _INPUT = "docker-image://", "oci-layout://", "local:", "input:"


async def resolve_bases(conversion: Conversion, resolver: ImageResolver, states: Iterable[StageState]) -> None:
    """Find what stages begin with, images beside each other. Raises BuildError."""
    waiting = [state for state in states if state.base is None and not state.resolved]
    tasks = [asyncio.ensure_future(_resolve(conversion, resolver, state)) for state in waiting]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _resolve(conversion: Conversion, resolver: ImageResolver, state: StageState) -> None:
    state.resolved = True
    try:
        if state.context:
            await _load_context(conversion, resolver, state, state.name, state.context)
            state.converted = True
        elif state.base_name == SCRATCH_NAME:
            state.platform = conversion.target_platform
            state.image = ImageDocument.empty(state.platform)
        else:
            await _resolve_name(conversion, resolver, state)
    except BuildError as error:
        found = error if isinstance(error, DockerfileError) else DockerfileError(str(error))
        raise found.located(state.lines, state.stage.place.start if state.stage is not None else None) from error
    if state.stage is None:
        state.converted = True


async def _resolve_name(conversion: Conversion, resolver: ImageResolver, state: StageState) -> None:
    name = state.base_name
    context = conversion.options.contexts.get(name, "")
    if not context:
        try:
            reference = references.parse(name)
        except InvalidReference as error:
            raise DockerfileError(f"failed to parse stage name {quote(name)}: {error}") from None
        context = conversion.options.contexts.get(reference.familiar.removesuffix(":latest"), "")
    if context:
        await _load_context(conversion, resolver, state, name, context)
    else:
        await _load_image(conversion, resolver, state, str(reference), name)


async def _load_image(
    conversion: Conversion, resolver: ImageResolver, state: StageState, reference: str, shown: str
) -> None:
    """An image of a registry or of this engine, or of a layout of the client's."""
    platform = state.platform or conversion.target_platform
    found = await resolver.resolve(reference, platform)
    state.image = ImageDocument.of(found.config)
    state.platform = platform
    if not same_machine(platform, state.image.platform):
        detail = (
            f"Base image {shown} was pulled with platform {quote(state.image.platform)}, expected {quote(platform)} "
            "for current build"
        )
        conversion.checks.report("InvalidBaseImagePlatform", state.lines, detail)
    if not state.image.diff_ids and all(line.empty_layer for line in state.image.history):
        return  # no layers
    source: ImageSource | OCILayoutSource
    if reference.startswith(_LAYOUT):
        source = OCILayoutSource(reference=found.reference.removeprefix(_LAYOUT), session=conversion.options.session)
    else:
        source = ImageSource(reference=found.reference, resolve_mode=conversion.options.resolve_mode)
    state.image_name = found.reference
    metadata = VertexMetadata(f"FROM {found.reference}", lines=(state.lines,))
    state.tree = Tree(Node(source, [], platform, metadata))


async def _load_context(
    conversion: Conversion, resolver: ImageResolver, state: StageState, name: str, context: str
) -> None:
    """A named context in the place of a stage or an image."""
    metadata = VertexMetadata(f"[context {name}] load from client")
    if context.startswith((_IMAGE, _LAYOUT)):
        reference = context
        if context.startswith(_IMAGE):
            try:
                reference = str(references.parse(context.removeprefix(_IMAGE)))
            except InvalidReference as error:
                raise DockerfileError(f"invalid context {name}={context}: {error}") from None
        await _load_image(conversion, resolver, state, reference, name)
        return
    state.platform = state.platform or conversion.target_platform
    state.image = ImageDocument.empty(state.platform)
    if context.startswith(_LOCAL):
        state.local = Node(LocalSource(name=context.removeprefix(_LOCAL)), [], "", metadata)
        state.tree = Tree(state.local)
    elif context.startswith(_INPUT):
        _load_input(conversion, state, name, context.removeprefix(_INPUT))
    elif (reference_ := parse_git(context)) is not None:
        state.tree = Tree(Node(reference_.source(), [], "", metadata))
    elif is_http(context):
        archive = Tree(Node(HTTPSource(url=context, filename="context"), [], "", metadata))
        unpack = CopyAction(source="/context", destination="/", unpack=True)
        state.tree = Tree(Node(FileOperation((FileAction(unpack, -1, 0, 0),)), [archive], state.platform, metadata))
    else:
        raise DockerfileError(
            f"unsupported context source {context.partition(':')[0]} for {name}",
            advice="It must be a directory, a URL, docker-image://… or oci-layout://….",
        )


def _load_input(conversion: Conversion, state: StageState, name: str, key: str) -> None:
    """The result of another front end."""
    found = conversion.options.inputs.get(key)
    if found is None:
        raise DockerfileError(f"invalid input {key} for {name}")
    state.tree = tree_of(found.definition)
    if found.config is not None:
        state.image = ImageDocument.of(found.config)


def close_contexts(conversion: Conversion, states: Iterable[StageState]) -> None:
    """Let each directory of the client have the paths that are used of it."""
    conversion.close_context()
    for state in states:
        if state.local is not None and isinstance(state.local.operation, LocalSource):
            state.local.operation = msgspec.structs.replace(
                state.local.operation,
                session=conversion.options.session,
                shared_key_hint=f"context:{state.local.operation.name}",
                follow_paths=follow_paths(state.used_paths),
            )
