"""Snapshots that are no container's: prepared, committed, removed, and what is left when an engine ends too early."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from darse.core.errors import InvalidParameter, NotFound
from darse.core.state import State
from darse.engine.engine import SCHEMAS
from darse.images.content.store import ContentStore
from darse.images.layers.store import LayerStore
from darse.images.snapshots.snapshotter import CommittedSnapshot, Snapshotter


class _Store:
    """A snapshotter on a database of its own; `reopen` is the next engine's start."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.content = ContentStore(root / "images")
        self.content.open()
        self.state = State(root / "state.sqlite", SCHEMAS)
        self.reopen()

    def reopen(self) -> None:
        self.layers = LayerStore(self._root / "images", self.state, self.content)
        self.layers.open()
        self.snapshotter = Snapshotter(self._root, self.state, self.layers, self.content.trash)
        self.snapshotter.open()

    async def commit(self, *parents: str, file: str = "file") -> CommittedSnapshot:
        """A snapshot on layers, with a file."""
        active = self.snapshotter.prepare(parents)
        (active.upper / file).write_text("content")
        return await self.snapshotter.commit(active)

    def on_disk(self) -> list[str]:
        """The layers that are there."""
        return sorted(path.name for path in (self._root / "snapshots-committed").iterdir())

    def active(self) -> list[Path]:
        """What is being written."""
        return list((self._root / "snapshots-active").iterdir())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[_Store]:
    store = _Store(tmp_path)
    yield store
    store.state.close()


async def test_a_snapshot_has_its_parents_layers_and_its_own(store: _Store) -> None:
    first = await store.commit()
    second = await store.commit(*first.layers, file="other")
    assert second.layers == (first.id, second.id)
    assert store.snapshotter.layers_of(second.id) == second.layers
    assert [Path(one, "file").exists() for one in store.snapshotter.lower(second.layers)] == [False, True]
    assert second.size == len("content")
    assert store.active() == []


async def test_a_layer_stays_as_long_as_a_snapshot_has_it(store: _Store) -> None:
    first = await store.commit()
    second = await store.commit(*first.layers)
    await store.snapshotter.remove([first.id])
    assert not store.snapshotter.exists(first.id)
    assert store.on_disk() == sorted(second.layers)
    await store.snapshotter.remove([second.id])
    assert store.on_disk() == []
    with pytest.raises(NotFound):
        store.snapshotter.layers_of(second.id)


async def test_a_view_has_nothing_of_its_own(store: _Store) -> None:
    first = await store.commit()
    view = store.snapshotter.view(first.layers)
    await store.snapshotter.remove([first.id])
    assert store.snapshotter.layers_of(view.id) == first.layers
    with pytest.raises(NotFound, match="no such layer: missing"):
        store.snapshotter.view(["missing"])
    with pytest.raises(NotFound, match="no such layer: sha256:00"):
        store.snapshotter.view(["sha256:00"])


async def test_what_was_discarded_is_gone(store: _Store) -> None:
    active = store.snapshotter.prepare(())
    await store.snapshotter.discard(active)
    await store.snapshotter.discard(active)
    assert store.active() == []


async def test_the_next_engine_keeps_what_was_committed_and_removes_the_rest(store: _Store) -> None:
    kept = await store.commit()
    store.snapshotter.prepare(())
    (store.snapshotter.path("stray")).mkdir(parents=True)
    store.reopen()
    assert store.snapshotter.layers_of(kept.id) == (kept.id,)
    assert store.on_disk() == [kept.id]
    assert store.active() == []


async def test_snapshots_on_a_layer_that_is_lost_are_lost(store: _Store) -> None:
    lost = await store.commit()
    above = await store.commit(*lost.layers)
    other = await store.commit()
    store.snapshotter.path(lost.id).parent.rename(store.content.temporary())
    store.reopen()
    assert [store.snapshotter.exists(one.id) for one in (lost, above, other)] == [False, False, True]
    assert store.on_disk() == [other.id]


async def test_layers_that_a_boot_before_has_not_synced_are_not_trusted(store: _Store) -> None:
    doubtful = await store.commit()
    with store.state.transaction() as connection:
        connection.execute("UPDATE snapshot_layers SET unflushed_boot = 'another boot'")
    synced = await store.commit()
    await store.snapshotter.close()
    store.reopen()
    assert [store.snapshotter.exists(one.id) for one in (doubtful, synced)] == [False, True]


async def test_a_stack_that_no_overlay_can_have_is_refused(store: _Store) -> None:
    """mount(2) says EINVAL of 501 lower directories, and nobody knows why."""
    stack = ["x"] * 498
    await store.snapshotter.discard(store.snapshotter.prepare(stack))
    with pytest.raises(InvalidParameter, match="max depth exceeded: an image has at most 499 layers"):
        store.snapshotter.prepare([*stack, "x"])
    assert store.active() == []
