"""Images made of containers: what a container has changed becomes a layer on those of its image."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from darse.containers.dependencies import Dependencies
from darse.containers.lifecycle.create import merged
from darse.containers.model import Container, Purpose, Status
from darse.core import executors
from darse.core.errors import Conflict, InvalidParameter, NotFound
from darse.core.times import rfc3339
from darse.images import references
from darse.images.instructions import apply
from darse.images.layers.diff import MOUNT_TARGETS, unchanged
from darse.images.model import History, Image, ImageConfig, Layer, RootFS
from darse.images.references import Reference
from darse.wire.containers import ContainerConfig

# How long a commit waits for execs that are just being launched.
_EXEC_SECONDS = 5.0
# And for another commit, at the end of which the container goes on.
_FREEZE_SECONDS = 60.0
# What an archive without entries hashes to: two blocks of zeros.
_EMPTY = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
# Bytes of one argument of a program, execve(2), with room for the rest.
_SKIP_LIMIT = 100_000
# What of a container's configuration is its image's; the rest is of one container.
_OF_IMAGES = (
    *("User", "ExposedPorts", "Env", "Cmd", "Healthcheck", "ArgsEscaped", "Volumes", "WorkingDir", "Entrypoint"),
    *("OnBuild", "Labels", "StopSignal", "StopTimeout", "Shell"),
)


class CommitOptions(msgspec.Struct, kw_only=True):
    """What a commit is asked for. `config` stands before the container's own, `changes` are instructions."""

    repository: str = ""
    tag: str = ""
    message: str = ""
    author: str = ""
    changes: list[str] = []
    pause: bool = True
    config: ContainerConfig | None = None


class Commits:
    """Commits containers."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies

    async def commit(self, reference: str, options: CommitOptions) -> Image:
        """Make an image of a container.

        With `pause` a container that runs stands still meanwhile. Raises NotFound, InvalidParameter, and SystemFault.
        """
        dependencies = self._dependencies
        container = dependencies.store.get(reference)
        name = _name(options)
        config = apply(merged(options.config or ContainerConfig(), container.record.config), options.changes)
        base = dependencies.images.by_id(container.record.image_id)
        if base is None:
            raise NotFound(f"No such image: {container.record.image_id}")
        async with AsyncExitStack() as stack:
            async with dependencies.locks.hold(container.id):
                if container.state.status is Status.REMOVING:
                    raise NotFound(f"No such container: {container.id}")
                work = asyncio.create_task(self._commit(container, base, config, name, options))
                stack.enter_context(dependencies.rootfs_leases.use(container.id, lambda: _end(work)))
                stack.push_async_callback(_end, work)
            await asyncio.wait((work,))
            if work.cancelled():
                raise Conflict(f"container {container.id} was removed while it was committed")
            return work.result()

    async def _commit(
        self, container: Container, base: Image, config: ContainerConfig, name: Reference | None, options: CommitOptions
    ) -> Image:
        dependencies = self._dependencies
        images = dependencies.images
        upper = Path(dependencies.snapshots.overlay(container.id).upper)
        chain = base.chain_ids
        async with images.lease() as lease:
            lease.hold(*chain)
            with dependencies.traces.record("commit", container.id):
                async with self._paused(container, pause=options.pause):
                    layer = await images.commit_layer(
                        upper,
                        chain[-1] if chain else None,
                        skip=[*MOUNT_TARGETS, *await self._unchanged(container)],
                        owners=dependencies.snapshots.owners_of(container.id),
                    )
            lease.hold(layer.chain_id)
            layers = [*base.layers, *([layer] if layer.diff_id != _EMPTY else [])]
            document = msgspec.json.encode(_document(container, base, config, layers, options))
            blobs = [one.blob for one in layers]
            async with images.create_image(document, blobs, names=[name] if name else [], parent=base.id) as image:
                more = {"imageRef": str(name)} if name else {}
                dependencies.publish(container, "commit", comment=options.message, imageID=image.id, **more)
        return image

    async def _unchanged(self, container: Container) -> list[str]:
        """What of the container's files is as the image has it: the layer holds what `diff` shows, and no more.

        The worker takes the paths on its command line, with colons between them: there they have to find room.
        """
        overlay = self._dependencies.snapshots.overlay(container.id)
        found = await executors.storage.run(unchanged, tuple(overlay.lower), overlay.upper)
        chosen, room = [], _SKIP_LIMIT
        for path in found:
            room -= len(os.fsencode(path)) + 1
            if room >= 0 and ":" not in path:
                chosen.append(path)
        return chosen

    @asynccontextmanager
    async def _paused(self, container: Container, *, pause: bool) -> AsyncIterator[None]:
        """Freeze a container that runs for the duration of the block.

        That is not its state, and not on record: an engine that takes over lets it go on.
        """
        dependencies = self._dependencies
        path = dependencies.cgroup_path(container)
        if not pause:
            yield
            return
        await container.wait_until_over(Purpose.FREEZE, _FREEZE_SECONDS)
        with container.under_way(Purpose.FREEZE):
            await container.wait_until_over(Purpose.EXEC, _EXEC_SECONDS)
            if container.state.status is not Status.RUNNING or container.undergoes(Purpose.ENDING):
                yield
                return
            try:
                with contextlib.suppress(FileNotFoundError):  # it has just ended, which stands still, too
                    await executors.kernel.run_to_end(dependencies.cgroups.freeze, path, frozen=True)
                dependencies.publish(container, "pause")
                yield
            finally:
                if container.state.status is Status.RUNNING:
                    await executors.kernel.run_to_end(dependencies.cgroups.thaw, path)
                    dependencies.publish(container, "unpause")


async def _end(work: asyncio.Task[Image]) -> None:
    """Nobody waits for it any more: let nothing of it go on."""
    work.cancel()
    await asyncio.wait((work,))


def _name(options: CommitOptions) -> Reference | None:
    if not options.repository:
        if options.tag:
            raise InvalidParameter("invalid reference format: a tag without a repository")
        return None
    return references.parse_tag(f"{options.repository}:{options.tag}" if options.tag else options.repository)


def _document(
    container: Container, base: Image, config: ContainerConfig, layers: list[Layer], options: CommitOptions
) -> ImageConfig:
    now = rfc3339(time.time_ns())
    step = History(
        created=now,
        created_by=" ".join(container.record.config.Cmd or ()),
        author=options.author,
        comment=options.message,
        empty_layer=len(layers) == len(base.layers),
    )
    kept = {field: getattr(config, field) for field in _OF_IMAGES}
    return ImageConfig(
        created=now,
        author=options.author,
        architecture=base.config.architecture,
        variant=base.config.variant,
        os=base.config.os,
        config=ContainerConfig(**kept),
        rootfs=RootFS("layers", [layer.diff_id for layer in layers]),
        history=[*base.config.history, step],
        comment=options.message,
    )
