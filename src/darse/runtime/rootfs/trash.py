"""What is to be removed, out of the way: a directory whose contents nobody needs, removed one by one.

A tree gets here by a rename, so from one moment to the next nothing knows it any more, and is removed at leisure. What
an engine before has left is removed in the background. What cannot be removed stays, is logged once with the reason,
and is tried again later; it keeps neither the engine from starting nor anything else from being removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from darse.core import executors
from darse.core.executors import Executor
from darse.linux.fs.contained import remove_tree

_AGAIN_SECONDS = 3600.0
_log = logging.getLogger("darse.trash")


class Trash:
    """One such directory, on the file system of what it takes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        # What could not be removed, and why.
        self.left: dict[str, str] = {}
        self._under_way: set[str] = set()
        self._threads = Executor("trees", 4)
        self._emptying: asyncio.Task[None] | None = None
        self._removals: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Make the directory. What is in it waits for `empty`."""
        self.directory.mkdir(mode=0o700, exist_ok=True)

    @contextlib.asynccontextmanager
    async def stage(self) -> AsyncIterator[Path]:
        """A new directory in it, which is not emptied during the block; what is left of it then is removed.

        For what is made beside the place that it is to be renamed to: a crash leaves work for the next engine only.
        """
        staged = self.directory / f"staged-{secrets.token_hex(8)}"
        self._under_way.add(staged.name)
        try:
            staged.mkdir(mode=0o700)
            yield staged
        finally:
            self._under_way.discard(staged.name)
            if staged.exists():
                await asyncio.wait((self._begin_removal(staged),))

    def take(self, path: Path) -> Path | None:
        """Rename a file or a directory into it; return where it is, or None when it is gone. Raises OSError."""
        aside = self._place_for(path)
        return aside if _renamed(path, aside) else None

    async def discard(self, path: Path) -> None:
        """Take what is at a path, and remove it, in a thread. What cannot be removed stays here; see the class.

        Raises OSError when it cannot even be renamed.
        """
        aside = self._place_for(path)
        # The default: the host has no room for a thread.
        errors = [OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), str(path))]

        def take_and_remove() -> None:
            errors.clear()
            try:
                there = _renamed(path, aside)
            except OSError as error:
                errors.append(error)
                return
            if there:
                remove_tree(aside)

        await self._removed_by(take_and_remove, aside)
        if errors:
            raise errors[0]

    def discard_soon(self, path: Path) -> None:
        """Take what is at a path, and remove it in the background; what cannot be removed stays here. Needs the loop.

        What is on another file system is removed where it is. Raises OSError when it cannot be renamed.
        """
        try:
            aside = self.take(path)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            aside = path
        if aside is not None:
            self._begin_removal(aside)

    async def set_aside(self, path: Path) -> None:
        """Take what is at a path, in a thread, and have it removed in the background. What cannot be taken is logged.

        Whoever stops waiting does so when it is taken.
        """
        aside = self._place_for(path)
        try:
            taking = executors.storage.begin(functools.partial(_renamed, path, aside))
            try:
                await taking
            finally:
                if taking.exception() is None and taking.result():
                    self._begin_removal(aside)
        except OSError as error:
            _log.warning("cannot remove %s: %s", path, error)

    def discard_in_background(self, path: Path) -> None:
        """As `set_aside`, while nobody waits. Needs the loop."""
        self._keep(asyncio.create_task(self.set_aside(path)))

    async def remove(self, aside: Path) -> None:
        """Remove what was taken."""
        await self._removed_by(functools.partial(remove_tree, aside), aside)

    def _begin_removal(self, aside: Path) -> asyncio.Task[None]:
        return self._keep(asyncio.create_task(self.remove(aside)))

    def _keep(self, removal: asyncio.Task[None]) -> asyncio.Task[None]:
        self._removals.add(removal)
        removal.add_done_callback(self._removals.discard)
        return removal

    def _place_for(self, path: Path) -> Path:
        return self.directory / f"{path.name.lstrip('.')[:12]}-{secrets.token_hex(8)}"

    async def _removed_by(self, remove: Callable[[], None], aside: Path) -> None:
        if aside.name in self._under_way:
            return
        self._under_way.add(aside.name)
        try:
            await self._threads.run(remove)
            self.left.pop(aside.name, None)
        except OSError as error:
            if aside.name not in self.left:
                _log.warning("cannot remove %s, and will try again: %s", aside, error)
            self.left[aside.name] = error.strerror or str(error)
        finally:
            self._under_way.discard(aside.name)

    def empty_in_background(self) -> None:
        """Remove all that is in it, now and, what is left then, every hour. Needs the loop."""
        self._emptying = asyncio.create_task(self._empty())

    async def _empty(self) -> None:
        while True:
            for name in await self._threads.run(os.listdir, self.directory):
                await self.remove(self.directory / name)
            await asyncio.sleep(_AGAIN_SECONDS)

    async def close(self) -> None:
        """Let what is left be for the next engine."""
        tasks = {*self._removals, *([self._emptying] if self._emptying is not None else [])}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _renamed(path: Path, aside: Path) -> bool:
    """Rename what is at a path; False when it is gone. Raises OSError."""
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        if os.path.lexists(path):
            raise  # it is the trash that is not there
        return False
    return True
