"""All metrics of an engine, put together when somebody asks for them; between two scrapes nothing is read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

from isal import isal_zlib

from darse.core import executors, spans
from darse.observing.metrics.containers import ContainerMetrics
from darse.observing.metrics.engine import Lines, info_lines, process_lines, state_lines
from darse.observing.metrics.exposition import Family
from darse.observing.metrics.operations import OperationMetrics

if TYPE_CHECKING:
    from darse.containers.model import Container
    from darse.engine.engine import Engine

_PIECE = 256 << 10
# The fastest level. IDs do not compress, and lines of one container are farther apart than the window: a third is left.
# A gzip member with a window of 32 kB (zlib.h).
_GZIP = 31


class MetricsSource(Protocol):
    """A part of the engine that has metrics of its own."""

    def lines(self) -> Lines:
        """Its samples, without looking at the host."""


class MetricsService:
    """Makes the text of metrics. Operations are counted from `open` on."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._operations = OperationMetrics()
        self._containers = ContainerMetrics(engine.dependencies)
        self._info: Lines = []
        # The reader of containers is for one at a time; who scrapes meanwhile waits.
        self._lock = asyncio.Lock()
        self._more: list[MetricsSource] = []

    async def open(self) -> None:
        """Count operations from now on."""
        self._info = info_lines(self._engine, await self._engine.system.info())
        spans.add_observer(self._operations)

    def close(self) -> None:
        """Count no more."""
        spans.remove_observer(self._operations)

    def add(self, source: MetricsSource) -> None:
        """Have the metrics of another part of the engine in the text, too."""
        self._more.append(source)

    async def text(self, *, open_metrics: bool, compressed: bool) -> list[bytes]:
        """The whole text in pieces of some 256 kB; as one gzip member where the client takes that."""
        async with self._lock:
            return await executors.kernel.run(
                self._text, self._known(), list(self._engine.dependencies.store), open_metrics, compressed
            )

    async def lines(self, names: set[str]) -> Lines:
        """The samples of the families called so."""
        async with self._lock:
            return await executors.kernel.run(self._named, names, self._known(), list(self._engine.dependencies.store))

    def _known(self) -> Lines:
        """What is known without looking at the host."""
        further = [one for source in self._more for one in source.lines()]
        return [*self._info, *state_lines(self._engine), *self._operations.lines(), *further]

    def _named(self, names: set[str], known: Lines, containers: list[Container]) -> Lines:
        return [(family, samples) for family, samples in self._lines(known, containers) if family.name in names]

    def _lines(self, known: Lines, containers: list[Container]) -> Iterator[tuple[Family, list[str]]]:
        """One family after the other: the samples of all of them would take three times the text's memory."""
        yield from known
        yield from process_lines(self._engine.config.data_root)
        yield from self._containers.lines(containers)

    def _text(self, known: Lines, containers: list[Container], open_metrics: bool, compressed: bool) -> list[bytes]:
        pieces: list[bytes] = []
        compressor = isal_zlib.compressobj(level=0, wbits=_GZIP) if compressed else None
        for family, samples in self._lines(known, containers):
            if samples:
                found = _encoded(family, samples, open_metrics=open_metrics)
                pieces += found if compressor is None else map(compressor.compress, found)
                time.sleep(0)  # lets the event loop have the interpreter
        end = b"# EOF\n" if open_metrics else b""
        pieces.append(end if compressor is None else compressor.compress(end) + compressor.flush())
        return [piece for piece in pieces if piece]


def _encoded(family: Family, samples: list[str], *, open_metrics: bool) -> Iterable[bytes]:
    text = (family.head(open_metrics=open_metrics) + "".join(samples)).encode(errors="replace")
    return (text[place : place + _PIECE] for place in range(0, len(text), _PIECE))
