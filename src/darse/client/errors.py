"""How talking to an engine fails.

ClientError
├── ApiError             the engine answered, and refused
└── ConnectionFailed     no engine answers
    └── ConnectionLost   it went away before its answer was complete
"""

from __future__ import annotations


class ClientError(Exception):
    """Base of what a caller may show to its user: `str()` says what is wrong, and what to do."""

    def __init__(self, message: str = "", status: int = 1) -> None:
        """`status` is the exit status of a program that ends with this error."""
        super().__init__(message)
        self.status = status


class ApiError(ClientError):
    """The engine refused a request; `reason` is its text, `http_status` the status of its answer."""

    def __init__(self, message: str, http_status: int) -> None:
        super().__init__(f"Error response from daemon: {message}")
        self.reason = message
        self.http_status = http_status


class ConnectionFailed(ClientError):
    """No engine answers."""


class ConnectionLost(ConnectionFailed):
    """The engine went away before its answer was complete."""

    def __init__(self, message: str, after: str = "") -> None:
        """`after`: what runs on, and how to come back to it."""
        super().__init__(f"{message}: {after}" if after else message)
