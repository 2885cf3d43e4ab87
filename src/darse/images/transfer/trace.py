"""What pulls did, for `darse explain`: requests, layers fetched and unpacked, the record.

A pull's steps overlap, in tasks and threads, and belong to jobs that several pulls share; so they are added to the
pull's operation with times that were taken where the work was done, not through the context variable of `linux.trace`.
The newest pulls are kept, encoded, in memory.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from darse.core.errors import InvalidParameter
from darse.core.trace import Operation, Step
from darse.images import references

if TYPE_CHECKING:
    from pathlib import Path

    from darse.distribution import Repository
    from darse.images.transfer.manager import LayerTransfer

PULL = "pull"
_KEPT = 64


class PullRecord:
    """The newest pulls, by the familiar name of what was asked for."""

    def __init__(self) -> None:
        self._encoded: OrderedDict[str, bytes] = OrderedDict()

    @contextmanager
    def record(self, name: str) -> Iterator[Operation]:
        """Record the block as a pull of `name`; its subject is the digest that is found."""
        operation = Operation(PULL, "", time.time_ns())
        began = time.perf_counter_ns()
        outcome = "failed: it was given up"
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
        """The newest pull of an image, by any form of its name; None when none is on record."""
        try:
            data = self._encoded.get(name) or self._encoded.get(references.parse(name).familiar)
        except InvalidParameter:
            return None
        return msgspec.msgpack.decode(data, type=Operation) if data is not None else None

    def summary(self) -> list[dict[str, Any]]:
        """Every pull on record without its steps."""
        found = []
        for name, data in self._encoded.items():
            operation = msgspec.msgpack.decode(data, type=Operation)
            document = msgspec.structs.asdict(operation) | {"steps": len(operation.steps), "container": name}
            found.append({**document, "id": document.pop("subject").removeprefix("sha256:")})
        return found


@contextmanager
def step(operation: Operation, kind: str, summary: str, *command: str) -> Iterator[None]:
    """Time a part of a pull; see `linux.trace.step`."""
    begin, clock, failed = time.time_ns(), time.perf_counter_ns(), ""
    try:
        yield
    except Exception as error:
        failed = str(error)
        raise
    finally:
        operation.steps.append(Step(kind, summary, command, begin, time.perf_counter_ns() - clock, failed))


def fetches(repository: Repository, what: str, digest: str, *, to: Path | str = "-") -> tuple[str, ...]:
    """A command that fetches a manifest or a blob of a repository, where that needs no credentials."""
    accept = ("-H", f"Accept: {', '.join(documents_accepted())}") if what == "manifests" else ()
    url = f"{repository.session.endpoint.base}{repository.root}/{what}/{digest}"
    return ("curl", "-fsSL", *accept, "-o", str(to), url)


def documents_accepted() -> tuple[str, ...]:
    """The types of manifests and indexes."""
    from darse.distribution.manifests import INDEXES, MANIFESTS  # noqa: PLC0415

    return (*MANIFESTS, *INDEXES)


def add_layers(operation: Operation, jobs: list[LayerTransfer], repository: Repository) -> None:
    """Add what was done for layers: each fetched and unpacked, as far as it came; both at once."""
    for job in jobs:
        download, digest = job.shared.download, job.shared.download.descriptor.digest
        if job.shared.began_ns:
            command = fetches(repository, "blobs", digest, to=f"{digest[7:19]}.layer")
            took = (job.shared.ended_ns or time.time_ns()) - job.shared.began_ns
            said = f"fetch layer {digest[7:19]}, {download.received} of {download.size} bytes"
            operation.steps.append(Step("request", said, command, job.shared.began_ns, took, job.shared.failure))
        if job.began_ns:
            directory = str(job.directory)
            command = ("mkdir", "-p", directory, ";", "tar", "-x", "-f", f"{digest[7:19]}.layer", "-C", directory)
            took = (job.ended_ns or time.time_ns()) - job.began_ns
            operation.steps.append(
                Step("layer", f"unpack layer {digest[7:19]} while it comes", command, job.began_ns, took, job.failure)
            )
