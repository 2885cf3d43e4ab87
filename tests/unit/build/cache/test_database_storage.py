"""Storage in the engine's database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from darse.build.cache import SCHEMA, DatabaseCacheStorage
from darse.build.solver import CacheRecord, CacheStorage, Solver
from darse.core.state import State
from tests.unit.build.solver.cache_storage_suite import StorageSuite
from tests.unit.build.solver.fake import FakeExecutor
from tests.unit.build.solver.test_solver import chain


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    state = State(tmp_path / "state.db", [SCHEMA])
    yield state
    state.close()


class TestDatabase(StorageSuite):
    """In tables."""

    @pytest.fixture
    def storage(self, state: State) -> CacheStorage:
        return DatabaseCacheStorage(state)


async def test_the_next_engine_finds_what_this_one_has_made(tmp_path: Path) -> None:
    executor = FakeExecutor({"image": {"/bin": "1"}, "context": {"/a": "1"}})
    for executed in (["fetch context", "fetch image", "files", "one"], []):
        state = State(tmp_path / "state.db", [SCHEMA])
        solver = Solver(executor, DatabaseCacheStorage(state))
        executor.done.clear()
        solver.release(await solver.solve(chain("one")))
        assert sorted(set(executor.done) - {"digest"}) == executed
        state.close()


def test_links_go_with_the_last_result_of_their_key(state: State) -> None:
    storage = DatabaseCacheStorage(state)
    storage.set_link("by definition", "key")
    storage.add("key", CacheRecord("a"))
    storage.add("key", CacheRecord("b"))
    assert storage.remove("a")
    assert storage.link("by definition") == "key"
    assert storage.remove("b")
    assert storage.link("by definition") is None


def test_only_so_many_operations_are_remembered(state: State) -> None:
    storage = DatabaseCacheStorage(state, most_operations=2)
    for name in ("a", "b", "a", "c"):
        storage.set_last_inputs(name, [name])
    assert [storage.last_inputs(name) for name in ("a", "b", "c")] == [["a"], None, ["c"]]


def test_a_damaged_record_is_passed_over(state: State) -> None:
    storage = DatabaseCacheStorage(state)
    storage.add("key", CacheRecord("good"))
    storage.add("key", CacheRecord("bad"))
    with state.transaction() as connection:
        connection.execute("UPDATE build_records SET document = 'x' WHERE id = 'bad'")
    found = storage.result("key")
    assert found is not None
    assert found.id == "good"
    assert [record.id for record in storage.records()] == ["good"]


def test_what_a_newer_engine_has_recorded_is_passed_over_and_kept(
    state: State, caplog: pytest.LogCaptureFixture
) -> None:
    storage = DatabaseCacheStorage(state)
    storage.add("key", CacheRecord("old"))
    storage.add("key", CacheRecord("new"))
    storage.set_last_inputs("operation", ["a"])
    newer = b'{"document_version": 2, "id": "new"}'
    with state.transaction() as connection:
        connection.execute("UPDATE build_records SET document = ? WHERE id = 'new'", (newer,))
        connection.execute("UPDATE build_inputs SET inputs = ?", (newer,))
    assert [record.id for record in storage.records()] == ["old"]
    assert storage.last_inputs("operation") is None
    storage.use("new", 5.0)
    assert state.rows("SELECT document FROM build_records WHERE id = 'new'") == [(newer,)]
    assert [record.getMessage().count("written by a newer darse") for record in caplog.records] == [1, 1]
    storage.set_last_inputs("operation", ["b"])
    assert storage.last_inputs("operation") == ["b"]


def test_a_record_of_an_engine_without_versions_is_read(state: State) -> None:
    storage = DatabaseCacheStorage(state)
    storage.add("key", CacheRecord("a"))
    with state.transaction() as connection:
        connection.execute("UPDATE build_records SET document = ?", (msgspec.json.encode(CacheRecord("a", size=3)),))
    found = storage.record("a")
    assert found is not None
    assert found.size == 3
    storage.use("a", 5.0)
    (document,) = state.row("SELECT document FROM build_records") or ()
    assert msgspec.json.decode(document)["document_version"] == 1
