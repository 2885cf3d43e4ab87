"""The conversion of Dockerfiles beside the event loop: one of a hundred thousand lines takes seconds.

Most are short, and converted in less time than a thread with an event loop of its own takes to begin. What a thread
asks for on its way, the configuration of images, is answered by the event loop of who called.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from darse.build.dockerfile.convert import ImageResolver, ResolvedImage
from darse.core import executors

T = TypeVar("T")
# Characters of a Dockerfile, and variables in it: each of them doubles a value at most.
_SHORT, _FEW_VARIABLES = 4096, 24


class _ResolverElsewhere:
    """A resolver on another thread's event loop."""

    def __init__(self, resolver: ImageResolver, loop: asyncio.AbstractEventLoop) -> None:
        self._resolver = resolver
        self._loop = loop

    async def resolve(self, reference: str, platform: str) -> ResolvedImage:
        """See ImageResolver."""
        call = asyncio.run_coroutine_threadsafe(self._resolver.resolve(reference, platform), self._loop)
        return await asyncio.wrap_future(call)


def is_short(source: str) -> bool:
    """Whether a Dockerfile is converted in a few milliseconds: so few variables cannot make much of each other."""
    return len(source) <= _SHORT and source.count("$") <= _FEW_VARIABLES


async def apart(source: str, work: Callable[[ImageResolver], Coroutine[Any, Any, T]], resolver: ImageResolver) -> T:
    """Do what takes its time for a long Dockerfile, with a resolver; in a thread unless it is a short one."""
    return await work(resolver) if is_short(source) else await in_thread(work, resolver)


async def in_thread(work: Callable[[ImageResolver], Coroutine[Any, Any, T]], resolver: ImageResolver) -> T:
    """Run `work` on an event loop of its own, with a resolver that asks `resolver` on this one.

    When the caller is cancelled it goes on alone until it needs an image, or its end. Raises what it raises.
    """
    elsewhere = _ResolverElsewhere(resolver, asyncio.get_running_loop())
    return await executors.storage.run(lambda: asyncio.run(work(elsewhere)))
