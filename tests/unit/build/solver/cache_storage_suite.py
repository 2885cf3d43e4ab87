"""What every storage of the cache must show. A test module of an implementation imports it and gives `storage`."""

from __future__ import annotations

import pytest

from darse.build.solver import CacheRecord, CacheStorage, RecordKind


class StorageSuite:
    """Inherit, with a fixture `storage`."""

    @pytest.fixture
    def storage(self) -> CacheStorage:
        raise NotImplementedError

    def test_results_are_found_by_their_keys(self, storage: CacheStorage) -> None:
        assert storage.result("k") is None
        record = CacheRecord("a", RecordKind.LOCAL, "what", 5, 1.0, 1.0, 0, ("p",))
        storage.add("k", record)
        storage.add("l", record)
        assert (storage.result("k"), storage.result("l"), storage.record("a")) == (record, record, record)
        assert list(storage.records()) == [record]

    def test_the_newest_result_of_a_key_counts(self, storage: CacheStorage) -> None:
        for name in ("a", "b", "a"):
            storage.add("k", CacheRecord(name))
        found = storage.result("k")
        assert found is not None
        assert found.id == "a"
        assert storage.remove("a")
        found = storage.result("k")
        assert found is not None
        assert found.id == "b"

    def test_a_record_takes_its_results_with_it(self, storage: CacheStorage) -> None:
        storage.add("k", CacheRecord("a"))
        storage.add("l", CacheRecord("a"))
        assert storage.remove("a")
        assert (storage.result("k"), storage.result("l"), list(storage.records())) == (None, None, [])
        assert not storage.remove("a")

    def test_a_leased_record_stays(self, storage: CacheStorage) -> None:
        storage.add("k", CacheRecord("a"))
        storage.lease("a")
        storage.lease("a")
        storage.release("a")
        assert storage.is_leased("a")
        assert not storage.remove("a")
        storage.release("a")
        assert not storage.is_leased("a")
        assert storage.remove("a")

    def test_uses_are_counted(self, storage: CacheStorage) -> None:
        storage.add("k", CacheRecord("a", last_used=1))
        storage.use("a", 5)
        storage.use("b", 5)
        found = storage.record("a")
        assert found is not None
        assert (found.uses, found.last_used) == (1, 5)

    def test_links_and_inputs(self, storage: CacheStorage) -> None:
        assert (storage.link("k"), storage.last_inputs("o")) == (None, None)
        storage.set_link("k", "l")
        storage.set_link("k", "m")
        storage.set_last_inputs("o", ["1", "2"])
        assert storage.link("k") == "m"
        assert list(storage.last_inputs("o") or ()) == ["1", "2"]
