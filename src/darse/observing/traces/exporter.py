"""Sends spans to one receiver: from a bounded queue, by one task, which waits longer each time that the receiver fails.

An operation only puts its record into the queue. What finds it full is dropped and counted; so an engine whose
receiver is away keeps `MOST_SPANS` spans, and no more. A receiver that cannot be reached, or is overloaded, gets the
same spans again; one that refuses them does not (https://opentelemetry.io/docs/specs/otlp/#failures-1)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from darse.core.spans import Span
from darse.core.tasks import begin_lasting
from darse.core.trace import Operation
from darse.observing.json_sender import JsonSender, ReceiverUnreachable
from darse.observing.metrics.engine import Lines
from darse.observing.metrics.exposition import Family, labels_text, sample
from darse.observing.traces.spans import EndedSpan, SpanResource, count_of, ended_spans

MOST_SPANS = 8192
_BATCH = 512
# Spans that end within this time go together.
_GATHER_SECONDS = 1.0
_FIRST_RETRY, _LAST_RETRY = 1.0, 60.0
# What is left gets so long when the engine stops.
_FLUSH_SECONDS = 1.0
_SUCCESS = range(200, 300)
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_log = logging.getLogger("darse.observing")

EXPORTED = Family("darse_trace_spans_exported_total", "counter", "Spans that a receiver has taken")
DROPPED = Family("darse_trace_spans_dropped_total", "counter", "Spans that no receiver has, by reason")
QUEUED = Family("darse_trace_spans_queued", "gauge", "Spans that wait for a receiver")

Encode = Callable[[Sequence[EndedSpan], SpanResource], bytes]


class SpanExporter:
    """One receiver of spans. An observer of operations, and a source of metrics."""

    def __init__(self, name: str, url: str, headers: Mapping[str, str], encode: Encode, resource: SpanResource) -> None:
        """name: what its metrics call it."""
        self._name = name
        self._url = url
        self._poster = JsonSender(url, headers)
        self._encode = encode
        self._resource = resource
        self._lock = threading.Lock()
        self._queue: deque[tuple[Operation, Span]] = deque()
        self._queued = self._exported = 0
        self._dropped = {"queue_full": 0, "refused": 0}
        self._loop = asyncio.get_running_loop()
        self._filled = asyncio.Event()
        self._is_failing = False
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to send."""
        self._task = begin_lasting(self._run(), name=f"spans for {self._name}")

    def operation_ended(self, operation: Operation, span: Span) -> None:
        """Put it into the queue."""
        if not span.context.sampled:
            return
        size = count_of(operation)
        with self._lock:
            if self._queued + size > MOST_SPANS:
                self._dropped["queue_full"] += size
                return
            self._queue.append((operation, span))
            self._queued += size
        if not self._filled.is_set():
            self._loop.call_soon_threadsafe(self._filled.set)

    def lines(self) -> Lines:
        """How much it has sent, dropped and kept."""
        label = [("receiver", self._name)]
        dropped = [
            sample(DROPPED.name, count, labels_text([("reason", reason), *label]))
            for reason, count in self._dropped.items()
        ]
        return [
            (EXPORTED, [sample(EXPORTED.name, self._exported, labels_text(label))]),
            (DROPPED, dropped),
            (QUEUED, [sample(QUEUED.name, self._queued, labels_text(label))]),
        ]

    async def _run(self) -> None:
        while True:
            await self._filled.wait()
            await asyncio.sleep(_GATHER_SECONDS)
            self._filled.clear()
            while self._queue:
                await self._send_batch()

    async def _send_batch(self) -> None:
        """Send the oldest; they leave the queue when the receiver has taken or refused them."""
        spans: list[EndedSpan] = []
        operations = 0
        for operation, span in list(self._queue):
            if spans and len(spans) + count_of(operation) > _BATCH:
                break
            spans += ended_spans(operation, span)
            operations += 1
        is_taken = await self._send(self._encode(spans, self._resource))
        with self._lock:
            for _ in range(operations):
                operation, _span = self._queue.popleft()
                self._queued -= count_of(operation)
            if is_taken:
                self._exported += len(spans)
            else:
                self._dropped["refused"] += len(spans)

    async def _send(self, body: bytes) -> bool:
        """Whether the receiver has taken it; asks again until it says yes or no."""
        pause = _FIRST_RETRY
        while True:
            try:
                status = await self._poster.post(body)
            except ReceiverUnreachable as error:
                self._failing(str(error))
            else:
                if status in _SUCCESS:
                    if self._is_failing:
                        _log.info("traces: %s takes spans again", self._url)
                    self._is_failing = False
                    return True
                self._failing(f"it answers {status}")
                if status not in _AGAIN:
                    return False
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_RETRY)

    def _failing(self, why: str) -> None:
        """Log the first failure of several."""
        if not self._is_failing:
            _log.warning("traces: %s does not take spans: %s", self._url, why)
        self._is_failing = True

    async def close(self) -> None:
        """Send what is left, if the receiver takes it at once."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._queue and not self._is_failing:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FLUSH_SECONDS):
                    while self._queue and not self._is_failing:
                        await self._send_batch()
        await self._poster.close()
