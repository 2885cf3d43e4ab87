"""One data root to be damaged, for all tests of this folder in a process."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from tests.system.recovery.bench import Bench


@pytest.fixture(scope="session")
def _bench() -> Iterator[Bench]:
    bench = Bench()
    try:
        bench.prepare()
        yield bench
    finally:
        bench.restore()
        bench.engine.sweep_host()
        shutil.rmtree(bench.engine.root)


@pytest.fixture
def bench(_bench: Bench) -> Iterator[Bench]:
    """The data root as it was when the engine had stopped in order."""
    _bench.restore()
    yield _bench
    if _bench.engine.process is not None and _bench.engine.process.poll() is None:
        _bench.engine.stop()
