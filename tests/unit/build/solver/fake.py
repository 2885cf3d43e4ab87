"""An executor in memory, that counts what it does and can be stopped in the middle of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence

from darse.build.errors import BuildError
from darse.build.graph import (
    DiffOperation,
    ExecOperation,
    FileOperation,
    ImageSource,
    LocalSource,
    MergeOperation,
    Selector,
)
from darse.build.graph.sources import SourceOperation
from darse.build.solver import Snapshot
from darse.build.solver.operation_executor import Inputs, WriteLog
from tests.unit.build.solver import trees
from tests.unit.build.solver.trees import Tree


class FakeExecutor:
    """Keeps trees by the snapshot's id."""

    def __init__(self, sources: Mapping[str, Tree] | None = None) -> None:
        self.sources = dict(sources or {})
        self.trees: dict[str, Tree] = {}
        self.done: Counter[str] = Counter()
        """How often each thing was executed, by a name for it."""
        self.running = 0
        self.most_running = 0
        self.gates: dict[str, asyncio.Event] = {}
        """Processes that wait for an event, by their first argument."""
        self.started: dict[str, asyncio.Event] = {}
        self.directories: list[Mapping[int, str]] = []
        self.cancelled: list[str] = []
        self.forbidden: set[str] = set()
        """Processes that the client has not allowed, by their first argument."""
        self._next = 0

    def _keep(self, tree: Tree) -> Snapshot:
        self._next += 1
        name = f"snapshot-{self._next}"
        self.trees[name] = dict(tree)
        return Snapshot(name, 100 * (len(tree) + 1))

    def _inputs(self, inputs: Inputs) -> list[Tree]:
        return [self.trees[one.id] for one in inputs]

    def _source(self, source: SourceOperation) -> tuple[str, Tree]:
        assert isinstance(source, ImageSource | LocalSource)
        name = source.reference if isinstance(source, ImageSource) else source.name
        if name not in self.sources:
            raise BuildError(f"{name}: not found")
        return name, self.sources[name]

    async def resolve_source(self, source: SourceOperation, platform: str) -> str:
        await asyncio.sleep(0)
        return trees.digest(sorted(self._source(source)[1].items()))

    async def fetch(self, source: SourceOperation, platform: str, identity: str) -> Snapshot:
        name, tree = self._source(source)
        await self._work(f"fetch {name}")
        return self._keep(tree)

    def check_allowed(self, operation: ExecOperation) -> None:
        if operation.meta.arguments[0] in self.forbidden:
            raise BuildError(f"{operation.meta.arguments[0]}: not allowed")

    async def run(
        self,
        operation: ExecOperation,
        platform: str,
        inputs: Inputs,
        cache_directories: Mapping[int, str],
        log: WriteLog,
    ) -> Sequence[Snapshot]:
        self.directories.append(dict(cache_directories))
        log(1, b"running\n")
        await self._work(operation.meta.arguments[0])
        return [self._keep(tree) for tree in trees.run(operation, self._inputs(inputs))]

    async def change_files(self, operation: FileOperation, platform: str, inputs: Inputs) -> Sequence[Snapshot]:
        await self._work("files")
        return [self._keep(tree) for tree in trees.change_files(operation, self._inputs(inputs))]

    async def merge(self, operation: MergeOperation, inputs: Inputs) -> Snapshot:
        await self._work("merge")
        return self._keep(trees.merge(operation, self._inputs(inputs)))

    async def diff(self, operation: DiffOperation, inputs: Inputs) -> Snapshot:
        await self._work("diff")
        return self._keep(trees.diff(operation, self._inputs(inputs)))

    async def content_digest(self, snapshot: Snapshot, selectors: Sequence[Selector]) -> str:
        await asyncio.sleep(0)
        self.done["digest"] += 1
        return trees.digest(trees.selected(self.trees[snapshot.id], selectors))

    async def exists(self, snapshot: str) -> bool:
        await asyncio.sleep(0)
        return snapshot in self.trees

    async def remove(self, snapshot: str) -> None:
        await asyncio.sleep(0)
        del self.trees[snapshot]

    async def _work(self, name: str) -> None:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            self.started.setdefault(name, asyncio.Event()).set()
            if name in self.gates:
                await self.gates[name].wait()
            else:
                await asyncio.sleep(0)
            self.done[name] += 1
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise
        finally:
            self.running -= 1

    async def has_started(self, name: str) -> None:
        """Wait until something is executed."""
        await asyncio.wait_for(self.started.setdefault(name, asyncio.Event()).wait(), 10)
