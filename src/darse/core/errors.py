"""Every error the engine raises on purpose.

    EngineError
    ├── InvalidParameter   400   the request can never succeed as it is
    ├── Unauthorized       401
    ├── Forbidden          403   understood, and refused
    ├── NotFound           404
    ├── Conflict           409   fails because of the state something is in
    ├── NotModified        304   there was nothing to do
    ├── NotImplementedHere 501   the API has it; this engine or host does not
    ├── Unavailable        503   try again later
    └── SystemFault        500   the host or a program we rely on failed
        └── Exhausted            the host has no more of something: space, inodes, descriptors, memory
            └── NoSpace

The names follow moby's errdefs, which is the vocabulary of the API's status codes. The mapping to HTTP is
`status`; nothing else in the engine knows about HTTP.
"""

from __future__ import annotations

from typing import ClassVar


class EngineError(Exception):
    """Base of all expected failures; `str()` is the text that the client shows."""

    status: ClassVar[int] = 500


class InvalidParameter(EngineError):
    """The request is malformed or contradicts itself."""

    status = 400


class Unauthorized(EngineError):
    """Credentials are missing or wrong."""

    status = 401


class Forbidden(EngineError):
    """The request was understood and is refused."""

    status = 403


class NotFound(EngineError):
    """The named object does not exist."""

    status = 404


class Conflict(EngineError):
    """The object's state does not allow the operation."""

    status = 409


class NotModified(EngineError):
    """The object is already in the wanted state."""

    status = 304


class NotImplementedHere(EngineError):
    """Part of the API that this engine, or this host, cannot do."""

    status = 501


class Unavailable(EngineError):
    """A needed service does not answer now."""

    status = 503


class SystemFault(EngineError):
    """The kernel or a program we rely on failed in a way the caller did not cause."""

    status = 500


class Exhausted(SystemFault):
    """The host has no more of what the operation needs; see `darse.core.exhaustion` for its words."""


class NoSpace(Exhausted):
    """The file system has no more blocks or inodes, or the quota is used up."""
