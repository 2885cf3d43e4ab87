"""An image service that pulls in this process, with little patience, so that tests can look at all of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from darse.api.progress import pull_messages
from darse.core.config import EngineConfig
from darse.core.errors import EngineError
from darse.core.events import EventLog
from darse.core.state import State
from darse.distribution import Credentials, Limits
from darse.engine.engine import SCHEMAS
from darse.images import ImageService, references
from darse.images.progress import TransferEvent
from darse.images.transfer.pull import PullOptions
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
        """Begin to pull; docker's messages of it."""
        return pull_messages(lambda report: self.service.puller.pull_image(references.parse(name), report=report))

    async def pull(
        self, name: str, *, credentials: Credentials | None = None, all_tags: bool = False
    ) -> list[TransferEvent]:
        """Pull, and return the events."""
        events: list[TransferEvent] = []
        puller, options = self.service.puller, PullOptions(credentials=credentials)
        async with asyncio.timeout(SECONDS):
            if all_tags:
                await puller.pull_all_tags(references.parse(name), options, events.append)
            else:
                await puller.pull_image(references.parse(name), options, events.append)
        return events

    async def refused(self, name: str, **options: Any) -> str:
        """Pull what fails; what the error says, once nothing is left of it but partial downloads."""
        with pytest.raises(EngineError) as caught:
            await self.pull(name, **options)
        await self.service.close()
        assert list(self.images.stores.images) == []
        assert self.images.stores.layers.sizes() == {}
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
        return sorted(self.images.stores.content.ingests.sizes())

    async def close(self) -> None:
        """End everything."""
        await self.service.close()
        self.state.close()
