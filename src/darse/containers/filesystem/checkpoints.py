"""Checkpoints: the processes of a container in files, from which they go on later.

A checkpoint is a directory, among the container's own files or where a client wants it. What a crash leaves of one
that was under way is no checkpoint: it is not listed, and a new one takes its place.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from darse.containers.dependencies import Dependencies
from darse.containers.model import Container, Status
from darse.core import executors
from darse.core.errors import Conflict, InvalidParameter, NotFound
from darse.core.ids import NAME_PATTERN
from darse.linux.fs.contained import discard_tree, remove_tree
from darse.runtime import checkpoint
from darse.wire.checkpoints import CheckpointCreate, CheckpointSummary


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
            self._make_room(path, container)
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
                discard_tree(path)
                raise
            dependencies.publish(container, "checkpoint")

    def list_checkpoints(self, reference: str, directory: str) -> list[CheckpointSummary]:
        """The checkpoints of a container. Raises NotFound."""
        container = self._dependencies.store.get(reference)
        parent = self._parent(container, directory)
        try:
            found = sorted(parent.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [CheckpointSummary(path.name) for path in found if checkpoint.is_complete(path)]

    async def remove_checkpoint(self, reference: str, place: CheckpointPlace) -> None:
        """Remove a checkpoint. Raises NotFound and InvalidParameter."""
        container = self._dependencies.store.get(reference)
        async with self._dependencies.locks.hold(container.id):
            await executors.storage.run(remove_tree, await self.find(container, place))

    async def find(self, container: Container, place: CheckpointPlace) -> Path:
        """The directory of a checkpoint. Raises NotFound and InvalidParameter."""
        path = self._path(container, place)
        if not await executors.storage.run(checkpoint.is_complete, path):
            raise NotFound(f"checkpoint {place.name} does not exist for container {container.id}")
        return path

    @staticmethod
    def _make_room(path: Path, container: Container) -> None:
        if checkpoint.is_complete(path):
            raise Conflict(f"checkpoint with name {path.name} already exists for container {container.name}")
        if os.path.lexists(path):
            # Only what an interrupted checkpoint has left may go: somebody else's directory may not.
            if not path.is_dir() or not (path / "dump.log").exists():
                raise Conflict(f"{path} exists and is no checkpoint")
            remove_tree(path)
        try:
            path.mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise InvalidParameter(f"cannot make the checkpoint's directory {path}: {error.strerror}") from error

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
