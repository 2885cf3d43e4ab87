"""An engine for the tests of a module, and a project of compose on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.compose import Shop
from tests.support.engine import BUSYBOX, Engine


@pytest.fixture(scope="module")
def one_engine() -> Iterator[Engine]:
    engine = Engine.start()
    engine.docker("pull", BUSYBOX).ok()
    yield engine
    engine.close()


@pytest.fixture
def shop(one_engine: Engine, tmp_path: Path) -> Iterator[Shop]:
    yield Shop(one_engine, tmp_path)
    one_engine.remove_all()
