"""An engine in the test's own process, and a builder on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from tests.support.builds import Builder, local_engine


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def builder() -> AsyncIterator[Builder]:
    """Builds on an engine of the module's own; at the end nothing is left of it on the host."""
    async with local_engine() as engine:
        yield Builder(engine)
