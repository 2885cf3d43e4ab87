"""Layers on their way into the store: fetched once and unpacked once, for however many pulls want them.

    Transfers ── LayerJob (a chain ID: unpacks) ── Shared (a digest: fetches)

A pull takes a job, watches what it says, and gives it back. A job that nobody wants any more is cancelled; what it had
fetched stays for the next pull. What is whole stays until the image is recorded, so that a crash in between costs no
second download.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from darse.core.errors import InvalidParameter
from darse.core.exhaustion import in_words
from darse.distribution.errors import Untrustworthy
from darse.images.content.store import ContentStore
from darse.images.layers.store import LayerStore
from darse.images.transfer.progress import ProgressStep, short
from darse.images.transfer.registries import in_thread

if TYPE_CHECKING:
    from pathlib import Path

    from darse.distribution import Descriptor, Repository
    from darse.images.transfer.downloads import Download


class ResizableSemaphore:
    """So many at once; the number may change meanwhile, and 0 is no limit."""

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._taken = 0
        self._freed = asyncio.Condition()

    @property
    def free(self) -> bool:
        """Whether one is to be had now."""
        return self._limit() == 0 or self._taken < self._limit()

    async def __aenter__(self) -> None:
        async with self._freed:
            await self._freed.wait_for(lambda: self.free)
            self._taken += 1

    async def __aexit__(self, *_: object) -> None:
        self._taken -= 1
        async with self._freed:
            self._freed.notify_all()


class SharedDownload:
    """A download that several jobs may wait for; it has `begun` when reading it is worth while."""

    def __init__(self, make: Callable[[Callable[[str], None]], Download], slots: ResizableSemaphore) -> None:
        """`make` makes the download, given what it is to call in its thread with each stage."""
        self._make = make
        self._loop = asyncio.get_running_loop()
        self.download = make(self._tell)
        self.users = 0
        self.steps: list[ProgressStep] = []
        self.begun = asyncio.Event()
        self.discard = False
        # For `darse explain`: when it had a slot, when it ended (0: not yet), and why it failed.
        self.began_ns = self.ended_ns = 0
        self.failure = ""
        self._slots = slots
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            if not self._slots.free:
                self.steps.append(ProgressStep("Waiting"))
            async with self._slots:
                self.began_ns = time.time_ns()
                await self._fetch()
            self.steps.append(ProgressStep("Download complete"))
        except Exception as error:
            self.failure = str(error)
            raise
        finally:
            self.ended_ns = time.time_ns()
            self.begun.set()

    async def _fetch(self) -> None:
        try:
            await in_thread(self.download.cancellation, self.download.run, to_the_end=True)
        except Untrustworthy:
            if not self.download.resumed:
                raise
            # What an earlier try left may be at fault: the power cut, or another source.
            self.download.release(discard=True)
            self.download = self._make(self._tell)
            await in_thread(self.download.cancellation, self.download.run, to_the_end=True)

    def _tell(self, stage: str) -> None:
        self._loop.call_soon_threadsafe(self._told, stage)

    def _told(self, stage: str) -> None:
        """Note a stage of the download."""
        from darse.images.transfer.downloads import DOWNLOADING  # noqa: PLC0415

        if stage == DOWNLOADING:
            if not self.download.resumed:
                self.begun.set()
            self.steps.append(ProgressStep(stage, lambda: self.download.received, self.download.size))
        else:
            self.steps.append(ProgressStep(stage))

    async def end(self) -> None:
        """Stop, and leave or remove what was fetched."""
        self.task.cancel()
        await asyncio.wait({self.task})
        self.download.release(discard=self.discard)


class LayerTransfer:
    """A layer that is fetched and unpacked."""

    def __init__(self, chain_id: str, diff_id: str, shared: SharedDownload, layers: LayerStore) -> None:
        self.chain_id = chain_id
        self.diff_id = diff_id
        self.users = 0
        self.shared = shared
        self.short = short(shared.download.descriptor.digest)
        # For `darse explain`, as in `SharedDownload`.
        self.began_ns = self.ended_ns = 0
        self.failure = ""
        self._layers = layers
        self._steps: list[ProgressStep] = []
        self._unpacking: asyncio.Task[None] | None = None
        self.task = asyncio.create_task(self._run())

    def steps(self) -> list[ProgressStep]:
        """What has been so far, for a `Watch`."""
        return [ProgressStep("Pulling fs layer"), *self.shared.steps, *self._steps]

    @property
    def directory(self) -> Path:
        """Where the layer's files are to be."""
        return self._layers.path(self.chain_id)

    async def _run(self) -> None:
        try:
            await self._unpack()
        except Exception as error:
            self.failure = str(error)
            raise
        finally:
            self.ended_ns = time.time_ns()

    async def _unpack(self) -> None:
        """Unpack while it is fetched; what fails first ends the other. Raises RegistryError and EngineError."""
        shared = self.shared
        await shared.begun.wait()
        self.began_ns = time.time_ns()
        unpacking = self._unpacking = asyncio.create_task(
            self._layers.ensure(self.chain_id, self.diff_id, shared.download)
        )
        try:
            await asyncio.wait({shared.task, unpacking}, return_when=asyncio.FIRST_EXCEPTION)
            with in_words(needed=shared.download.size - shared.download.received):
                if shared.task.done():
                    # When both failed, an archive that ended early is only what came of it.
                    shared.task.result()
                elif unpacking.done():
                    unpacking.result()
                    await asyncio.shield(shared.task)
            self._steps.append(ProgressStep("Extracting", lambda: shared.download.consumed, shared.download.size))
            await unpacking
        except (InvalidParameter, Untrustworthy):
            shared.discard = True  # nobody will want it again
            raise
        finally:
            if not unpacking.done():
                unpacking.cancel()
                await asyncio.wait({unpacking})
        self._steps.append(ProgressStep("Pull complete"))

    async def end(self) -> None:
        """Stop, and wait until nothing is at work: who is cancelled tidies up, and is not to be disturbed."""
        self.task.cancel()
        await asyncio.wait({self.task})
        if self._unpacking is not None and not self._unpacking.done():
            await asyncio.wait({self._unpacking})


class TransferManager:
    """All jobs and downloads of the engine."""

    def __init__(self, content: ContentStore, layers: LayerStore, at_once: Callable[[], int]) -> None:
        self._content = content
        self._layers = layers
        self._slots = ResizableSemaphore(at_once)
        self._jobs: dict[str, LayerTransfer] = {}
        self._shared: dict[str, SharedDownload] = {}
        self._endings: dict[str, asyncio.Task[None]] = {}

    async def take(self, chain_id: str, diff_id: str, descriptor: Descriptor, repository: Repository) -> LayerTransfer:
        """Join the job that brings a layer, or begin it. Give it back with `give_back`."""
        while (ending := self._endings.get(descriptor.digest)) is not None:
            await asyncio.wait({ending})
        job = self._jobs.get(chain_id)
        if job is None or (job.task.done() and (job.task.cancelled() or job.task.exception() is not None)):
            shared = self._share(descriptor, repository)
            shared.users += 1
            job = self._jobs[chain_id] = LayerTransfer(chain_id, diff_id, shared, self._layers)
        job.users += 1
        return job

    def _share(self, descriptor: Descriptor, repository: Repository) -> SharedDownload:
        from darse.images.transfer.downloads import Download  # noqa: PLC0415

        shared = self._shared.get(descriptor.digest)
        if shared is None:
            shared = self._shared[descriptor.digest] = SharedDownload(
                lambda tell: Download(descriptor, repository, self._content.partial, tell), self._slots
            )
        return shared

    def give_back(self, jobs: Iterable[LayerTransfer], *, discard: bool) -> None:
        """End what nobody else waits for; `discard` says that the archives are not needed any more."""
        for job in jobs:
            job.users -= 1
            job.shared.discard |= discard
            if job.users == 0:
                if self._jobs.get(job.chain_id) is job:
                    del self._jobs[job.chain_id]
                job.shared.users -= 1
                self._end(job)

    def _end(self, job: LayerTransfer) -> None:
        digest = job.shared.download.descriptor.digest
        last = job.shared.users == 0
        if last and self._shared.get(digest) is job.shared:
            del self._shared[digest]
        before = self._endings.get(digest)
        self._endings[digest] = asyncio.create_task(self._ended(job, digest, before, last))

    async def _ended(self, job: LayerTransfer, digest: str, before: asyncio.Task[None] | None, last: bool) -> None:
        await job.end()
        if before is not None:
            await asyncio.wait({before})
        if last:
            await job.shared.end()
        if self._endings.get(digest) is asyncio.current_task():
            del self._endings[digest]

    async def close(self) -> None:
        """End everything."""
        jobs = list(self._jobs.values())
        self._jobs.clear()
        for job in jobs:
            job.users = 0
            job.shared.users -= 1
            self._end(job)
        while self._endings:
            await asyncio.wait(set(self._endings.values()))
