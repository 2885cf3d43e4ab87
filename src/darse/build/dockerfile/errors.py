"""Errors in a Dockerfile: what is wrong, where, and what to do."""

from __future__ import annotations

from darse.build.dockerfile.source import SourcePosition, excerpt
from darse.build.errors import BuildError


class DockerfileError(BuildError):
    """Something in a Dockerfile is wrong. `str()` is one line in BuildKit's words, `report` shows the place, too."""

    def __init__(
        self,
        message: str,
        lines: tuple[int, int] | None = None,
        position: SourcePosition | None = None,
        advice: str = "",
    ) -> None:
        super().__init__(message)
        self.lines = lines
        """First and last line of the instruction, from 1."""
        self.position = position
        """The token that is wrong, where it is known."""
        self.advice = advice

    def located(
        self, lines: tuple[int, int], position: SourcePosition | None = None, prefix: str = ""
    ) -> DockerfileError:
        """The same with a place, unless it has one already."""
        message = f"{prefix}{self}"
        return DockerfileError(message, self.lines or lines, self.position or position, self.advice)

    def report(self, source: str, filename: str = "Dockerfile") -> str:
        """The error with the lines of the Dockerfile that it is about."""
        text = excerpt(source, filename, [self.lines] if self.lines is not None else [])
        where = f"{filename}:{self.position}: " if self.position is not None else ""
        advice = f"\n{self.advice}" if self.advice else ""
        return f"{text}{where}{self}{advice}\n"
