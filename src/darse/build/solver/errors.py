"""Errors of running a graph."""

from __future__ import annotations

from darse.build.errors import BuildError


class SolveError(BuildError):
    """A vertex failed. `str()` is the executor's text."""

    def __init__(self, text: str, vertex: str, name: str = "", lines: tuple[tuple[int, int], ...] = ()) -> None:
        super().__init__(text)
        self.vertex = vertex
        self.name = name
        """As progress shows it."""
        self.lines = lines
        """Of the Dockerfile."""
