"""Builds by the names that their clients have chosen: those that run, and, for a moment, those that have ended."""

from __future__ import annotations

import asyncio

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from darse.buildkit.solving.client_build import ClientBuild

# Seconds in which a build that a call is about must have begun, and for which its progress can be read afterwards.
_TIMEOUT_SECONDS, _KEPT_SECONDS = 5.0, 30.0
# Builds that have ended.
_MOST_KEPT = 20


class BuildPool:
    """Those of all clients."""

    def __init__(self) -> None:
        self._builds: dict[str, ClientBuild] = {}
        self._ended: dict[str, asyncio.TimerHandle] = {}
        self._changed = asyncio.Event()

    def add(self, build: ClientBuild) -> None:
        """Take a build that begins. Raises GRPCError where its name is another's."""
        if build.name in self._builds:
            raise GRPCError(Status.ALREADY_EXISTS, f"job ID {build.name} exists")
        self._builds[build.name] = build
        self._changed.set()
        self._changed = asyncio.Event()

    def end(self, build: ClientBuild) -> None:
        """It has ended: clients read the rest of its progress."""
        build.end()
        self._ended[build.name] = asyncio.get_running_loop().call_later(_KEPT_SECONDS, self._drop, build.name)
        if len(self._ended) > _MOST_KEPT:
            self._drop(next(iter(self._ended)))

    def _drop(self, name: str) -> None:
        self._ended.pop(name).cancel()
        del self._builds[name]

    def has(self, name: str) -> bool:
        """Whether a build runs, or has just ended."""
        return name in self._builds

    async def get(self, name: str) -> ClientBuild:
        """A build; waits for it. Raises GRPCError where there is none."""
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                while (found := self._builds.get(name)) is None:
                    await self._changed.wait()
        except TimeoutError:
            raise GRPCError(Status.NOT_FOUND, f"no such job {name}") from None
        return found

    def close(self) -> None:
        """Forget those that have ended."""
        for name in list(self._ended):
            self._drop(name)
