"""What an operation of several steps has made, to be undone when a later step fails."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import ParamSpec

P = ParamSpec("P")
_log = logging.getLogger("darse.undo")


class Undo:
    """A stack of undo functions: `async with Undo("create web") as undo: …; undo.add(remove, path)`.

    They are called when the block fails, the newest first, each whatever becomes of the others. One that fails is
    logged: the error of the block is what the caller gets. Recovery finds what is left.
    """

    def __init__(self, operation: str) -> None:
        self._operation = operation
        self._functions: list[Callable[[], Awaitable[None] | None]] = []

    async def __aenter__(self) -> Undo:
        return self

    def add(self, function: Callable[P, Awaitable[None] | None], *arguments: P.args, **options: P.kwargs) -> None:
        """Call `function` if the block fails."""
        self._functions.append(functools.partial(function, *arguments, **options))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if error is None:
            return
        for function in reversed(self._functions):
            try:
                undone = function()
                if inspect.isawaitable(undone):
                    await undone
            except Exception:
                _log.exception("%s failed, and a step of it is not undone", self._operation)
