"""An image service that pulls in this process, with little patience, so that tests can look at all of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from darse.core.config import EngineConfig
from darse.core.errors import EngineError
from darse.core.events import EventLog
from darse.core.state import State
from darse.distribution import Credentials, Limits
from darse.engine.engine import SCHEMAS
from darse.images import ImageService, references
from darse.images.transfer.service import RegistryService
from darse.recovery.startup import Recovery

# Little, and enough for a registry of the test on a machine that is busy with others.
LIMITS = Limits(connect=10, silence=2, document=3, least_rate=1000, rate_period=1, pause=0.01, longest_pause=0.5)
SECONDS = 60


class Puller:
    """The service, and what it leaves on the disk."""

    def __init__(self, root: Path, limits: Limits = LIMITS, **settings: Any) -> None:
        """`settings` are the engine's."""
        self.state = State(root / "state.sqlite", SCHEMAS)
        events = EventLog(self.state)
        self.images = ImageService(root, self.state, events)
        self.images.open([], Recovery(root, self.state))
        self.service = RegistryService(
            EngineConfig(**{"max_download_attempts": 3, **settings}), self.images, events, limits
        )
        self._root = root / "images"

    def messages(self, name: str) -> AsyncIterator[Any]:
        """Begin to pull."""
        return self.service.pull(references.parse(name))

    async def pull(self, name: str, *, credentials: Credentials | None = None, every_tag: bool = False) -> list[Any]:
        """Pull, and return what was said."""
        messages = self.service.pull(references.parse(name), credentials=credentials, every_tag=every_tag)
        async with asyncio.timeout(SECONDS):
            return [message async for message in messages]

    async def refused(self, name: str, **options: Any) -> str:
        """Pull what fails; what the error says, once nothing is left of it but partial downloads."""
        with pytest.raises(EngineError) as caught:
            await self.pull(name, **options)
        await self.service.close()
        assert list(self.images.store) == []
        assert self.images.layers.sizes() == {}
        for directory in ("blobs/sha256", "layers", "ingest"):
            assert os.listdir(self._root / directory) == [], (
                directory,
                os.listdir(self._root / directory),
                str(caught.value),
            )
        return str(caught.value)

    async def partials(self) -> list[str]:
        """The partial downloads that are left when nothing is at work any more."""
        await self.service.close()
        return sorted(self.images.content.partials.sizes())

    async def close(self) -> None:
        """End everything."""
        await self.service.close()
        self.state.close()
