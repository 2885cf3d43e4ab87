"""Pull traces for `darse explain`: requests, layers fetched and unpacked, the record.

The steps of a pull overlap, in tasks and threads, and belong to transfers that several pulls share. So they are added
to the pull's operation with the times that were taken where the work was done, not through the context variable of
`darse.core.trace`. The newest traces are kept in memory, encoded.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from darse.core import spans
from darse.core.errors import InvalidParameter
from darse.core.trace import Operation, Step
from darse.images import references

PULL = "pull"
_KEPT = 64


class PullTraces:
    """The newest pulls, by the short name of the reference."""

    def __init__(self) -> None:
        self._encoded: OrderedDict[str, bytes] = OrderedDict()

    @contextmanager
    def record(self, name: str) -> Iterator[Operation]:
        """Record the block as a pull of `name`; the block sets the subject, the digest of the target."""
        operation = Operation(PULL, "", time.time_ns())
        with spans.span_of(operation):
            began = time.perf_counter_ns()
            outcome = "failed: it was cancelled"
            try:
                yield operation
                outcome = "done"
            except Exception as error:
                outcome = f"failed: {error}"
                raise
            finally:
                operation.duration_ns = time.perf_counter_ns() - began
                operation.outcome = outcome
                self._encoded[name] = msgspec.msgpack.encode(operation)
                self._encoded.move_to_end(name)
                if len(self._encoded) > _KEPT:
                    self._encoded.popitem(last=False)

    def last(self, name: str) -> Operation | None:
        """The newest pull of an image, by any form of its name; None when there is none."""
        try:
            data = self._encoded.get(name) or self._encoded.get(references.parse(name).familiar)
        except InvalidParameter:
            return None
        return msgspec.msgpack.decode(data, type=Operation) if data is not None else None

    def summary(self) -> list[dict[str, Any]]:
        """Every pull, without its steps."""
        found = []
        for name, data in self._encoded.items():
            operation = msgspec.msgpack.decode(data, type=Operation)
            document = msgspec.structs.asdict(operation) | {"steps": len(operation.steps), "container": name}
            found.append({**document, "id": document.pop("subject").removeprefix("sha256:")})
        return found


@contextmanager
def step(operation: Operation, kind: str, summary: str, *command: str) -> Iterator[None]:
    """Time a step of a pull; see `darse.core.trace.step`."""
    begin, clock, failed = time.time_ns(), time.perf_counter_ns(), ""
    try:
        yield
    except Exception as error:
        failed = str(error)
        raise
    finally:
        operation.steps.append(Step(kind, summary, command, begin, time.perf_counter_ns() - clock, failed))
