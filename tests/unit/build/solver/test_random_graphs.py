"""The solver against a sequential interpreter without a cache: random graphs, one after another and beside each other,
with sources that change, a cache that is pruned, vertices that ignore it, and builds that are cancelled in between.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping

import pytest

from darse.build.graph import (
    EMPTY,
    CopyAction,
    Definition,
    DiffOperation,
    Edge,
    ExecMount,
    ExecOperation,
    FileAction,
    FileOperation,
    GraphBuilder,
    ImageSource,
    LocalSource,
    MergeOperation,
    MkdirAction,
    MkfileAction,
    ProcessMeta,
    RemoveAction,
    SymlinkAction,
    VertexMetadata,
)
from darse.build.graph.operations import Operation, output_count
from darse.build.solver import MemoryCacheStorage, PrunePolicy, Solution, Solver
from tests.unit.build.solver import trees
from tests.unit.build.solver.fake import FakeExecutor
from tests.unit.build.solver.trees import Tree

_PATHS = ["/a", "/b", "/d/a", "/d/b", "/d/e/f"]
_SOURCES = ["context", "image", "other"]


def interpret(definition: Definition, sources: Mapping[str, Tree]) -> Tree:
    """Every vertex, in order."""
    results: dict[Edge, Tree] = {}
    for digest, vertex in definition.vertices.items():
        inputs = [results[edge] for edge in vertex.inputs]
        match vertex.operation:
            case ImageSource(reference=name) | LocalSource(name=name):
                made = [sources[name]]
            case FileOperation() as operation:
                made = trees.change_files(operation, inputs)
            case ExecOperation() as operation:
                made = trees.run(operation, inputs)
            case MergeOperation() as operation:
                made = [trees.merge(operation, inputs)]
            case DiffOperation() as operation:
                made = [trees.diff(operation, inputs)]
            case _:
                raise AssertionError
        results |= {Edge(digest, index): dict(tree) for index, tree in enumerate(made)}
    return {} if definition.result is None else results[definition.result]


class Chance:
    """Makes random sources and graphs."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def tree(self) -> Tree:
        count = self.random.randint(0, len(_PATHS))
        return {path: str(self.random.randint(0, 2)) for path in self.random.sample(_PATHS, count)}

    def definition(self) -> Definition:
        graph = GraphBuilder()
        edges = [
            graph.add(ImageSource(reference=name) if name != "context" else LocalSource(name=name)) for name in _SOURCES
        ]
        for _ in range(self.random.randint(1, 12)):
            count = self.random.randint(1, 3)
            inputs = [self.random.choice(edges[-6:]) for _ in range(count)]
            operation = self.operation(count)
            metadata = VertexMetadata(ignore_cache=self.random.random() < 0.05)
            output = self.random.randrange(output_count(operation))
            edges.append(graph.add(operation, inputs, metadata=metadata, output=output))
        return graph.definition(edges[-1])

    def operation(self, inputs: int) -> Operation:
        kind = self.random.randrange(6)
        if kind < 2:
            return self.process(inputs)
        if kind == 2:
            return MergeOperation(tuple(self.index(inputs) for _ in range(self.random.randint(1, 3))))
        if kind == 3:
            return DiffOperation(self.index(inputs), self.index(inputs))
        return self.files(inputs)

    def index(self, count: int) -> int:
        return self.random.randrange(-1, count)

    def process(self, inputs: int) -> ExecOperation:
        mounts = [ExecMount("/", self.index(inputs), output=0)]
        for number in range(self.random.randint(0, 3)):
            index = self.index(inputs)
            selector = self.random.choice(["", "/a", "/d", "/d/e"]) if index != EMPTY else ""
            writes = self.random.random() < 0.4
            outputs = sum(mount.output >= 0 for mount in mounts)
            mounts.append(
                ExecMount(
                    f"/m{number}",
                    index,
                    selector,
                    outputs if writes else -1,
                    read_only=self.random.random() < 0.5,
                )
            )
        return ExecOperation(ProcessMeta((f"p{self.random.randint(0, 2)}",)), tuple(mounts))

    def files(self, inputs: int) -> FileOperation:
        actions = []
        count = self.random.randint(1, 3)
        for number in range(count):
            second = EMPTY
            path = self.random.choice(_PATHS)
            change = self.random.choice(
                [
                    MkfileAction(path=path, data=str(self.random.randint(0, 2)).encode()),
                    MkdirAction(path=path),
                    SymlinkAction(path=path, target="/a"),
                    RemoveAction(path=path, allow_not_found=True),
                ]
            )
            if self.random.random() < 0.6:
                second = self.index(inputs + number)
                wildcard = self.random.random() < 0.3
                source = self.random.choice(["/*", "/d/*"] if wildcard else ["/a", "/d", "/", "/d/e"])
                change = CopyAction(source=source, destination=self.random.choice(["/", "/x"]), allow_wildcard=wildcard)
            output = number if self.random.random() < 0.3 else -1
            actions.append(FileAction(change, self.index(inputs + number), second, output))
        outputs = [index for index, action in enumerate(actions) if action.output >= 0] or [count - 1]
        numbered = {at: number for number, at in enumerate(outputs)}
        return FileOperation(
            tuple(
                FileAction(action.change, action.input, action.second_input, numbered.get(index, -1))
                for index, action in enumerate(actions)
            )
        )


async def _same(solver: Solver, executor: FakeExecutor, definition: Definition) -> None:
    """Solve, and compare with the interpreter."""
    expected = interpret(definition, executor.sources)
    solution: Solution = await solver.solve(definition)
    assert solution.snapshot is not None
    assert executor.trees[solution.snapshot.id] == expected
    solver.release(solution)


async def check(seed: int) -> None:
    """A life of one cache."""
    chance = Chance(seed)
    executor = FakeExecutor({name: chance.tree() for name in _SOURCES})
    storage = MemoryCacheStorage()
    solver = Solver(executor, storage, parallelism=chance.random.randint(1, 3))
    definitions = [chance.definition()]
    for _ in range(6):
        if chance.random.random() < 0.5:
            executor.sources[chance.random.choice(_SOURCES)] = chance.tree()
        if chance.random.random() < 0.3:
            await solver.prune(PrunePolicy(max_used_space=chance.random.randint(1, 3000)))
        if chance.random.random() < 0.5:
            definitions.append(chance.definition())
        chosen = [chance.random.choice(definitions) for _ in range(chance.random.randint(1, 3))]
        if chance.random.random() < 0.3:
            task = asyncio.create_task(solver.solve(chance.random.choice(definitions)))
            for _ in range(chance.random.randint(1, 30)):
                await asyncio.sleep(0)
            task.cancel()
            (result,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(result, Solution):
                solver.release(result)
        await asyncio.gather(*(_same(solver, executor, definition) for definition in chosen))
    assert executor.running == len(solver.executions) == 0
    assert not any(storage.is_leased(record.id) for record in storage.records())
    assert {record.id for record in storage.records()} == set(executor.trees)


@pytest.mark.parametrize("block", range(4))
async def test_same_trees(block: int) -> None:
    for seed in range(block * 50, block * 50 + 50):
        await check(seed)


@pytest.mark.heavy
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("block", range(8))
async def test_same_trees_many_times(block: int) -> None:
    for seed in range(1000 + block * 250, 1000 + block * 250 + 250):
        await check(seed)
