"""How a command fails: what it prints and the status it ends with.

A failure of the command itself and one of its client are the same to the user, so they are one type.
"""

from __future__ import annotations

from darse.client.errors import ApiError, ConnectionFailed, ConnectionLost
from darse.client.errors import ClientError as CliError

__all__ = ["ApiError", "CliError", "ConnectionFailed", "ConnectionLost", "InvalidArgument"]


class InvalidArgument(CliError):
    """The value of a flag is wrong; the command's usage is shown with it."""

    def __init__(self, text: str, flag: str, reason: str) -> None:
        super().__init__(f'invalid argument "{text}" for "--{flag}" flag: {reason}', 125)
        self.text = text
        self.flag = flag
        self.reason = reason
