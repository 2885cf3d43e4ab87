"""Reads an image archive as it arrives: documents stay in memory, layers go straight to workers that unpack them.

The documents that say which image a layer belongs to often come at the archive's end. So each layer is *staged*
(unpacked, its digests computed) as it passes by, and published when the documents are known. Nothing is written twice,
and the archive need not be seekable. A staged layer that no image needs is dropped.

The archive is read in a thread: a loop in Python parses it, and the event loop must not wait for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import posixpath
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO

from darse.archive.errors import ArchiveRefused
from darse.archive.extract import entries, entries_in_place
from darse.archive.pipe_source import PipeSource
from darse.archive.process import OnConnection
from darse.archive.request_body import Body
from darse.archive.stream import BZIP2, GZIP, XZ, ZSTD
from darse.archive.tar import LINK, REGULAR, SYMLINK, Entry, Reader
from darse.core import executors
from darse.core.errors import EngineError, InvalidParameter, SystemFault
from darse.core.exhaustion import exhausted, reason
from darse.core.tasks import until_ended
from darse.images.archive.layout import Contents, normal
from darse.images.layers.store import LayerStore, StagedLayer
from darse.images.progress import LayerProgress, LayerStage, Report
from darse.linux.net.sockets import copy_of_socket

_SMALL = 8 * 1024 * 1024
_DOCUMENTS = 64 * 1024 * 1024
_MEMBERS = 200_000
_LAYERS = 4096
# Bytes of the body that go to the thread at once, and how many batches may be queued: a client's pieces are small, and
# each switch of threads costs as much as copying one.
_BATCH = 256 * 1024
_PREFETCHED = 8
# Layers that are unpacked at once: one arrives while those before it finish.
_WORKERS = 3
_DIGEST_IN_NAME = re.compile(r"(?:\A|/)([0-9a-f]{64})(?:\.tar)?\Z")
_COMPRESSED = (GZIP, ZSTD, XZ, BZIP2)
_MAGIC = 6
# How often progress is reported, in seconds.
_PROGRESS_EVERY = 0.2


class _Arriving:
    """The layer that arrives: `received` bytes of `size`."""

    def __init__(self, member: str, size: int) -> None:
        self.size = size
        self.received = 0
        found = _DIGEST_IN_NAME.search(member) or _DIGEST_IN_NAME.search(posixpath.dirname(member))
        self.layer = f"sha256:{found[1]}" if found else member


class ArchiveReader:
    """One archive. Use it as a context manager: at its end, staged layers that were not published are dropped."""

    def __init__(
        self,
        layers: LayerStore,
        present: Callable[[str], str | None],
        temporary: Callable[[], Path] | None = None,
    ) -> None:
        """`present(digest)` returns the diff ID of a layer that is here, if `digest` is that, or a form of it.

        temporary: makes names for files that compressed layers are copied to; without it there are no copies.
        """
        # Copies of compressed layers as they came, by member; they are removed at the end of the context.
        self.copies: dict[str, Path] = {}
        self._temporary = temporary
        self.contents = Contents()
        # The digests of compressed layers, by member.
        self.digests: dict[str, str] = {}
        self.sizes: dict[str, int] = {}
        # Layers that are in the layer store, by member: their diff IDs.
        self._published: dict[str, str] = {}
        self._layers = layers
        self._find_present = present
        self._stagings: dict[str, asyncio.Task[StagedLayer | EngineError]] = {}
        self._slots = asyncio.Semaphore(_WORKERS)
        self._loop = asyncio.get_running_loop()
        self._bytes = 0
        self._members = 0
        self._arriving: _Arriving | None = None

    async def __aenter__(self) -> ArchiveReader:
        return self

    async def __aexit__(self, *_: object) -> None:
        for copy in self.copies.values():
            copy.unlink(missing_ok=True)
        for task in self._stagings.values():
            task.cancel()
        for outcome in await asyncio.gather(*self._stagings.values(), return_exceptions=True):
            if isinstance(outcome, StagedLayer):
                await self._layers.discard_staged(outcome)

    async def read(self, body: AsyncIterator[bytes] | OnConnection, report: Report) -> None:
        """Read all of it into `contents`, and report how it goes. Raises InvalidParameter, SystemFault."""
        if isinstance(body, OnConnection):
            await self._read_connection(body, report)
        else:
            await self._read_pieces(body, report)

    def _report_arriving(self, report: Report) -> None:
        arriving = self._arriving
        if arriving is not None and arriving.received:
            report(LayerProgress(arriving.layer, LayerStage.LOADING, arriving.received, arriving.size))

    async def _read_connection(self, body: OnConnection, report: Report) -> None:
        connection = copy_of_socket(body.connection)
        with connection:
            thread = asyncio.create_task(executors.storage.run(self._read_off, connection.fileno(), body))
            try:
                while not thread.done():
                    await asyncio.wait((thread,), timeout=_PROGRESS_EVERY)
                    self._report_arriving(report)
            except BaseException:
                # The thread sees the end of the archive; the workers that it waits for see the end of theirs.
                with contextlib.suppress(OSError):  # the client has gone
                    connection.shutdown(socket.SHUT_RD)
                await until_ended(thread)
                raise
            await thread

    async def _read_pieces(self, body: AsyncIterator[bytes], report: Report) -> None:
        pieces: SimpleQueue[list[bytes] | None] = SimpleQueue()
        free = asyncio.Semaphore(_PREFETCHED)
        thread = asyncio.create_task(executors.storage.run(self._read_all, self._dequeued(pieces, free)))
        # A thread that fails makes no more room in the queue, and this loop would wait for room forever.
        thread.add_done_callback(lambda _: free.release())
        reported_at = time.monotonic()
        batch: list[bytes] = []
        size = 0
        try:
            async for piece in body:
                if thread.done():
                    continue  # the client gets the error when it has sent everything
                batch.append(piece)
                size += len(piece)
                if size < _BATCH:
                    continue
                await free.acquire()
                pieces.put(batch)
                batch, size = [], 0
                now = time.monotonic()
                if now - reported_at > _PROGRESS_EVERY:
                    reported_at = now
                    self._report_arriving(report)
        except BaseException:
            pieces.put(None)
            # The thread ends soon: the workers that it waits for see the end of their archives.
            await asyncio.gather(thread, return_exceptions=True)
            raise
        pieces.put(batch)
        pieces.put(None)
        await thread

    async def staged_layer(self, member: str) -> StagedLayer:
        """Return the layer that a member was unpacked to. Raises the InvalidParameter or SystemFault of unpacking."""
        if member in self.contents.empty and member not in self._stagings:
            # No byte of it came, so nothing was unpacked while the archive was read.
            await self._slots.acquire()
            source = PipeSource(0)
            os.close(source.writing)
            self._stagings[member] = asyncio.create_task(self._stage(member, source))
        outcome = await self._stagings[member]
        if isinstance(outcome, EngineError):
            raise outcome
        return outcome

    def mark_published(self, member: str, diff_id: str) -> None:
        """Note that the layer of a member is in the layer store: it is not dropped."""
        del self._stagings[member]
        self._published[member] = diff_id

    def published_diff_id(self, member: str) -> str | None:
        """The diff ID of a member's layer, when that is in the layer store; None when it is staged."""
        return self._published.get(member)

    # In the thread

    def _dequeued(self, pieces: SimpleQueue[list[bytes] | None], free: asyncio.Semaphore) -> Iterator[bytes]:
        while (batch := pieces.get()) is not None:
            yield from batch
            self._loop.call_soon_threadsafe(free.release)

    def _read_all(self, pieces: Iterator[bytes]) -> None:
        self._read(lambda: entries(pieces))

    def _read_off(self, connection: int, handed_off: OnConnection) -> None:
        pieces: Iterator[memoryview] = iter(())

        def begin() -> Reader:
            nonlocal pieces
            body = Body(connection, handed_off.start, handed_off.length)
            start, pieces = body.begin(_MAGIC), body.pieces()
            return entries_in_place(pieces, start)

        try:
            self._read(begin)
        finally:
            # The client gets the error when it has sent everything.
            with contextlib.suppress(ArchiveRefused, OSError):
                for _ in pieces:
                    pass

    def _read(self, begin: Callable[[], Reader]) -> None:
        try:
            reader = begin()
            for entry in reader:
                self._members += 1
                if self._members > _MEMBERS:
                    raise InvalidParameter(f"invalid archive: it has more than {_MEMBERS} members")
                self._member(entry, reader)
        except ArchiveRefused as error:
            raise InvalidParameter(f"invalid archive: {error}") from error
        except ConnectionError as error:
            raise InvalidParameter(f"invalid archive: the client has gone: {error.strerror}") from error

    def _member(self, entry: Entry, reader: Reader) -> None:
        name = normal(os.fsdecode(entry.path))
        if entry.kind == SYMLINK:
            self.contents.links[name] = posixpath.join(posixpath.dirname(name), os.fsdecode(entry.link))
        elif entry.kind == LINK:
            self.contents.links[name] = os.fsdecode(entry.link)
        elif entry.kind == REGULAR and not entry.size:
            self.contents.empty.add(name)
            self.sizes[name] = 0
        elif entry.kind == REGULAR and entry.segments is None:
            self._file(name, entry.size, reader.content())

    def _file(self, name: str, size: int, content: Iterator[memoryview]) -> None:
        first = next(content)
        if _is_document(bytes(first[:512])):
            self._document(name, size, first, content)
        elif size >= 512 or bytes(first[:_MAGIC]).startswith(_COMPRESSED):
            self._layer(name, size, first, content)
        # Nothing needs the rest: VERSION, in archives of old dockers.
        _skip(content)

    def _document(self, name: str, size: int, first: memoryview, content: Iterator[memoryview]) -> None:
        self._bytes += size
        if size > _SMALL or self._bytes > _DOCUMENTS:
            raise InvalidParameter(f"invalid archive: document {name} of {size} bytes is too large")
        # Each piece is valid until the next one is asked for.
        self.contents.documents[name] = b"".join((bytes(first), *map(bytes, content)))
        self.contents.layers.discard(name)
        self.contents.links.pop(name, None)

    def _layer(self, name: str, size: int, first: memoryview, content: Iterator[memoryview]) -> None:
        if name in self.contents.layers:
            raise InvalidParameter(f"invalid archive: {name} comes twice")
        if len(self.contents.layers) >= _LAYERS:
            raise InvalidParameter(f"invalid archive: it has more than {_LAYERS} layers")
        self.contents.layers.add(name)
        self.contents.documents.pop(name, None)
        self.contents.links.pop(name, None)
        self.sizes[name] = size
        is_compressed = bytes(first[:_MAGIC]).startswith(_COMPRESSED)
        copy = self._copy(name) if is_compressed and self._temporary is not None else None
        pipe = asyncio.run_coroutine_threadsafe(self._begin(name, size), self._loop).result()
        if pipe < 0 and copy is None:
            _skip(content)
            return
        checksum = hashlib.sha256() if is_compressed else None
        self._arriving = arriving = _Arriving(name, size)
        try:
            for piece in _chain(first, content):
                if checksum is not None:
                    checksum.update(piece)
                if copy is not None:
                    copy.write(piece)
                if pipe >= 0 and not _fed(pipe, piece):
                    os.close(pipe)
                    pipe = -1  # the worker reports why
                arriving.received += len(piece)
        except OSError as error:
            fault = exhausted(error, self._temporary().parent if self._temporary is not None else None, size)
            raise type(fault or SystemFault())(f"cannot keep layer {name}: {fault or reason(error)}") from error
        finally:
            if copy is not None:
                copy.close()
            if pipe >= 0:
                os.close(pipe)
        if checksum is not None:
            self.digests[name] = f"sha256:{checksum.hexdigest()}"

    def _copy(self, name: str) -> BinaryIO:
        assert self._temporary is not None
        path = self._temporary()
        self.copies[name] = path
        return open(path, "xb")

    # In the event loop, for the thread

    async def _begin(self, name: str, size: int) -> int:
        """Begin to unpack a layer, and return the pipe for its archive; -1 when the layer is here."""
        found = _DIGEST_IN_NAME.search(name)
        if found is not None and (diff_id := self._find_present(f"sha256:{found[1]}")) is not None:
            self._published[name] = diff_id
            return -1
        await self._slots.acquire()
        source = PipeSource(size)
        self._stagings[name] = asyncio.create_task(self._stage(name, source))
        return source.writing

    async def _stage(self, name: str, source: PipeSource) -> StagedLayer | EngineError:
        try:
            return await self._layers.stage(source, name)
        except EngineError as error:
            return error
        finally:
            source.close()
            self._slots.release()


def _is_document(start: bytes) -> bool:
    return start.lstrip()[:1] in (b"{", b"[", b'"') and start[257:262] != b"ustar"


def _chain(first: memoryview, content: Iterator[memoryview]) -> Iterator[memoryview]:
    yield first
    yield from content


def _skip(content: Iterator[memoryview]) -> None:
    for _ in content:
        pass


def _fed(pipe: int, piece: memoryview) -> bool:
    """Write all of a piece; False when nobody reads any more."""
    try:
        while piece:
            piece = piece[os.write(pipe, piece) :]
    except BrokenPipeError:
        return False
    return True
