"""The steps of pulls, as `darse explain` shows them: see `darse.images.pull_traces`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from darse.core.trace import Operation, Step
from darse.image_spec.media_types import INDEXES, MANIFESTS

if TYPE_CHECKING:
    from pathlib import Path

    from darse.distribution import Repository
    from darse.images.transfer.manager import LayerTransfer


def fetches(repository: Repository, what: str, digest: str, *, to: Path | str = "-") -> tuple[str, ...]:
    """The shell command that fetches a manifest or a blob of a repository, where that needs no credentials."""
    accept = ("-H", f"Accept: {', '.join((*MANIFESTS, *INDEXES))}") if what == "manifests" else ()
    url = f"{repository.session.endpoint.base}{repository.root}/{what}/{digest}"
    return ("curl", "-fsSL", *accept, "-o", str(to), url)


def add_layers(operation: Operation, transfers: list[LayerTransfer], repository: Repository) -> None:
    """Add the fetching and the unpacking of each layer, as far as they came; both happen at once."""
    for job in transfers:
        download, digest = job.shared.download, job.digest
        if job.shared.began_ns:
            command = fetches(repository, "blobs", digest, to=f"{digest[7:19]}.layer")
            took = (job.shared.ended_ns or time.time_ns()) - job.shared.began_ns
            summary = f"fetch layer {digest[7:19]}, {download.received} of {download.size} bytes"
            operation.steps.append(Step("request", summary, command, job.shared.began_ns, took, job.shared.failure))
        if job.began_ns:
            directory = str(job.directory)
            command = ("mkdir", "-p", directory, ";", "tar", "-x", "-f", f"{digest[7:19]}.layer", "-C", directory)
            took = (job.ended_ns or time.time_ns()) - job.began_ns
            operation.steps.append(
                Step("layer", f"unpack layer {digest[7:19]} while it comes", command, job.began_ns, took, job.failure)
            )
