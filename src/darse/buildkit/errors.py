"""What services answer when something fails: statuses of gRPC, with the details that clients print excerpts from."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from darse.build.errors import BuildError
from darse.core.errors import Conflict, EngineError, InvalidParameter, NotFound, NotImplementedHere, Unauthorized

_log = logging.getLogger("darse.buildkit")
_STATUSES: tuple[tuple[type[EngineError], Status], ...] = (
    (NotFound, Status.NOT_FOUND),
    (InvalidParameter, Status.INVALID_ARGUMENT),
    (Conflict, Status.FAILED_PRECONDITION),
    (Unauthorized, Status.UNAUTHENTICATED),
    (NotImplementedHere, Status.UNIMPLEMENTED),
)


def not_implemented(what: str) -> GRPCError:
    """Something that this engine does not do."""
    return GRPCError(Status.UNIMPLEMENTED, f"{what} is not supported by this engine")


@contextlib.contextmanager
def as_status() -> Iterator[None]:
    """Raise failures of the block as GRPCError."""
    try:
        yield
    except (GRPCError, StreamTerminatedError):
        raise
    except BuildError as error:
        raise GRPCError(Status.UNKNOWN, str(error)) from error
    except EngineError as error:
        status = next((status for kind, status in _STATUSES if isinstance(error, kind)), Status.UNKNOWN)
        raise GRPCError(status, str(error)) from error
    except Exception as error:
        _log.exception("a call failed")
        raise GRPCError(Status.INTERNAL, f"internal error: {type(error).__name__}: {error}") from error
