"""Work in threads that the caller must outlive.

A thread cannot be cancelled. A caller that went on without it would clean up, or give a lock back, while the thread
still writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from darse.core import executors
from darse.core.tasks import ended

P = ParamSpec("P")
T = TypeVar("T")


async def run_to_end(function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """Run a function in a thread. A caller that is cancelled meanwhile waits for its end: its changes are complete."""
    running = asyncio.create_task(executors.storage.run(function, *arguments, **options))
    return await ended(running, lambda: None)
