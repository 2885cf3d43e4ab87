"""Errors of builds. They know nothing of HTTP; whoever serves builds maps them to the API's errors.

BuildError
├── InvalidGraph        a vertex or a definition that no solver can run
├── InvalidPattern      a pattern of a .dockerignore, or of --exclude
├── ProcessFailed       a process of RUN ended with a status that is not one of the valid ones
├── DockerfileError     a place in a Dockerfile (darse.build.dockerfile.errors)
└── SolveError          what failed when a vertex was run (darse.build.solver.errors)
"""

from __future__ import annotations

from collections.abc import Sequence

from darse.quoting import quote


class BuildError(Exception):
    """Base of all expected failures of a build; `str()` is the text that users see."""


class InvalidGraph(BuildError):
    """A graph is malformed or contradicts itself."""


class InvalidPattern(BuildError):
    """A pattern for paths cannot be read."""


class ProcessFailed(BuildError):
    """A process ended with a status that is not one of the valid ones; `str()` is BuildKit's sentence."""

    def __init__(self, arguments: Sequence[str], exit_code: int, detail: str = "") -> None:
        """detail: what is known beside the status, such as that the process was killed for its memory."""
        more = f": {detail}" if detail else ""
        command = quote(" ".join(arguments))
        super().__init__(f"process {command} did not complete successfully: exit code: {exit_code}{more}")
        self.arguments = tuple(arguments)
        self.exit_code = exit_code
