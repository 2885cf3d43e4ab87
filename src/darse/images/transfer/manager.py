"""Layers under way into the store: each fetched once and unpacked once, for however many pulls need them.

    TransferManager ── LayerTransfer (a chain ID: unpacks) ── SharedDownload (a digest: fetches)

A pull acquires the transfer of a layer, reports its progress, and releases it. A transfer that no pull needs any more
is cancelled; what it has fetched stays for the next pull. A complete archive stays until the image is recorded, so that
a crash in between costs no second download.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from darse.core import executors
from darse.core.errors import InvalidParameter
from darse.core.exhaustion import in_words
from darse.distribution.errors import InvalidContent
from darse.images.content.store import ContentStore
from darse.images.layers.store import LayerStore
from darse.images.progress import LayerStage
from darse.images.transfer.progress import ProgressStep
from darse.images.transfer.registries import in_thread

if TYPE_CHECKING:
    from pathlib import Path

    from darse.distribution import Repository
    from darse.image_spec.manifests import Descriptor
    from darse.images.transfer.downloads import Download

#: Called in the download's thread with each stage, and the seconds until the next attempt.
OnStage = Callable[[LayerStage, int], None]


class ResizableSemaphore:
    """A semaphore whose limit may change while it is held; 0 is no limit."""

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._held = 0
        self._released = asyncio.Condition()

    @property
    def is_free(self) -> bool:
        """Whether it can be acquired without waiting."""
        return self._limit() == 0 or self._held < self._limit()

    async def __aenter__(self) -> None:
        async with self._released:
            await self._released.wait_for(lambda: self.is_free)
            self._held += 1

    async def __aexit__(self, *_: object) -> None:
        self._held -= 1
        async with self._released:
            self._released.notify_all()


class SharedDownload:
    """A download that several transfers may wait for. `readable` is set when reading it is worth while."""

    def __init__(self, make: Callable[[OnStage], Download], slots: ResizableSemaphore) -> None:
        self._make = make
        self._loop = asyncio.get_running_loop()
        self.download = make(self._on_stage)
        self.users = 0
        self.steps: list[ProgressStep] = []
        self.readable = asyncio.Event()
        self.discard = False
        # For `darse explain`: when it began to fetch, when it ended (0: not yet), and why it failed.
        self.began_ns = self.ended_ns = 0
        self.failure = ""
        self._slots = slots
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            if not self._slots.is_free:
                self.steps.append(ProgressStep(LayerStage.WAITING))
            async with self._slots:
                self.began_ns = time.time_ns()
                await self._fetch()
            self.steps.append(ProgressStep(LayerStage.DOWNLOADED))
        except Exception as error:
            self.failure = str(error)
            raise
        finally:
            self.ended_ns = time.time_ns()
            self.readable.set()

    async def _fetch(self) -> None:
        try:
            await in_thread(self.download.cancellation, self.download.run, to_the_end=True)
        except InvalidContent:
            if not self.download.resumed:
                raise
            # The bytes of an earlier attempt may be the damaged ones: a power cut, or another source.
            release = functools.partial(self.download.release, discard=True)
            await in_thread(self.download.cancellation, release, to_the_end=True)
            self.download = self._make(self._on_stage)
            await in_thread(self.download.cancellation, self.download.run, to_the_end=True)

    def _on_stage(self, stage: LayerStage, retry_in: int) -> None:
        self._loop.call_soon_threadsafe(self._add_step, stage, retry_in)

    def _add_step(self, stage: LayerStage, retry_in: int) -> None:
        if stage is LayerStage.DOWNLOADING:
            if not self.download.resumed:
                self.readable.set()
            self.steps.append(ProgressStep(stage, lambda: self.download.received, self.download.size))
        else:
            self.steps.append(ProgressStep(stage, retry_in=retry_in))

    async def close(self) -> None:
        """Stop, and keep or remove what was fetched."""
        self.task.cancel()
        await asyncio.wait({self.task})
        # The last descriptor of a file that is removed takes its blocks along: a second for some gigabytes.
        await executors.storage.run(self.download.release, discard=self.discard)


class LayerTransfer:
    """A layer that is fetched and unpacked."""

    def __init__(self, chain_id: str, diff_id: str, shared: SharedDownload, layers: LayerStore) -> None:
        self.chain_id = chain_id
        self.diff_id = diff_id
        self.users = 0
        self.shared = shared
        self.digest = shared.download.descriptor.digest
        # For `darse explain`, as in `SharedDownload`.
        self.began_ns = self.ended_ns = 0
        self.failure = ""
        self._layers = layers
        self._steps: list[ProgressStep] = []
        self._unpacking: asyncio.Task[None] | None = None
        self.task = asyncio.create_task(self._run())

    def steps(self) -> list[ProgressStep]:
        """The stages so far, for a `ProgressReporter`."""
        return [ProgressStep(LayerStage.PULLING), *self.shared.steps, *self._steps]

    @property
    def directory(self) -> Path:
        """The directory of the layer's files."""
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
        """Unpack while the archive arrives; the failure of one ends the other. Raises RegistryError and EngineError."""
        shared = self.shared
        await shared.readable.wait()
        self.began_ns = time.time_ns()
        unpacking = self._unpacking = asyncio.create_task(
            self._layers.ensure(self.chain_id, self.diff_id, shared.download)
        )
        try:
            await asyncio.wait({shared.task, unpacking}, return_when=asyncio.FIRST_EXCEPTION)
            with in_words(needed=shared.download.size - shared.download.received):
                if shared.task.done():
                    # When both failed, the truncated archive is only a consequence.
                    shared.task.result()
                elif unpacking.done():
                    unpacking.result()
                    await asyncio.shield(shared.task)
            self._steps.append(
                ProgressStep(LayerStage.EXTRACTING, lambda: shared.download.consumed, shared.download.size)
            )
            await unpacking
        except (InvalidParameter, InvalidContent):
            shared.discard = True  # nobody can use it
            raise
        finally:
            if not unpacking.done():
                unpacking.cancel()
                await asyncio.wait({unpacking})
        self._steps.append(ProgressStep(LayerStage.PULLED))

    async def close(self) -> None:
        """Stop, and wait until nothing runs: a cancelled task cleans up, and must not be interrupted."""
        self.task.cancel()
        await asyncio.wait({self.task})
        if self._unpacking is not None and not self._unpacking.done():
            await asyncio.wait({self._unpacking})


class TransferManager:
    """All transfers and downloads of the engine; `at_once` downloads run at the same time."""

    def __init__(self, content: ContentStore, layers: LayerStore, at_once: Callable[[], int]) -> None:
        self._content = content
        self._layers = layers
        self._slots = ResizableSemaphore(at_once)
        self._transfers: dict[str, LayerTransfer] = {}
        self._downloads: dict[str, SharedDownload] = {}
        self._closing: dict[str, asyncio.Task[None]] = {}

    async def acquire(
        self, chain_id: str, diff_id: str, descriptor: Descriptor, repository: Repository
    ) -> LayerTransfer:
        """Join the transfer of a layer, or begin it. The caller releases it."""
        while (closing := self._closing.get(descriptor.digest)) is not None:
            await asyncio.wait({closing})
        transfer = self._transfers.get(chain_id)
        if transfer is None or (
            transfer.task.done() and (transfer.task.cancelled() or transfer.task.exception() is not None)
        ):
            download = self._share(descriptor, repository)
            download.users += 1
            transfer = self._transfers[chain_id] = LayerTransfer(chain_id, diff_id, download, self._layers)
        transfer.users += 1
        return transfer

    def _share(self, descriptor: Descriptor, repository: Repository) -> SharedDownload:
        from darse.images.transfer.downloads import Download  # noqa: PLC0415

        shared = self._downloads.get(descriptor.digest)
        if shared is None:
            shared = self._downloads[descriptor.digest] = SharedDownload(
                lambda on_stage: Download(descriptor, repository, self._content.open_ingest, on_stage), self._slots
            )
        return shared

    def release_transfers(self, transfers: Iterable[LayerTransfer], *, discard: bool) -> None:
        """End the transfers that no other pull needs; `discard` the archives that were fetched for them."""
        for transfer in transfers:
            transfer.users -= 1
            transfer.shared.discard |= discard
            if transfer.users == 0:
                if self._transfers.get(transfer.chain_id) is transfer:
                    del self._transfers[transfer.chain_id]
                transfer.shared.users -= 1
                self._begin_close(transfer)

    def _begin_close(self, transfer: LayerTransfer) -> None:
        digest = transfer.digest
        is_last = transfer.shared.users == 0
        if is_last and self._downloads.get(digest) is transfer.shared:
            del self._downloads[digest]
        before = self._closing.get(digest)
        self._closing[digest] = asyncio.create_task(self._close(transfer, before, is_last=is_last))

    async def _close(self, transfer: LayerTransfer, before: asyncio.Task[None] | None, *, is_last: bool) -> None:
        await transfer.close()
        if before is not None:
            await asyncio.wait({before})
        if is_last:
            await transfer.shared.close()
        if self._closing.get(transfer.digest) is asyncio.current_task():
            del self._closing[transfer.digest]

    async def close(self) -> None:
        """End all transfers."""
        transfers = list(self._transfers.values())
        self._transfers.clear()
        for transfer in transfers:
            transfer.users = 0
            transfer.shared.users -= 1
            self._begin_close(transfer)
        while self._closing:
            await asyncio.wait(set(self._closing.values()))
