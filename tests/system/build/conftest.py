"""An engine for each module, a registry beside it, and an engine in the test's own process with a builder on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from tests.support.builds import Builder, local_engine
from tests.support.engine import Engine
from tests.support.registry import Registry


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def builder() -> AsyncIterator[Builder]:
    """Builds on an engine of the module's own; at the end nothing is left of it on the host."""
    async with local_engine() as engine:
        yield Builder(engine)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """An engine whose build cache no other module's tests have filled."""
    found = Engine.start()
    yield found
    found.close()


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    """A registry without any repository."""
    with Registry() as started:
        yield started
