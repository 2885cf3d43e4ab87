"""How a command fails: what it prints and the status it ends with."""

from __future__ import annotations


class CliError(Exception):
    """Ends the command; `str()` is printed on standard error."""

    def __init__(self, message: str = "", status: int = 1) -> None:
        super().__init__(message)
        self.status = status


class InvalidArgument(CliError):
    """The value of a flag is wrong; the command's usage is shown with it."""

    def __init__(self, text: str, flag: str, reason: str) -> None:
        super().__init__(f'invalid argument "{text}" for "--{flag}" flag: {reason}', 125)
        self.text = text
        self.flag = flag
        self.reason = reason


class ApiError(CliError):
    """The engine refused a request."""

    def __init__(self, message: str, http_status: int) -> None:
        super().__init__(f"Error response from daemon: {message}")
        self.reason = message
        self.http_status = http_status


class ConnectionFailed(CliError):
    """No engine answers."""


class ConnectionLost(ConnectionFailed):
    """The engine went away before its answer was complete."""

    def __init__(self, message: str, after: str = "") -> None:
        """`after`: what runs on, and how to come back to it."""
        super().__init__(f"{message}: {after}" if after else message)
