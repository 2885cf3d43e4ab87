"""How reading a compose file fails: what is wrong, and the file, line and column of it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class FilePosition:
    """A position in a file; lines and columns count from 1."""

    __slots__ = ("column", "file", "line")

    def __init__(self, file: str, line: int, column: int) -> None:
        self.file = file
        self.line = line
        self.column = column

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class ComposeError(Exception):
    """A compose file, or what it refers to, is wrong.

    `path` names the attribute, from which the loader finds the place; `place` is where it is, once it is known.
    """

    def __init__(self, message: str, path: Sequence[str | int] = (), place: FilePosition | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = tuple(path)
        self.place = place

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


def shown_path(path: Sequence[str | int]) -> str:
    """`services.web.ports.0`: how docker compose names an attribute in its messages."""
    return ".".join(str(part) for part in path)
