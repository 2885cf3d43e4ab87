"""Checkpoints: the processes of a container in files, from which they go on later.

A checkpoint is a directory, among the container's own files or where a client wants it: on any file system, which may
never answer. What a crash leaves of one that was under way is no checkpoint: it is not listed, and a new one takes its
place.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from darse.containers.dependencies import Dependencies
from darse.containers.model import Container, Status
from darse.core import executors
from darse.core.errors import Conflict, InvalidParameter, NotFound
from darse.core.ids import NAME_PATTERN
from darse.linux.fs.contained import discard_tree, remove_tree
from darse.runtime import checkpoint
from darse.wire.checkpoints import CheckpointCreate, CheckpointSummary

T = TypeVar("T")
_ANSWER_SECONDS = 15.0
# The memory of a container is some files, of some gigabytes.
_REMOVAL_SECONDS = 60.0


class CheckpointPlace(msgspec.Struct, frozen=True):
    """A checkpoint's name, and the directory where it is; "" for the container's own."""

    name: str
    directory: str = ""


class Checkpoints:
    """Makes, lists and removes checkpoints."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies

    async def create(self, reference: str, request: CheckpointCreate) -> None:
        """Checkpoint a running container, and end it with `Exit`.

        Raises NotFound, Conflict when it does not run or there is a checkpoint of that name, InvalidParameter,
        Unavailable when CRIU or a runtime that knows it is missing, and SystemFault when it fails.
        """
        dependencies = self._dependencies
        container = dependencies.store.get(reference)
        path = self._path(container, CheckpointPlace(request.CheckpointID, request.CheckpointDir))
        async with dependencies.locks.hold(container.id):
            if container.state.status is not Status.RUNNING:
                raise Conflict(f"Container {reference} not running")
            if container.record.config.Tty:
                raise InvalidParameter("checkpoint not supported on containers with tty")
            runtime = dependencies.runtime_of(container)
            await executors.launch.run(runtime.require_checkpoints)
            await self._there(path, _make_room, path, container.name)
            try:
                with dependencies.traces.record("checkpoint", container.id):
                    await executors.launch.run(
                        checkpoint.dump,
                        runtime,
                        container.id,
                        container.state.monitor_pid,
                        path,
                        leave_running=not request.Exit,
                    )
            except BaseException:
                await self._there(path, discard_tree, path, seconds=_REMOVAL_SECONDS)
                raise
            dependencies.publish(container, "checkpoint")

    async def list_checkpoints(self, reference: str, directory: str) -> list[CheckpointSummary]:
        """The checkpoints of a container. Raises NotFound, and SystemFault."""
        container = self._dependencies.store.get(reference)
        parent = self._parent(container, directory)
        return [CheckpointSummary(name) for name in await self._there(parent / "any", _complete_in, parent)]

    async def remove_checkpoint(self, reference: str, place: CheckpointPlace) -> None:
        """Remove a checkpoint. Raises NotFound and InvalidParameter."""
        container = self._dependencies.store.get(reference)
        async with self._dependencies.locks.hold(container.id):
            path = await self.find(container, place)
            await self._there(path, remove_tree, path, seconds=_REMOVAL_SECONDS)

    async def find(self, container: Container, place: CheckpointPlace) -> Path:
        """The directory of a checkpoint. Raises NotFound and InvalidParameter."""
        path = self._path(container, place)
        if not await self._there(path, checkpoint.is_complete, path):
            raise NotFound(f"checkpoint {place.name} does not exist for container {container.id}")
        return path

    @staticmethod
    async def _there(path: Path, function: Callable[..., T], *arguments: Any, seconds: float = _ANSWER_SECONDS) -> T:
        """Look at, or change, what is at a checkpoint's path. Raises SystemFault without an answer in time."""
        return await executors.foreign.run(str(path.parent), function, *arguments, seconds=seconds)

    def _path(self, container: Container, place: CheckpointPlace) -> Path:
        if NAME_PATTERN.fullmatch(place.name) is None:
            raise InvalidParameter(f"Invalid checkpoint ID ({place.name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
        return self._parent(container, place.directory) / place.name

    def _parent(self, container: Container, directory: str) -> Path:
        if not directory:
            return self._dependencies.files.of(container.id).data / "checkpoints"
        if not directory.startswith("/"):
            raise InvalidParameter(f"invalid checkpoint directory {directory}: must be an absolute path")
        return Path(directory)


def _complete_in(directory: Path) -> list[str]:
    """The names of the checkpoints in a directory. Blocks."""
    try:
        return [path.name for path in sorted(directory.iterdir()) if checkpoint.is_complete(path)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _make_room(path: Path, name: str) -> None:
    """Make the empty directory of a checkpoint of the container `name`. Blocks. Raises Conflict, InvalidParameter."""
    if checkpoint.is_complete(path):
        raise Conflict(f"checkpoint with name {path.name} already exists for container {name}")
    if os.path.lexists(path):
        # Only what an interrupted checkpoint has left may go, and that may be empty: somebody else's directory may not.
        if not path.is_dir() or not ((path / "dump.log").exists() or not any(path.iterdir())):
            raise Conflict(f"{path} exists and is no checkpoint")
        remove_tree(path)
    try:
        path.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise InvalidParameter(f"cannot make the checkpoint's directory {path}: {error.strerror}") from error
