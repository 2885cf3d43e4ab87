"""The executor: one for the engine, and one bound to each build's session.

A snapshot of the solver is a committed snapshot of the snapshotter (`darse.images.snapshots.snapshotter`): a stack of
layers, each the upper directory of the overlay in which it was made. Nothing is copied from step to step, and no
archive is made before an image is exported.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from darse.archive.apply_layer import HOST_FAULTS
from darse.build.context import content_digest
from darse.build.context.content_digest import NONE_KNOWN
from darse.build.errors import BuildError
from darse.build.executor.cache_directories import CacheDirectories
from darse.build.executor.contexts import LocalContexts
from darse.build.executor.differences import write_difference
from darse.build.executor.git import GitSources
from darse.build.executor.http import HTTPDownload, HTTPSources
from darse.build.executor.images import ImageSources
from darse.build.executor.interactive import InteractiveContainers
from darse.build.executor.linking import is_plain_copy, link_copy
from darse.build.executor.processes import Processes, check_entitlements
from darse.build.executor.session import BuildSession
from darse.build.executor.trees import Layers, Trees
from darse.build.executor.unpacking import UnpackWorker
from darse.build.files import apply_change
from darse.build.files.groups import ChangeGroup, group_changes
from darse.build.graph.operations import (
    EMPTY,
    SKIP_OUTPUT,
    CopyAction,
    DiffOperation,
    ExecOperation,
    FileOperation,
    MergeOperation,
)
from darse.build.graph.selectors import Selector
from darse.build.graph.sources import GitSource, HTTPSource, ImageSource, LocalSource, OCILayoutSource, SourceOperation
from darse.build.solver.operation_executor import Inputs, OperationExecutor, Snapshot, WriteLog
from darse.containers.dependencies import Dependencies
from darse.containers.lifecycle.transient import TransientContainers
from darse.core import executors
from darse.core.errors import NotFound
from darse.core.locks import KeyedLocks
from darse.images.snapshots.snapshotter import ActiveSnapshot, CommittedSnapshot
from darse.images.transfer.service import RegistryService
from darse.linux.fs.contained import remove_entry
from darse.linux.fs.linked_tree import NO_LINKS, link_tree

# Another file system, or a file with too many names.
# All of a tree: these have one digest.
_WHOLE = ((), (Selector("/"),), (Selector("/", follow_links=True),))
# Of parts of trees that are remembered.
_MOST_DIGESTS = 10_000


class EngineExecutor:
    """What the operations of all builds share."""

    def __init__(
        self, dependencies: Dependencies, containers: TransientContainers, registries: RegistryService
    ) -> None:
        self.images = dependencies.images
        self.snapshotter = snapshotter = dependencies.images.snapshotter
        root = dependencies.config.data_root / "build"
        root.mkdir(mode=0o700, exist_ok=True)
        scratch = root / "scratch"
        scratch.mkdir(mode=0o700, exist_ok=True)
        self.trees = Trees(dependencies.threads, snapshotter, scratch)
        self.image_sources = ImageSources(dependencies.images, registries, snapshotter)
        self.git_sources = GitSources(dependencies.threads, snapshotter, root / "git", dependencies.files.handovers)
        self.http_sources = HTTPSources(registries, snapshotter, self.trees, root)
        self.cache_directories = CacheDirectories(
            dependencies.config.data_root / "cache-mounts", snapshotter, self.trees
        )
        self.processes = Processes(dependencies, containers, snapshotter, self.cache_directories)
        self.interactive = InteractiveContainers(self.processes, containers, self.trees)
        self.exporting = KeyedLocks()
        self.contexts: set[str] = set()
        """The layers that have clients' files, as far as this engine has received them."""
        self._digests: dict[tuple[str, tuple[Selector, ...]], str] = {}
        self._collecting: asyncio.Task[object] | None = None

    def for_session(self, session: BuildSession) -> OperationExecutor:
        """The executor of one build."""
        return _SessionExecutor(self, session)

    def layers_of(self, snapshot: Snapshot) -> tuple[str, ...]:
        """The layers of a snapshot, lowest first. Raises BuildError when it is gone."""
        try:
            return self.snapshotter.layers_of(snapshot.id)
        except NotFound as error:
            raise BuildError(str(error)) from error

    def bytes_of_images(self, snapshot: str) -> int:
        """Bytes of a snapshot's layers that are the image store's, and that no image has any more."""
        of_images = {chain for image in self.images.all_images() for chain in image.chain_ids}
        try:
            stack = self.snapshotter.layers_of(snapshot)
        except NotFound:
            return 0
        return sum(self.images.layer_size(one) for one in stack if one.startswith("sha256:") and one not in of_images)

    async def digest(
        self, snapshot: Snapshot, selectors: Sequence[Selector], contexts: LocalContexts | None = None
    ) -> str:
        """See OperationExecutor.content_digest. Trees do not change: each digest is computed once.

        contexts: those of a build that runs, whose files need not be read again.
        """
        found = self._digests.get((snapshot.id, tuple(selectors)))
        if found is None:

            def work(root: int) -> str:
                return content_digest(root, selectors, contexts.known() if contexts is not None else NONE_KNOWN)

            found = await self.trees.read(self.layers_of(snapshot), work)
            self.note_digest(snapshot, selectors, found)
        return found

    def note_digest(self, snapshot: Snapshot, selectors: Sequence[Selector], digest: str) -> None:
        """Remember the digest of a part of a snapshot."""
        self._digests[snapshot.id, tuple(selectors)] = digest
        if len(self._digests) > _MOST_DIGESTS:
            del self._digests[next(iter(self._digests))]

    async def remove(self, snapshot: str) -> None:
        """See OperationExecutor."""
        for key in [key for key in self._digests if key[0] == snapshot]:
            del self._digests[key]
        self.contexts.discard(snapshot)
        await self.snapshotter.remove([snapshot])
        if self._collecting is None or self._collecting.done():
            # Layers of images that only this tree needed.
            self._collecting = asyncio.create_task(self.images.collect_garbage())

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._collecting is not None:
            await self._collecting


class _SessionExecutor:
    """See OperationExecutor."""

    def __init__(self, engine: EngineExecutor, session: BuildSession) -> None:
        self._engine = engine
        self._session = session
        self._snapshotter = engine.snapshotter
        self._downloads: dict[HTTPSource, HTTPDownload] = {}

    # Sources

    async def resolve_source(self, source: SourceOperation, platform: str) -> str:
        match source:
            case ImageSource() | OCILayoutSource():
                return await self._engine.image_sources.resolve(self._session, source, platform)
            case LocalSource():
                return await self._session.contexts.digest(source.name, source)
            case HTTPSource():
                return await self._engine.http_sources.resolve(self._session, source, self._downloads)
            case GitSource():
                return await self._engine.git_sources.resolve(self._session, source)

    async def fetch(self, source: SourceOperation, platform: str, identity: str) -> Snapshot:
        match source:
            case ImageSource() | OCILayoutSource():
                return await self._engine.image_sources.fetch(self._session, source, platform, identity)
            case LocalSource():
                return await self._take_local(source, identity)
            case HTTPSource():
                return await self._engine.http_sources.fetch(self._session, source, self._downloads)
            case GitSource():
                return await self._engine.git_sources.fetch(self._session, source, identity)

    async def _take_local(self, source: LocalSource, identity: str) -> Snapshot:
        """A tree of the files of a context: links to them, or copies from another file system."""
        directory = self._session.contexts.directory(source.name, source)
        active = self._snapshotter.prepare(())
        try:
            size = await executors.storage.run_to_end(_link, directory, active.upper)
            committed = await self._snapshotter.commit(active, size)
            self._engine.contexts.add(committed.id)
            if not source.include_patterns and not source.exclude_patterns:
                for selectors in _WHOLE:
                    self._engine.note_digest(_snapshot(committed), selectors, identity)
            return _snapshot(committed)
        finally:
            await self._snapshotter.discard(active)

    # Operations

    def check_allowed(self, operation: ExecOperation) -> None:
        check_entitlements(self._session, operation)

    async def run(
        self,
        operation: ExecOperation,
        platform: str,
        inputs: Inputs,
        cache_directories: Mapping[int, str],
        log: WriteLog,
    ) -> Sequence[Snapshot]:
        return await self._engine.processes.run(self._session, operation, platform, inputs, cache_directories, log)

    async def change_files(self, operation: FileOperation, platform: str, inputs: Inputs) -> Sequence[Snapshot]:
        del platform
        trees: dict[int, Layers] = {EMPTY: ()}
        trees.update((number, self._engine.layers_of(one)) for number, one in enumerate(inputs))
        outputs: dict[int, CommittedSnapshot] = {}
        between: list[str] = []
        try:
            for group in group_changes(operation, len(inputs)):
                made = await self._change(group, trees, len(inputs))
                trees[group.result] = made.layers
                if group.output == SKIP_OUTPUT:
                    between.append(made.id)
                else:
                    outputs[group.output] = made
        except BaseException:
            await self._snapshotter.remove(one.id for one in outputs.values())
            raise
        finally:
            await self._snapshotter.remove(between)
        return [_snapshot(outputs[number]) for number in sorted(outputs)]

    async def _change(self, group: ChangeGroup, trees: Mapping[int, Layers], inputs: int) -> CommittedSnapshot:
        """Apply a group of actions to a new layer."""
        numbers = list(dict.fromkeys((*group.sources, *range(inputs))))
        sources = [trees[number] for number in numbers]
        active = self._snapshotter.prepare(trees[group.base])
        try:
            if self._is_of_client(group, trees):
                size = await self._link(active, group, trees)
                if size is not None:
                    return await self._snapshotter.commit(active, size)
            if group.unpacks:
                await self._unpack(active, group, numbers, sources)
            else:
                work = functools.partial(_apply, group, numbers)
                await self._engine.trees.change(active, sources, work)
            return await self._snapshotter.commit(active)
        finally:
            await self._snapshotter.discard(active)

    def _is_of_client(self, group: ChangeGroup, trees: Mapping[int, Layers]) -> bool:
        """Whether a group is a copy of a context's files as they are."""
        (first, *more) = group.changes
        return not more and is_plain_copy(first.change) and self._engine.contexts.issuperset(trees[first.source] or "?")

    async def _link(self, active: ActiveSnapshot, group: ChangeGroup, trees: Mapping[int, Layers]) -> int | None:
        """Copy by links; the bytes of the files, None where it must be done otherwise."""
        (only,) = group.changes

        def work(upper: int, roots: Sequence[int]) -> int | None:
            with _as_build_error():
                try:
                    return link_copy(only.change, upper, *roots)
                except OSError as error:
                    if error.errno not in NO_LINKS:
                        raise
                for name in os.listdir(upper):
                    remove_entry(upper, name)
                return None

        return await self._engine.trees.change_plain(active, [trees[group.base], trees[only.source]], work)

    async def _unpack(
        self, active: ActiveSnapshot, group: ChangeGroup, numbers: Sequence[int], sources: Sequence[Layers]
    ) -> None:
        """Have a confined process apply a group that may read archives."""
        worker = UnpackWorker(self._snapshotter.empty)

        def work(target: int, roots: Sequence[int]) -> None:
            with _as_build_error():
                worker.run(group.changes, numbers, target, roots)

        await self._engine.trees.change(active, sources, work, stop=worker.kill)

    async def merge(self, operation: MergeOperation, inputs: Inputs) -> Snapshot:
        layers = [
            layer for number in operation.inputs if number != EMPTY for layer in self._engine.layers_of(inputs[number])
        ]
        # Of a layer that comes twice the upper one counts: what it has and hides, it has and hides over all below.
        kept = list(reversed(dict.fromkeys(reversed(layers))))
        return _snapshot(self._snapshotter.view(kept))

    async def diff(self, operation: DiffOperation, inputs: Inputs) -> Snapshot:
        lower, upper = (
            () if number == EMPTY else self._engine.layers_of(inputs[number])
            for number in (operation.lower, operation.upper)
        )
        if upper[: len(lower)] == lower:
            return _snapshot(self._snapshotter.view(upper[len(lower) :]))
        active = self._snapshotter.prepare(())
        try:
            with _as_build_error():
                await self._engine.trees.change(active, (lower, upper), write_difference)
            return _snapshot(await self._snapshotter.commit(active))
        finally:
            await self._snapshotter.discard(active)

    # Snapshots

    async def content_digest(self, snapshot: Snapshot, selectors: Sequence[Selector]) -> str:
        return await self._engine.digest(snapshot, selectors, self._session.contexts)

    async def exists(self, snapshot: str) -> bool:
        return self._snapshotter.exists(snapshot)

    async def remove(self, snapshot: str) -> None:
        await self._engine.remove(snapshot)


def _snapshot(committed: CommittedSnapshot) -> Snapshot:
    return Snapshot(committed.id, committed.size)


def _apply(group: ChangeGroup, numbers: Sequence[int], target: int, roots: Sequence[int]) -> None:
    by_number = dict(zip(numbers, roots, strict=True))
    with _as_build_error():
        for one in group.changes:
            apply_change(one.change, target, by_number.get(one.source, -1), by_number.__getitem__)


@contextlib.contextmanager
def _as_build_error() -> Iterator[None]:
    """What the trees are to blame for is for the client; a full disk is the host's."""
    try:
        yield
    except OSError as error:
        if error.errno in HOST_FAULTS:
            raise
        named = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        raise BuildError(f"{named}{(error.strerror or str(error)).lower()}") from error


def _linked_or_copied(source: int, target: int) -> int | None:
    """Bytes of the files; None where they were copied."""
    try:
        return link_tree(source, target)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
    everything = CopyAction(source="/", destination="/", copy_directory_contents=True, always_replace=True)
    apply_change(everything, target, source, lambda _: source)
    return None


def _link(directory: Path, target: Path) -> int | None:
    source = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        made = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return _linked_or_copied(source, made)
        finally:
            os.close(made)
    finally:
        os.close(source)
