"""File operations and merges through the engine's own executor, against a sequential interpreter on dictionaries.

The interpreter knows neither overlays nor caches: a tree is a list of layers, a layer says what became of each path.
One solver and its cache live through many graphs, with contexts that change between them. What one side refuses, the
other must refuse, too.
"""

from __future__ import annotations

import os
import random
import stat
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec
import pytest
import pytest_asyncio
from tests.support.builds import Builder, local_engine

from darse.build.context import content_digest
from darse.build.executor import BuildSession, KnownContexts
from darse.build.graph import (
    EMPTY,
    CopyAction,
    Definition,
    Edge,
    FileAction,
    FileOperation,
    GraphBuilder,
    LocalSource,
    MergeOperation,
    MkdirAction,
    MkfileAction,
    RemoveAction,
)
from darse.build.solver import SolveError
from darse.linux.fs.contained import ENTER, LEAVE, Walk

pytestmark = pytest.mark.asyncio(loop_scope="module")

_CONTEXTS = ("one", "two")


class Entry(msgspec.Struct, frozen=True):
    """A file (with content), a directory, or a link (with its target)."""

    kind: str
    mode: int = 0o777
    text: str = ""


REMOVED = Entry("removed")
View: TypeAlias = dict[str, Entry]
"""By path, `/a/b`, without the root."""
Layer: TypeAlias = tuple[tuple[str, Entry, bool], ...]
"""Path, what it is, and whether what was below it is gone."""
Layers: TypeAlias = tuple[Layer, ...]


class Refused(Exception):
    """The interpreter's word for what cannot be done."""


def flat(layers: Layers) -> View:
    """What is seen of layers."""
    view: View = {}
    for layer in layers:
        for path, entry, alone in layer:
            there = view.get(path)
            if entry.kind != "dir" or alone or (there is not None and there.kind != "dir"):
                for below in [one for one in view if one.startswith(f"{path}/")]:
                    del view[below]
            if entry is REMOVED:
                view.pop(path, None)
            else:
                view[path] = entry
    return view


class Writer:
    """Changes a tree, and knows what of it is another layer."""

    def __init__(self, base: Layers) -> None:
        self._base = base
        self.view = flat(base)
        self._below = dict(self.view)
        self._touched: set[str] = set()
        self._removed: set[str] = set()

    def layers(self) -> Layers:
        """The tree, with the new layer on top."""
        layer = []
        for path in sorted(self._touched | self._removed):
            entry = self.view.get(path, REMOVED)
            if entry is REMOVED and path not in self._below:
                continue
            layer.append((path, entry, path in self._removed and path in self._below))
        return (*self._base, tuple(layer))

    def _touch(self, path: str) -> None:
        while path:
            self._touched.add(path)
            path = path.rpartition("/")[0]

    def put(self, path: str, entry: Entry) -> None:
        """Make a file, a link or a directory, or change the mode of a directory."""
        self.view[path] = entry
        self._touch(path)

    def remove(self, path: str) -> None:
        """Remove a path with all below it."""
        for one in [one for one in self.view if one == path or one.startswith(f"{path}/")]:
            del self.view[one]
            self._touched.discard(one)
            self._removed.add(one)
        self._touch(path.rpartition("/")[0])

    def is_directory(self, path: str) -> bool:
        """Whether a path, the root included, is a directory."""
        return not path or (path in self.view and self.view[path].kind == "dir")

    def resolved(self, path: str, *, last: bool = True) -> str:
        """A path without links, those at its end too if `last`: what is written to a link is written behind it."""
        found = ""
        parts = path.strip("/").split("/") if path.strip("/") else []
        for number, part in enumerate(parts, 1):
            found = f"{found}/{part}"
            while (last or number < len(parts)) and found in self.view and self.view[found].kind == "link":
                found = f"{found.rpartition('/')[0]}/{self.view[found].text}"
        return found

    def make_directories(self, path: str, mode: int = 0o755) -> None:
        """Make a directory and those above it."""
        path = self.resolved(path)
        if self.is_directory(path):
            return
        self.make_directories(path.rpartition("/")[0], mode)
        if path in self.view:
            raise Refused(f"{path} is no directory")
        self.put(path, Entry("dir", mode))

    def copy(self, action: CopyAction, source: View) -> None:
        """Copy a path, or all that match a pattern of the form `…/*`."""
        if action.source.endswith("*"):
            top = action.source.rpartition("/")[0]
            found = sorted(path for path in source if path.rpartition("/")[0] == top)
            if not found:
                raise Refused("no matches")
        else:
            found = [action.source.rstrip("/")]
            if found[0] and found[0] not in source:
                raise Refused("not found")
        for path in found:
            self._copy(path, action.destination, source)

    def _copy(self, path: str, destination: str, source: View) -> None:
        above, name = destination.rpartition("/")[::2]
        self.make_directories(above)
        place = self.resolved(f"{above}/{name}" if name else above)
        is_directory = not path or source[path].kind == "dir"
        if not is_directory and self.is_directory(place):
            place = f"{place}/{path.rpartition('/')[2]}"
        if not is_directory:
            self._copy_entry(source[path], place)
            return
        if place in self.view and not self.is_directory(place):
            raise Refused("not a directory")
        if place and place not in self.view:
            self.put(place, source[path] if path else Entry("dir", 0o755))
        elif place:
            self._touch(place)
        for one in sorted(source):
            if one.startswith(f"{path}/"):
                self._copy_entry(source[one], place + one[len(path) :])

    def _copy_entry(self, entry: Entry, place: str) -> None:
        there = self.view.get(place)
        if there is not None and (there.kind == "dir") != (entry.kind == "dir"):
            raise Refused("of another kind")
        self.put(place, entry)

    def mkfile(self, action: MkfileAction) -> None:
        """Write a file."""
        path = self.resolved(action.path)
        if self.is_directory(path) or not self.is_directory(path.rpartition("/")[0]):
            raise Refused("no place for a file")
        self.put(path, Entry("file", action.mode, action.data.decode()))

    def mkdir(self, action: MkdirAction) -> None:
        """Make a directory; fine when it is there."""
        if not action.make_parents and self.resolved(action.path).rpartition("/")[0] not in {"", *self.view}:
            raise Refused("not found")
        self.make_directories(action.path, action.mode)

    def remove_path(self, action: RemoveAction) -> None:
        """Remove what may not be there."""
        path = self.resolved(action.path, last=False)
        if path in self.view:
            self.remove(path)
        elif not action.allow_not_found:
            raise Refused("not found")


def interpret(definition: Definition, contexts: dict[str, View]) -> View:
    """Every vertex, in order."""
    results: dict[Edge, Layers] = {}
    for digest, vertex in definition.vertices.items():
        inputs = [results[edge] for edge in vertex.inputs]
        match vertex.operation:
            case LocalSource(name=name):
                entries = tuple((path, entry, False) for path, entry in sorted(contexts[name].items()))
                made = [(entries,)]
            case FileOperation() as operation:
                made = _files(operation, inputs)
            case MergeOperation() as operation:
                layers = [layer for number in operation.inputs if number != EMPTY for layer in inputs[number]]
                made = [tuple(layers)]
            case _:
                raise AssertionError
        results |= {Edge(digest, index): layers for index, layers in enumerate(made)}
    assert definition.result is not None
    return flat(results[definition.result])


def _files(operation: FileOperation, inputs: Sequence[Layers]) -> list[Layers]:
    """A chain of actions, each on the one before, the first on the first input."""
    made = []
    writer = Writer(inputs[0])
    for action in operation.actions:
        match action.change:
            case CopyAction() as change:
                writer.copy(change, flat(inputs[action.second_input]))
            case MkfileAction() as change:
                writer.mkfile(change)
            case MkdirAction() as change:
                writer.mkdir(change)
            case RemoveAction() as change:
                writer.remove_path(change)
        if action.output >= 0:
            made.append(writer.layers())
            writer = Writer(made[-1])
    return made


class Chance:
    """Makes random contexts and graphs."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def context(self) -> View:
        """Some files and directories."""
        view: View = {}
        for directory in ("/d", "/d/e", "/g"):
            above = directory.rpartition("/")[0]
            if self.random.random() < 0.9 and (not above or above in view):
                view[directory] = Entry("dir", self.random.choice((0o755, 0o700)))
        for directory in ("", *[path for path, entry in view.items() if entry.kind == "dir"]):
            for name in ("a", "b", "l"):
                if self.random.random() < (0.9 if name == "a" else 0.4):
                    entry = Entry("link", 0o777, "nowhere") if name == "l" else self.file()
                    view[f"{directory}/{name}"] = entry
        return view

    def file(self) -> Entry:
        """A file."""
        return Entry("file", self.random.choice((0o644, 0o755, 0o600)), str(self.random.randint(0, 2)))

    def definition(self) -> Definition:
        """A graph of some vertices."""
        graph = GraphBuilder()
        edges = [graph.add(LocalSource(name=name)) for name in _CONTEXTS]
        for _ in range(self.random.randint(1, 7)):
            inputs = [self.random.choice(edges[-5:]) for _ in range(2)]
            if self.random.random() < 0.25:
                edges.append(graph.add(MergeOperation((0, 1)), inputs))
                continue
            operation = self.files()
            outputs = sum(action.output >= 0 for action in operation.actions)
            edges += [graph.add(operation, inputs, output=number) for number in range(outputs)]
        return graph.definition(edges[-1])

    def files(self) -> FileOperation:
        """A chain of actions on the first input; copies are from the second."""
        count = self.random.randint(1, 4)
        actions = []
        output = 0
        for number in range(count):
            change = self.change()
            second = 1 if isinstance(change, CopyAction) else EMPTY
            last = number == count - 1
            given = output if last or self.random.random() < 0.2 else -1
            output += given >= 0
            actions.append(FileAction(change, 0 if not number else 1 + number, second, given))
        return FileOperation(tuple(actions))

    def change(self) -> CopyAction | MkfileAction | MkdirAction | RemoveAction:
        """One action."""
        chance, pick = self.random.random(), self.random.choice
        directory = pick(("/d", "/d/e", "/g", "/n", "/n/m"))
        if chance < 0.5:
            source = pick(("/", "/", "/d", "/d/e", "/a", "/g", "/*", "/*", "/d/*", "/l"))
            target = (
                pick(("/", f"{directory}/", f"{directory}/")) if "*" in source else pick(("/", directory, "/f", "/d/"))
            )
            return CopyAction(
                source=source,
                destination=target,
                copy_directory_contents=True,
                create_destination=True,
                allow_wildcard=True,
            )
        if chance < 0.65:
            path = pick(("/a", "/f", "/d/a", f"{directory}/f"))
            return MkfileAction(path=path, data=str(self.random.randint(0, 2)).encode(), mode=pick((0o644, 0o600)))
        if chance < 0.8:
            return MkdirAction(path=directory, mode=pick((0o755, 0o711)), make_parents=self.random.random() < 0.95)
        return RemoveAction(path=pick((directory, "/a", "/d/a", "/b")), allow_not_found=self.random.random() < 0.97)


def write(view: View, directory: Path) -> None:
    """Write a context."""
    directory.mkdir()
    directory.chmod(0o755)
    for path, entry in sorted(view.items()):
        place = directory / path.lstrip("/")
        if entry.kind == "dir":
            place.mkdir()
        elif entry.kind == "link":
            place.symlink_to(entry.text)
            continue
        else:
            place.write_text(entry.text)
        place.chmod(entry.mode)


def read(root: int) -> View:
    """All that is in a tree."""
    view: View = {}
    names: list[str] = []
    for kind, directory, name, status in Walk(root):
        if kind == LEAVE:
            names.pop()
            continue
        path = "".join(f"/{one}" for one in (*names, name))
        if kind == ENTER:
            names.append(name)
            view[path] = Entry("dir", stat.S_IMODE(status.st_mode))
        elif stat.S_ISLNK(status.st_mode):
            view[path] = Entry("link", 0o777, os.readlink(name, dir_fd=directory))
        else:
            file = os.open(name, os.O_RDONLY, dir_fd=directory)
            with open(file, encoding="utf-8") as reading:
                view[path] = Entry("file", stat.S_IMODE(status.st_mode), reading.read())
    return view


class Life:
    """One cache, on the engine's executor."""

    def __init__(self, builder: Builder, directory: Path) -> None:
        self._builder = builder
        self._directory = directory
        self._written = 0
        self.counts: Counter[str] = Counter()

    def _contexts(self, views: dict[str, View]) -> KnownContexts:
        found = {}
        for name, view in views.items():
            self._written += 1
            place = self._directory / str(self._written)
            write(view, place)
            root = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
            try:
                found[name] = (place, content_digest(root))
            finally:
                os.close(root)
        return KnownContexts(found)

    async def check(self, seed: int) -> None:
        """One graph, with two sets of contexts of which one may be as before."""
        chance = Chance(seed)
        definition = chance.definition()
        views = {name: chance.context() for name in _CONTEXTS}
        for _ in range(2):
            await self._check_once(seed, definition, views)
            views = {**views, chance.random.choice(_CONTEXTS): chance.context()}

    async def _check_once(self, seed: int, definition: Definition, views: dict[str, View]) -> None:
        try:
            expected = interpret(definition, views)
        except Refused:
            expected = None
        session = BuildSession(contexts=self._contexts(views))
        executor = self._builder.executor.for_session(session)
        if expected is None:
            with pytest.raises(SolveError):
                await self._builder.solver.solve(definition, executor=executor)
            self.counts["refused by both"] += 1
            return
        solution = await self._builder.solver.solve(definition, executor=executor)
        try:
            assert solution.snapshot is not None
            layers = self._builder.executor.layers_of(solution.snapshot)
            found = await self._builder.executor.trees.read(layers, read)
        finally:
            self._builder.solver.release(solution)
        assert found == expected, f"seed {seed}: {definition}"
        self.counts["same trees"] += 1


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def life(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Life]:
    async with local_engine() as engine:
        yield Life(Builder(engine), engine.config.data_root)


@pytest.mark.timeout(600)
async def test_same_trees(life: Life) -> None:
    for seed in range(60):
        await life.check(seed)
    assert life.counts["same trees"] > life.counts["refused by both"]


@pytest.mark.heavy
@pytest.mark.timeout(7200)
async def test_same_trees_many_times(life: Life, tell: Callable[[str], None]) -> None:
    for seed in range(1000, 3000):
        await life.check(seed)
    tell(f"random trees: {dict(life.counts)}")
