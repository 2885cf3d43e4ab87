"""What is executed, what is not, and why; sharing, failing, cancelling."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from darse.build.graph import (
    CacheMount,
    CacheSharing,
    CopyAction,
    Definition,
    Edge,
    ExecMount,
    ExecOperation,
    FileAction,
    FileOperation,
    GraphBuilder,
    ImageSource,
    LocalSource,
    MergeOperation,
    MountKind,
    ProcessMeta,
    VertexMetadata,
)
from darse.build.graph.operations import ProxySettings
from darse.build.solver import (
    MemoryCacheStorage,
    OutcomeKind,
    PrunePolicy,
    Solution,
    SolveError,
    Solver,
    VertexCompleted,
    VertexLog,
    VertexStarted,
)
from tests.unit.build.solver.fake import FakeExecutor

_IMAGE = ImageSource(reference="image")
_CONTEXT = LocalSource(name="context")


class Bench:
    """A solver with an executor in memory."""

    def __init__(self, parallelism: int = 4) -> None:
        self.executor = FakeExecutor({"image": {"/bin": "1"}, "context": {"/a": "1", "/b": "1"}})
        self.storage = MemoryCacheStorage()
        self.solver = Solver(self.executor, self.storage, parallelism=parallelism, clock=lambda: self.now)
        self.now = 0.0
        self.events: list[Any] = []

    async def solve(self, definition: Definition) -> Solution:
        self.now += 1
        self.executor.done.clear()
        solution = await self.solver.solve(definition, self.events.append)
        self.solver.release(solution)
        return solution

    async def executed(self, definition: Definition) -> dict[str, int]:
        """What a build executes."""
        await self.solve(definition)
        return {name: count for name, count in sorted(self.executor.done.items()) if name != "digest"}

    def idle(self) -> None:
        """Nothing runs, nothing is leased."""
        assert self.executor.running == 0
        assert len(self.solver.executions) == 0
        assert not any(self.storage.is_leased(record.id) for record in self.storage.records())
        assert {record.id for record in self.storage.records()} == set(self.executor.trees)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Checked for what is left behind."""
    bench = Bench()
    yield bench
    bench.idle()


def run(*arguments: str, **fields: Any) -> ExecOperation:
    return ExecOperation(ProcessMeta(arguments, **fields), (ExecMount("/", 0, output=0),))


def copy(source: str, destination: str = "/c", **fields: Any) -> FileOperation:
    return FileOperation((FileAction(CopyAction(source=source, destination=destination, **fields), 0, 1, 0),))


def chain(*names: str, ignored: frozenset[str] = frozenset(), **fields: Any) -> Definition:
    """An image, a copy of the context's /a, and processes."""
    graph = GraphBuilder()
    base, context = graph.add(_IMAGE), graph.add(_CONTEXT)
    edge = graph.add(copy("/a"), [base, context], metadata=VertexMetadata("copy", ignore_cache="copy" in ignored))
    for name in names:
        edge = graph.add(run(name, **fields), [edge], metadata=VertexMetadata(name, ignore_cache=name in ignored))
    return graph.definition(edge)


def outcomes(definition: Definition, solution: Solution) -> dict[str, tuple[str, str]]:
    """By the name of the vertex: how it came to its result, and why."""
    return {
        definition.metadata[digest].name: (outcome.kind.value, outcome.reason)
        for digest, outcome in solution.outcomes.items()
        if digest in definition.metadata
    }


async def test_a_second_build_executes_nothing_and_looks_at_no_content(bench: Bench) -> None:
    assert await bench.executed(chain("one", "two")) == {
        "fetch context": 1, "fetch image": 1, "files": 1, "one": 1, "two": 1,
    }  # fmt: skip
    assert await bench.executed(chain("one", "two")) == {}
    assert bench.executor.done["digest"] == 0


async def test_what_comes_after_a_change_is_executed(bench: Bench) -> None:
    await bench.solve(chain("one", "two"))
    assert await bench.executed(chain("one", "other", "three")) == {"other": 1, "three": 1}


async def test_only_the_content_that_is_copied_counts(bench: Bench) -> None:
    await bench.solve(chain("one"))
    bench.executor.sources["context"] = {"/a": "1", "/b": "2"}
    definition = chain("one")
    solution = await bench.solve(definition)
    assert bench.executor.done["one"] == bench.executor.done["files"] == 0
    assert outcomes(definition, solution) == {"one": ("cached", "")}
    bench.executor.sources["context"] = {"/a": "2", "/b": "2"}
    solution = await bench.solve(definition)
    assert outcomes(definition, solution) == {
        "copy": ("executed", "an input changed"),
        "one": ("executed", "an input changed"),
    }
    vertex = next(digest for digest, entry in definition.metadata.items() if entry.name == "copy")
    assert solution.outcomes[vertex].changed_inputs == (1,)


async def test_an_image_by_another_name_is_the_same(bench: Bench) -> None:
    await bench.solve(chain("one"))
    bench.executor.sources["again"] = bench.executor.sources["image"]
    graph = GraphBuilder()
    edge = graph.add(copy("/a"), [graph.add(ImageSource(reference="again")), graph.add(_CONTEXT)])
    assert await bench.executed(graph.definition(graph.add(run("one"), [edge]))) == {}


@pytest.mark.parametrize(
    ("fields", "hit"),
    [
        ({"proxy": ProxySettings(http="p")}, True),
        ({"extra_hosts": (("h", "2.2.2.2"),)}, False),
        ({"environment": ("A=1",)}, False),
        ({"directory": "/x"}, False),
        ({"user": "u"}, False),
        ({}, True),
    ],
)
async def test_what_is_part_of_the_key(bench: Bench, fields: dict[str, Any], hit: bool) -> None:
    await bench.solve(chain("one"))
    assert (await bench.executed(chain("one", **fields)) == {}) is hit


async def test_addresses_of_hosts_are_no_part_of_the_key(bench: Bench) -> None:
    await bench.solve(chain("one", extra_hosts=(("h", "1.1.1.1"),)))
    assert await bench.executed(chain("one", extra_hosts=(("h", "2.2.2.2"),))) == {}


async def test_the_platform_is_part_of_the_key(bench: Bench) -> None:
    def definition(platform: str) -> Definition:
        graph = GraphBuilder()
        return graph.definition(graph.add(run("one"), [graph.add(_IMAGE)], platform=platform))

    await bench.solve(definition("linux/amd64"))
    assert await bench.executed(definition("linux/arm64")) == {"one": 1}


async def test_ignoring_the_cache_executes_what_depends_on_it_but_not_for_the_same_content(bench: Bench) -> None:
    def definition(*ignored: str) -> Definition:
        graph = GraphBuilder()
        made = graph.add(run("make"), [graph.add(_IMAGE)], metadata=VertexMetadata("make", "make" in ignored))
        after = graph.add(run("after"), [made], metadata=VertexMetadata("after"))
        copied = graph.add(
            copy("/ran"), [graph.add(ImageSource(reference="other")), made], metadata=VertexMetadata("copy")
        )
        end = graph.add(run("end"), [copied], metadata=VertexMetadata("end"))
        return graph.definition(graph.add(MergeOperation((0, 1)), [after, end], metadata=VertexMetadata("merge")))

    bench.executor.sources["other"] = {}
    await bench.solve(definition())
    again = definition("make")
    solution = await bench.solve(again)
    assert outcomes(again, solution) == {
        "make": ("executed", "the cache is not used for it"),
        "after": ("executed", "an input was made anew"),
        "merge": ("executed", "an input was made anew"),
        "end": ("cached", ""),
    }
    assert await bench.executed(definition()) == {}


async def test_no_cache_at_all_makes_what_the_next_build_uses(bench: Bench) -> None:
    every = frozenset({"copy", "one", "two"})
    await bench.solve(chain("one", "two"))
    assert await bench.executed(chain("one", "two", ignored=every)) == {"files": 1, "one": 1, "two": 1}
    assert await bench.executed(chain("one", "two")) == {}
    assert len([record for record in bench.storage.records() if record.description == "one"]) == 2


async def test_a_result_that_is_lost_is_made_again(bench: Bench) -> None:
    definition = chain("one", "two")
    await bench.solve(definition)
    (record,) = (record for record in bench.storage.records() if record.description == "two")
    assert bench.storage.remove(record.id)
    await bench.executor.remove(record.id)
    solution = await bench.solve(definition)
    assert outcomes(definition, solution) == {"one": ("cached", ""), "two": ("executed", "its result is not there")}


async def test_a_result_is_found_though_what_it_was_made_from_is_gone(bench: Bench) -> None:
    definition = chain("one", "two")
    await bench.solve(definition)
    for record in bench.storage.records():
        if record.description != "two":
            assert bench.storage.remove(record.id)
            await bench.executor.remove(record.id)
    assert await bench.executed(definition) == {}


async def test_a_snapshot_that_is_missing_on_the_disk_is_made_again(bench: Bench) -> None:
    await bench.solve(chain("one"))
    (record,) = (record for record in bench.storage.records() if record.description == "one")
    del bench.executor.trees[record.id]
    assert await bench.executed(chain("one")) == {"one": 1}
    bench.storage.remove(record.id)


async def test_what_two_builds_need_is_executed_once(bench: Bench) -> None:
    bench.executor.gates["one"] = asyncio.Event()
    first = asyncio.create_task(bench.solver.solve(chain("one", "left")))
    await bench.executor.has_started("one")
    second = asyncio.create_task(bench.solver.solve(chain("one", "right")))
    await _settled()
    bench.executor.gates["one"].set()
    solutions = await asyncio.gather(first, second)
    assert bench.executor.done["one"] == 1
    kinds = [outcome.kind for outcome in solutions[1].outcomes.values()]
    assert OutcomeKind.SHARED in kinds
    for solution in solutions:
        bench.solver.release(solution)


async def _settled() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_what_one_build_does_not_need_any_longer_goes_on_for_the_other(bench: Bench) -> None:
    bench.executor.gates["one"] = asyncio.Event()
    first = asyncio.create_task(bench.solver.solve(chain("one")))
    await bench.executor.has_started("one")
    second = asyncio.create_task(bench.solver.solve(chain("one")))
    await _settled()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert bench.executor.running == 1
    bench.executor.gates["one"].set()
    bench.solver.release(await second)
    assert (bench.executor.done["one"], bench.executor.cancelled) == (1, [])


async def test_a_cancelled_build_leaves_nothing(bench: Bench) -> None:
    bench.executor.gates |= {"one": asyncio.Event(), "two": asyncio.Event()}
    graph = GraphBuilder()
    base = graph.add(_IMAGE)
    both = graph.add(MergeOperation((0, 1)), [graph.add(run("one"), [base]), graph.add(run("two"), [base])])
    task = asyncio.create_task(bench.solver.solve(graph.definition(both)))
    await bench.executor.has_started("one")
    await bench.executor.has_started("two")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(bench.executor.cancelled) == ["one", "two"]
    bench.idle()


@pytest.mark.parametrize("steps", range(1, 40, 3))
async def test_cancelled_at_any_moment(bench: Bench, steps: int) -> None:
    task = asyncio.create_task(bench.solver.solve(chain("one", "two", "three")))
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    (result,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(result, Solution):
        bench.solver.release(result)
    bench.idle()
    bench.solver.release(await bench.solver.solve(chain("one", "two", "three")))


async def test_a_failure_ends_the_build_and_says_where(bench: Bench) -> None:
    bench.executor.gates["slow"] = asyncio.Event()
    graph = GraphBuilder()
    base = graph.add(_IMAGE)
    fails = graph.add(run("fail", "now"), [base], metadata=VertexMetadata("[2/3] RUN fail", lines=((3, 4),)))
    slow = graph.add(run("slow"), [base])
    definition = graph.definition(graph.add(MergeOperation((0, 1)), [slow, fails]))
    with pytest.raises(SolveError, match='process "fail now" did not complete successfully: exit code: 1') as raised:
        await bench.solve(definition)
    assert (raised.value.name, raised.value.lines, raised.value.vertex) == ("[2/3] RUN fail", ((3, 4),), fails.vertex)
    errors = [event for event in bench.events if isinstance(event, VertexCompleted) and event.error]
    assert [event.name for event in errors] == ["[2/3] RUN fail"]


async def test_a_source_that_is_not_there(bench: Bench) -> None:
    graph = GraphBuilder()
    image = graph.add(ImageSource(reference="none"), metadata=VertexMetadata("FROM none"))
    with pytest.raises(SolveError, match="none: not found") as raised:
        await bench.solve(graph.definition(graph.add(run("one"), [image])))
    assert raised.value.name == "FROM none"


async def test_what_the_client_has_not_allowed_is_not_taken_from_the_cache(bench: Bench) -> None:
    await bench.solve(chain("allowed"))
    bench.executor.forbidden.add("allowed")
    with pytest.raises(SolveError, match="not allowed"):
        await bench.solve(chain("allowed"))


async def test_a_failure_fails_every_build_that_waits_for_it(bench: Bench) -> None:
    bench.executor.gates["fail"] = asyncio.Event()
    tasks = [asyncio.create_task(bench.solver.solve(chain("fail"))) for _ in range(2)]
    await bench.executor.has_started("fail")
    await _settled()
    bench.executor.gates["fail"].set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [SolveError, SolveError]


async def test_no_more_at_a_time_than_allowed() -> None:
    for parallelism in (1, 3):
        bench = Bench(parallelism)
        graph = GraphBuilder()
        base = graph.add(_IMAGE)
        ends = [graph.add(run(f"process {number}"), [base]) for number in range(10)]
        await bench.solve(graph.definition(graph.add(MergeOperation(tuple(range(10))), ends)))
        assert bench.executor.most_running == parallelism
        bench.idle()


def stages(*names: str) -> Definition:
    """Files of several stages, copied one after the other."""
    graph = GraphBuilder()
    base = edge = graph.add(_IMAGE)
    for name in names:
        stage = graph.add(run(name), [base], metadata=VertexMetadata(name))
        edge = graph.add(copy("/out", f"/{name}"), [edge, stage], metadata=VertexMetadata(f"copy {name}"))
    return graph.definition(edge)


async def test_stages_whose_files_are_copied_run_beside_each_other(bench: Bench) -> None:
    names = ("one", "two", "three", "four")
    bench.executor.gates.update((name, asyncio.Event()) for name in names)
    build = asyncio.create_task(bench.solve(stages(*names)))
    for name in names:
        await bench.executor.has_started(name)
    for name in reversed(names):
        bench.executor.gates[name].set()
        await _settled()
    await build
    assert all(bench.executor.done[name] == 1 for name in names)


async def test_a_stage_is_not_begun_early_as_long_as_all_may_be_cached(bench: Bench) -> None:
    definition = stages("one", "two")
    await bench.solve(definition)
    for record in list(bench.storage.records()):
        if record.description in ("one", "two"):
            await bench.solver.remove(record.id)
    assert await bench.executed(definition) == {}


async def test_the_error_of_a_stage_that_was_begun_early_is_the_builds(bench: Bench) -> None:
    with pytest.raises(SolveError) as caught:
        await bench.solve(stages("one", "fail"))
    assert caught.value.name == "fail"


async def test_what_nothing_needs_is_not_executed(bench: Bench) -> None:
    graph = GraphBuilder()
    base = graph.add(_IMAGE)
    graph.add(run("unused"), [base])
    assert await bench.executed(graph.definition(graph.add(run("used"), [base]))) == {"fetch image": 1, "used": 1}


async def test_the_empty_tree(bench: Bench) -> None:
    assert (await bench.solve(GraphBuilder().definition(None))).snapshot is None


async def test_one_of_several_outputs(bench: Bench) -> None:
    graph = GraphBuilder()
    base = graph.add(_IMAGE)
    both = ExecOperation(ProcessMeta(("both",)), (ExecMount("/", 0, output=1), ExecMount("/m", 0, output=0)))
    for output in (0, 1):
        edge = graph.add(both, [base], output=output)
        solution = await bench.solver.solve(graph.definition(edge))
        assert solution.snapshot is not None
        assert "/ran" in bench.executor.trees[solution.snapshot.id]
        bench.solver.release(solution)
    assert bench.executor.done["both"] == 1
    first, second = Edge(both_vertex(graph, both, base), 0), Edge(both_vertex(graph, both, base), 1)
    assert await bench.executed(graph.definition(graph.add(MergeOperation((0, 1)), [first, second]))) == {"merge": 1}


def both_vertex(graph: GraphBuilder, operation: ExecOperation, base: Edge) -> str:
    return graph.add(operation, [base]).vertex


async def test_progress(bench: Bench) -> None:
    await bench.solve(chain("one"))
    started = [event.name for event in bench.events if isinstance(event, VertexStarted)]
    assert started[-2:] == ["copy", "one"]
    assert [event.data for event in bench.events if isinstance(event, VertexLog)] == [b"running\n"]
    bench.events.clear()
    await bench.solve(chain("one"))
    assert [(event.name, event.cached) for event in bench.events] == [("one", True)]


async def test_cache_mounts_are_given_by_their_position(bench: Bench) -> None:
    cache = ExecMount("/c", kind=MountKind.CACHE, cache=CacheMount("x", CacheSharing.LOCKED))
    graph = GraphBuilder()
    base = graph.add(_IMAGE)
    runs = [
        graph.add(ExecOperation(ProcessMeta((name,)), (ExecMount("/", 0, output=0), cache)), [base])
        for name in ("one", "two", "three")
    ]
    await bench.solve(graph.definition(graph.add(MergeOperation((0, 1, 2)), runs)))
    assert bench.executor.directories == [{1: "x"}] * 3


async def test_the_id_of_a_cache_is_no_part_of_the_key(bench: Bench) -> None:
    def definition(name: str) -> Definition:
        cache = ExecMount("/c", kind=MountKind.CACHE, cache=CacheMount(name))
        graph = GraphBuilder()
        base = graph.add(_IMAGE)
        return graph.definition(
            graph.add(ExecOperation(ProcessMeta(("one",)), (ExecMount("/", 0, output=0), cache)), [base])
        )

    await bench.solve(definition("x"))
    assert await bench.executed(definition("y")) == {}


async def test_nothing_that_is_used_is_pruned(bench: Bench) -> None:
    bench.executor.gates["two"] = asyncio.Event()
    task = asyncio.create_task(bench.solver.solve(chain("one", "two")))
    await bench.executor.has_started("two")
    assert [record.description for record in await bench.solver.prune(PrunePolicy())] == []
    bench.executor.gates["two"].set()
    solution = await task
    kept = {solution.snapshot.id} if solution.snapshot is not None else set()
    await bench.solver.prune(PrunePolicy())
    assert kept <= set(bench.executor.trees)
    bench.solver.release(solution)
    await bench.solver.prune(PrunePolicy())
    assert bench.executor.trees == {}
    assert await bench.executed(chain("one")) == {"fetch context": 1, "fetch image": 1, "files": 1, "one": 1}


async def test_a_chain_of_two_thousand_vertices(bench: Bench) -> None:
    definition = chain(*(f"step {number}" for number in range(2000)))
    assert sum((await bench.executed(definition)).values()) == 2003
    assert await bench.executed(definition) == {}


async def test_the_end_of_a_build_with_very_many_steps_keeps_nobody_waiting() -> None:
    executor = FakeExecutor({"image": {}, "context": {"/a": "1"}})
    executor.gates["p0"] = asyncio.Event()
    executor.started["p0"] = asyncio.Event()
    definition = chain(*(f"p{number}" for number in range(1500)))
    solver = Solver(executor, MemoryCacheStorage())
    task = asyncio.create_task(solver.solve(definition))
    await executor.started["p0"].wait()
    task.cancel()
    turns = 0
    while not task.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 1500 * 2 / 500  # each turn of the loop ends some of its tasks
    assert task.cancelled()
    assert executor.running == len(solver.executions) == 0
