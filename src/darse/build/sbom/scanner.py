"""Runs the scanner that is built in: see `worker`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from darse.build.executor.worker_process import WorkerProcess
from darse.build.sbom.answers import DOCUMENT, ROOT
from darse.build.solver import Snapshot
from darse.core.errors import SystemFault

if TYPE_CHECKING:
    from darse.build.executor import EngineExecutor

# More than the largest document of as many packages as a scan lists.
_MOST_BYTES = 256 << 20


async def scan_tree(executor: EngineExecutor, snapshot: Snapshot | None, name: str, created: int) -> bytes:
    """The document of a tree; None is an empty one. Raises SystemFault and OSError.

    name: what the document calls the tree. created: seconds since the epoch.
    """
    process = WorkerProcess("darse.build.sbom.worker", "scans for packages")
    arguments = (executor.snapshotter.empty, name, str(created))
    layers = executor.layers_of(snapshot) if snapshot is not None else ()

    def scan(root: int) -> bytes:
        kind, _, text = process.answer(arguments, {ROOT: root}, _MOST_BYTES).partition(b"\0")
        if kind != DOCUMENT:
            raise SystemFault(f"the scan for packages failed: {text.decode('utf-8', 'replace')}")
        return text

    return await executor.trees.read(layers, scan, stop=process.kill)
