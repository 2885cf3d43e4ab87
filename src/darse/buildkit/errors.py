"""What services answer when something fails: statuses of gRPC, with the details that clients print excerpts from."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
from collections.abc import Iterator, Sequence
from typing import Protocol

from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from darse.build.dockerfile import DockerfileError
from darse.build.errors import BuildError
from darse.build.solver import SolveError
from darse.buildkit.progress import ProgressLog
from darse.buildkit.transport.status import Detail
from darse.core.errors import Conflict, EngineError, InvalidParameter, NotFound, NotImplementedHere, Unauthorized

_log = logging.getLogger("darse.buildkit")
# Go's clients look types of errors up by these names.
_TYPES = "github.com/moby/buildkit/"
_STATUSES: tuple[tuple[type[EngineError], Status], ...] = (
    (NotFound, Status.NOT_FOUND),
    (InvalidParameter, Status.INVALID_ARGUMENT),
    (Conflict, Status.FAILED_PRECONDITION),
    (Unauthorized, Status.UNAUTHENTICATED),
    (NotImplementedHere, Status.UNIMPLEMENTED),
)


class FailingBuild(Protocol):
    """The build that something fails in: it has read its Dockerfile."""

    progress: ProgressLog

    def detail_of(self, error: SolveError) -> Detail | None:
        """More of a step that failed."""
        ...


def not_implemented(what: str) -> GRPCError:
    """Something that this engine does not do."""
    return GRPCError(Status.UNIMPLEMENTED, f"{what} is not supported by this engine")


@contextlib.contextmanager
def as_status(build: FailingBuild | None = None) -> Iterator[None]:
    """Raise failures of the block as GRPCError."""
    try:
        yield
    except GRPCError:
        raise
    except (StreamTerminatedError, ConnectionError) as error:
        # What ends a call from outside is not raised inside it: this was a call of ours, in the client's session.
        raise GRPCError(Status.UNAVAILABLE, f"the client has ended its session: {error}") from error
    except BuildError as error:
        details = list(_details(error, build)) if build is not None else []
        raise GRPCError(Status.UNKNOWN, str(error), details) from error
    except EngineError as error:
        status = next((status for kind, status in _STATUSES if isinstance(error, kind)), Status.UNKNOWN)
        raise GRPCError(status, str(error)) from error
    except Exception as error:
        _log.exception("a call failed")
        raise GRPCError(Status.INTERNAL, f"internal error: {type(error).__name__}: {error}") from error


def _details(error: BuildError, build: FailingBuild) -> Iterator[Detail]:
    """Which vertex, and which lines of the Dockerfile: clients print them."""
    lines: Sequence[tuple[int, int]] = ()
    if isinstance(error, SolveError):
        lines = error.lines
        yield Detail(f"{_TYPES}errdefs.Vertex+json", json.dumps({"digest": error.vertex}).encode())
        if (found := build.detail_of(error)) is not None:
            yield found
    elif isinstance(error, DockerfileError) and error.lines is not None:
        lines = [error.lines]
    if lines:
        dockerfile = build.progress.dockerfile
        data = base64.b64encode(dockerfile.source.encode("utf-8", "surrogateescape")).decode()
        info = {"filename": dockerfile.filename, "data": data, "language": "Dockerfile"}
        ranges = [{"start": {"line": first}, "end": {"line": last}} for first, last in lines]
        yield Detail(f"{_TYPES}errdefs.Source+json", json.dumps({"info": info, "ranges": ranges}).encode())
