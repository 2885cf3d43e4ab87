"""Every error the engine raises on purpose.

    EngineError
    ├── InvalidParameter     the request can never succeed as it is
    ├── Unauthorized         credentials are missing or wrong
    ├── Forbidden            understood, and refused
    ├── NotFound             there is no such object
    ├── Conflict             fails because of the state something is in
    ├── NotModified          there was nothing to do
    ├── NotImplementedHere   the API has it; this engine or host does not
    ├── Unavailable          try again later
    └── SystemFault          the host or a program we rely on failed
        └── Exhausted        the host has no more of something: space, inodes, descriptors, memory
            └── NoSpace

The names follow moby's errdefs. A package may derive a class that says more; which HTTP status each has is the API's
business (`darse.api.errors`).
"""

from __future__ import annotations


class EngineError(Exception):
    """Base of all expected failures; `str()` is the text that the client shows."""


class InvalidParameter(EngineError):
    """The request is malformed or contradicts itself."""


class Unauthorized(EngineError):
    """Credentials are missing or wrong."""


class Forbidden(EngineError):
    """The request was understood and is refused."""


class NotFound(EngineError):
    """The named object does not exist."""


class Conflict(EngineError):
    """The object's state does not allow the operation."""


class NotModified(EngineError):
    """The object is already in the wanted state."""


class NotImplementedHere(EngineError):
    """Part of the API that this engine, or this host, cannot do."""


class Unavailable(EngineError):
    """A needed service does not answer now."""


class SystemFault(EngineError):
    """The kernel or a program we rely on failed in a way the caller did not cause."""


class Exhausted(SystemFault):
    """The host has no more of what the operation needs; see `darse.core.exhaustion` for its words."""


class NoSpace(Exhausted):
    """The file system has no more blocks or inodes, or the quota is used up."""
