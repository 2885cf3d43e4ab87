"""What a build of a client leaves in the history beside its record (`darse.build.history.attachments`)."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import msgspec
from grpclib.exceptions import GRPCError

from darse.build.errors import BuildError
from darse.build.exporter import PlatformResult
from darse.build.history import AttachmentCollector, BuildRecorder
from darse.build.service import BuildService
from darse.buildkit.errors import as_status
from darse.buildkit.progress import ProgressLog
from darse.buildkit.solving.client_build import ClientBuild
from darse.buildkit.solving.traces import TRACE, trace_document
from darse.buildkit.transport.status import status_message
from darse.core import executors
from darse.core.errors import EngineError
from darse.image_spec.manifests import Descriptor

_STATUS = "application/vnd.googleapis.google.rpc.status+proto"
_PROGRESS = "application/vnd.buildkit.status.v0"
_STATEMENT = "application/vnd.in-toto+json"
_PREDICATE = "in-toto.io/predicate-type"
# It may have a user's name and password, and is in the record without them.
_WITH_CREDENTIALS = frozenset({"context"})


def shown_options(attributes: Mapping[str, str]) -> dict[str, str]:
    """The options of a front end that the history tells."""
    return {name: value for name, value in attributes.items() if name not in _WITH_CREDENTIALS}


async def attach_progress(collected: AttachmentCollector, progress: ProgressLog) -> None:
    """What those have seen who followed the build: it may have printed megabytes."""
    await executors.storage.run(lambda: collected.add("logs", progress.recorded(), _PROGRESS))


async def attach_trace(collected: AttachmentCollector, recorder: BuildRecorder) -> None:
    """The steps, those that ran, as spans."""
    record = recorder.unfinished()
    await executors.storage.run(lambda: collected.add("trace", trace_document(record), TRACE))


def attach_error(
    collected: AttachmentCollector, error: BuildError | EngineError | GRPCError, build: ClientBuild
) -> None:
    """Why the build failed, as its client sees it."""
    try:
        with as_status(build):
            raise error
    except GRPCError as failed:
        status = status_message(failed.status, failed.message, failed.details or ())
        collected.add("error", status.SerializeToString(deterministic=True), _STATUS)


def attach_attestations(collected: AttachmentCollector, name: str, result: PlatformResult) -> None:
    """Where a platform's result is from, and what it has. name: the platform, where there may be several."""
    for _, kind, predicate in result.predicates:
        content = msgspec.json.encode(predicate)
        annotations = {_PREDICATE: kind}
        collected.add("attestation", content, _STATEMENT, annotations=annotations, platform=name)


async def attach_results(
    service: BuildService, collected: AttachmentCollector, responses: Sequence[Mapping[str, str]]
) -> None:
    """The manifests, or indexes, that the exporters have made, of those that are in the engine's store."""
    for response in responses:
        if (text := response.get("containerimage.descriptor")) is None:
            continue
        target = msgspec.json.decode(base64.b64decode(text), type=Descriptor)
        if service.images.has_blob(target.digest):
            content = await executors.storage.run(service.images.read_blob, target.digest)
            collected.add("result", content, target.media_type)
