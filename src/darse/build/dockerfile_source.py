"""The Dockerfile of a request: where it is found, its text, and what clients ask about it instead of a build."""

from __future__ import annotations

from functools import partial

from darse.build.context.local import DEFAULT_DOCKERFILE, ReceivedContexts
from darse.build.conversion_thread import apart
from darse.build.dockerfile.convert import ConvertOptions, ImageResolver, check_dockerfile, convert, list_targets
from darse.build.errors import BuildError
from darse.build.ignore import clean
from darse.build.progress import BuildReport, DockerfileFacts, DockerfileRead, internal_vertex
from darse.build.request import BuildRequest
from darse.core import executors


async def read_dockerfile(
    contexts: ReceivedContexts, path: str, content: bytes | None, report: BuildReport
) -> DockerfileRead:
    """The Dockerfile, which may have come apart from the context. Raises BuildError in docker's words."""
    async with internal_vertex(report, f"[internal] load build definition from {path}"):
        if content is not None:
            return dockerfile_text(path, content, report)
        return dockerfile_text(path, await executors.storage.run(contexts.read_dockerfile, path), report)


def dockerfile_path(request: BuildRequest) -> str:
    """Where it is in its directory."""
    return clean(request.dockerfile.lstrip("/")) if request.dockerfile else DEFAULT_DOCKERFILE


def dockerfile_text(path: str, content: bytes | None, report: BuildReport) -> DockerfileRead:
    """What was found at a path. Raises BuildError in docker's words."""
    if content is None:
        raise BuildError(f"Cannot locate specified Dockerfile: {path}")
    if not content:
        raise BuildError(f"the Dockerfile ({path}) cannot be empty")
    read = DockerfileRead(path, content.decode("utf-8", "surrogateescape"))
    report(read)
    return read


async def facts_of(call: str, options: ConvertOptions, source: str, bases: ImageResolver) -> DockerfileFacts:
    """What is asked about the Dockerfile. Raises BuildError."""
    match call:
        case "check":
            found = await apart(source, partial(check_dockerfile, source, options), bases)
            return DockerfileFacts(call, found.warnings, found.error)
        case "outline":
            converted = await apart(source, partial(convert, source, options), bases)
            return DockerfileFacts(call, outline=converted.outline)
        case "targets":
            return DockerfileFacts(call, targets=tuple(list_targets(source)))
    raise BuildError(f"unknown call {call!r}: it is one of build, check, outline, targets")
