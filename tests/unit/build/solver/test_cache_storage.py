"""Storage in memory."""

from __future__ import annotations

import pytest

from darse.build.solver import CacheStorage, MemoryCacheStorage
from tests.unit.build.solver.cache_storage_suite import StorageSuite


class TestMemory(StorageSuite):
    """In memory."""

    @pytest.fixture
    def storage(self) -> CacheStorage:
        return MemoryCacheStorage()
