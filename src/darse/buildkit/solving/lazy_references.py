"""Results of front ends: a graph that is solved when its files are needed, once."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from darse.build.dockerfile.convert import Converted
from darse.build.graph import Definition
from darse.build.progress import DockerfileRead
from darse.build.request import BuildRequest
from darse.build.solver import Snapshot, Solution


class ReferenceOrigin:
    """What a reference was made of, where the built-in front end has made it."""

    def __init__(self, request: BuildRequest, converted: Converted, dockerfile: DockerfileRead, started: float) -> None:
        self.request = request
        self.converted = converted
        self.dockerfile = dockerfile
        self.started = started


class LazyReference:
    """One of them."""

    def __init__(
        self,
        definition: Definition,
        solve: Callable[[Definition], Awaitable[Solution]],
        origin: ReferenceOrigin | None = None,
    ) -> None:
        self.id = secrets.token_hex(12)
        self.definition = definition
        self.origin = origin
        self._solve = solve
        self._solving: asyncio.Task[Solution] | None = None

    async def solution(self) -> Solution:
        """What the graph comes to; leased until `close`. Raises BuildError."""
        if self._solving is None:
            self._solving = asyncio.ensure_future(self._solve(self.definition))
        return await asyncio.shield(self._solving)

    async def close(self) -> Solution | None:
        """End what runs; the solution, which is the caller's to release."""
        if self._solving is None:
            return None
        self._solving.cancel()
        (found,) = await asyncio.gather(self._solving, return_exceptions=True)
        return found if isinstance(found, Solution) else None


class SnapshotReference(LazyReference):
    """A tree that is there already, and is somebody else's to remove."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(Definition({}, None), self._found)
        self._solution = Solution(snapshot, {})

    async def _found(self, definition: Definition) -> Solution:
        del definition
        return self._solution

    async def close(self) -> Solution | None:
        """See LazyReference."""
        return None


class BuildResult(msgspec.Struct, frozen=True):
    """What a front end says is the build's result."""

    references: Mapping[str, LazyReference | None]
    """By platform; where there is no index, by the empty text. None is an empty tree."""
    metadata: Mapping[str, bytes]
