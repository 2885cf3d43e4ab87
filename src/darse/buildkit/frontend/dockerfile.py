"""The Dockerfile of a request, read from the client or from a URL, and converted for each platform.

load the Dockerfile → its syntax is ours → load .dockerignore → convert, with the base images → references
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from darse.build.base_images import BaseImages
from darse.build.context.local import DEFAULT_DOCKERFILE
from darse.build.conversion_thread import in_thread
from darse.build.dockerfile.convert import ContextInput, Converted, ResolvedImage, convert
from darse.build.dockerfile.directives import detect_syntax
from darse.build.dockerfile_source import dockerfile_text, facts_of
from darse.build.errors import BuildError
from darse.build.graph import Definition, GitSource, LocalSource
from darse.build.ignore import read_ignore_file
from darse.build.image_layouts import is_layout
from darse.build.options import convert_options, git_context
from darse.build.progress import BuildPlanned, BuildReport, BuildWarned, DockerfileRead, internal_vertex
from darse.build.request import BuildRequest
from darse.build.service import BuildService
from darse.build.solver import OperationExecutor
from darse.buildkit.frontend.options import INPUT_METADATA, build_request, contexts_for, is_built_in, is_multi_platform
from darse.buildkit.frontend.subrequests import answer
from darse.buildkit.sessions.contexts import SessionContexts
from darse.buildkit.sessions.layouts import SessionLayouts
from darse.buildkit.sessions.secrets import SessionSecrets
from darse.core import executors
from darse.image_spec import platforms, references
from darse.image_spec.references import InvalidReference
from darse.images.gc.collector import Lease

CONFIG = "containerimage.config"
PLATFORMS = "refs.platforms"
# Where clients say that they upload the context themselves.
_UPLOAD_HOST = "buildkit-session"


class FrontendBuild(Protocol):
    """What a front end uses of the build that it works for."""

    service: BuildService
    session_id: str
    contexts: SessionContexts
    layouts: SessionLayouts
    session_secrets: SessionSecrets
    executor: OperationExecutor
    lease: Lease
    report: BuildReport


class ForeignSyntax(Exception):
    """A Dockerfile is for another front end, which an image has."""

    def __init__(self, syntax: str) -> None:
        super().__init__(syntax)
        self.command = syntax
        self.image = syntax.split(maxsplit=1)[0]


class ConvertedRequest(msgspec.Struct, frozen=True):
    """What a request comes to."""

    request: BuildRequest
    dockerfile: DockerfileRead
    metadata: dict[str, bytes]
    started: float
    graphs: Mapping[str, Converted] = {}
    """By platform; where there is no index, by the empty text. None at all for a question."""


class _Resolver:
    """Base images, with the credentials of the client."""

    def __init__(self, bases: BaseImages, secrets: SessionSecrets, layouts: SessionLayouts) -> None:
        self._bases = bases
        self._secrets = secrets
        self._layouts = layouts

    async def resolve(self, reference: str, platform: str) -> ResolvedImage:
        """See ImageResolver."""
        if is_layout(reference):
            await self._layouts.have(reference, platform)
        else:
            await log_in_for(self._secrets, reference)
        return await self._bases.resolve(reference, platform)


async def log_in_for(secrets: SessionSecrets, reference: str) -> None:
    """Ask the client for the credentials of an image's registry."""
    try:
        domain = references.parse(reference).domain
    except InvalidReference:
        return
    await secrets.log_in(domain)


async def run_frontend(
    parts: FrontendBuild, options: Mapping[str, str], inputs: Mapping[str, Definition]
) -> ConvertedRequest:
    """Run the built-in front end. inputs: results of other builds, for contexts. Raises BuildError, ForeignSyntax."""
    started = time.time()
    request = build_request(options)
    dockerfile, context = await _load(parts, request, options)
    patterns = () if context is not None else await _ignore_patterns(parts, dockerfile.filename, options)
    converting = [
        msgspec.structs.replace(
            convert_options(request, context, str(one)),
            ignore_patterns=patterns,
            session=parts.session_id,
            contexts=contexts_for(options, str(one)),
            inputs={key: _input(key, graph, options) for key, graph in inputs.items()},
        )
        for one in request.platforms or ("",)
    ]
    images = BaseImages(
        parts.service.images,
        parts.service.registries,
        parts.lease,
        parts.report,
        pull=request.pull,
        credentials=parts.session_secrets.credentials,
    )
    resolver = _Resolver(images, parts.session_secrets, parts.layouts)
    try:
        if request.call:
            facts = await facts_of(request.call, converting[0], dockerfile.source, resolver)
            return ConvertedRequest(request, dockerfile, answer(facts, dockerfile), started)
        converted = [await in_thread(partial(convert, dockerfile.source, one), resolver) for one in converting]
    finally:
        await images.close()
    for warning in converted[0].warnings:
        parts.report(BuildWarned(warning))
    for one in converted:
        parts.report(BuildPlanned(one.steps, one.definition))
    graphs, metadata = _results(converted, is_index=is_multi_platform(options))
    return ConvertedRequest(request, dockerfile, metadata, started, graphs)


def _results(converted: Sequence[Converted], *, is_index: bool) -> tuple[dict[str, Converted], dict[str, bytes]]:
    if not is_index:
        (one,) = converted
        return {"": one}, {CONFIG: config_document(one)}
    graphs = {one.image.platform: one for one in converted}
    metadata = {f"{CONFIG}/{name}": config_document(one) for name, one in graphs.items()}
    listed = [{"ID": name, "Platform": msgspec.to_builtins(platforms.parse(name))} for name in graphs]
    metadata[PLATFORMS] = json.dumps({"Platforms": listed}).encode()
    return graphs, metadata


def config_document(converted: Converted) -> bytes:
    """The configuration of an image, with the layers of its base alone."""
    image = converted.image
    return json.dumps({**image.document(), "rootfs": {"type": "layers", "diff_ids": image.diff_ids}}).encode()


def _input(key: str, graph: Definition, options: Mapping[str, str]) -> ContextInput:
    """The result of another build, with the configuration of its image."""
    metadata = options.get(f"{INPUT_METADATA}{key}")
    config = json.loads(metadata).get(CONFIG) if metadata else None
    return ContextInput(graph, json.loads(base64.b64decode(config)) if config else None)


async def _load(
    parts: FrontendBuild, request: BuildRequest, options: Mapping[str, str]
) -> tuple[DockerfileRead, GitSource | None]:
    """The Dockerfile, and the repository that the context is in."""
    path = request.dockerfile.lstrip("/") or DEFAULT_DOCKERFILE
    contexts = parts.contexts
    repository = git_context(request.remote)
    if repository is not None and "dockerfilekey" not in options:
        dockerfile = await parts.service.read_repository(request, repository, parts.executor, parts.report)
        return _accepted(dockerfile, request, options), repository
    if request.remote and repository is None:
        pieces = _remote(parts, request.remote)
        path = await parts.service.receive_remote(pieces, request.remote, path, contexts.received)
        contexts.have("context")
        if "dockerfilekey" not in options:
            content = await executors.storage.run(contexts.received.read, "context", path)
            return _accepted(_read(path, content, parts), request, options), None
    source = _beside(parts, path, options)
    async with internal_vertex(parts.report, f"[internal] load build definition from {path}"):
        content = await contexts.read(source, path)
        if content is None and path == DEFAULT_DOCKERFILE:
            content = await contexts.read(source, path.lower())
        dockerfile = _read(path, content, parts)
    return _accepted(dockerfile, request, options), repository


def _beside(parts: FrontendBuild, path: str, options: Mapping[str, str]) -> LocalSource:
    """The client's Dockerfile, and the .dockerignore of its own."""
    return LocalSource(
        name=options.get("dockerfilekey", "dockerfile"),
        session=parts.session_id,
        follow_paths=tuple(dict.fromkeys((path, f"{path}.dockerignore", path.lower()))),
        shared_key_hint="dockerfile",
    )


def _remote(parts: FrontendBuild, url: str) -> AsyncIterator[bytes]:
    if urlsplit(url).hostname == _UPLOAD_HOST:
        return parts.session_secrets.upload(urlsplit(url).path)
    return parts.service.registries.download_url(url)


def _read(path: str, content: bytes | None, parts: FrontendBuild) -> DockerfileRead:
    if content is None:
        raise BuildError(f"failed to read dockerfile: open {path}: no such file or directory")
    return dockerfile_text(path, content, parts.report)


def _accepted(dockerfile: DockerfileRead, request: BuildRequest, options: Mapping[str, str]) -> DockerfileRead:
    """Raise ForeignSyntax where a Dockerfile, or its request, names another front end."""
    syntax = request.arguments.get("BUILDKIT_SYNTAX", "") or options.get("source", "")
    if not syntax:
        directive = detect_syntax(dockerfile.source)
        syntax = directive.value if directive is not None else ""
    if syntax and not is_built_in(syntax.split()[0]):
        raise ForeignSyntax(syntax)
    return dockerfile


async def _ignore_patterns(parts: FrontendBuild, path: str, options: Mapping[str, str]) -> tuple[str, ...]:
    contexts = parts.contexts
    found = None
    async with internal_vertex(parts.report, "[internal] load .dockerignore"):
        if contexts.has("context"):
            found = await executors.storage.run(contexts.received.read, "context", ".dockerignore")
        else:
            found = await contexts.read(_beside(parts, path, options), f"{path}.dockerignore")
            if found is None:
                source = LocalSource(
                    name=options.get("contextkey", "context"),
                    session=parts.session_id,
                    follow_paths=(".dockerignore",),
                    shared_key_hint="context-.dockerignore",
                )
                found = await contexts.read(source, ".dockerignore")
    return tuple(read_ignore_file(found.decode("utf-8", "surrogateescape"))) if found else ()
