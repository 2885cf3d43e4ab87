"""Errors of builds. They know nothing of HTTP; whoever serves builds maps them to the API's errors.

BuildError
├── InvalidGraph        a vertex or a definition that no solver can run
├── InvalidPattern      a pattern of a .dockerignore, or of --exclude
├── DockerfileError     a place in a Dockerfile (darse.build.dockerfile.errors)
└── SolveError          what failed when a vertex was run (darse.build.solver.errors)
"""

from __future__ import annotations


class BuildError(Exception):
    """Base of all expected failures of a build; `str()` is the text that users see."""


class InvalidGraph(BuildError):
    """A graph is malformed or contradicts itself."""


class InvalidPattern(BuildError):
    """A pattern for paths cannot be read."""
