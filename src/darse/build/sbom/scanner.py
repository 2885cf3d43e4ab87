"""Runs the scanner that is built in: see `worker`."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from darse.build.errors import BuildError
from darse.build.sbom.answers import DOCUMENT, ROOT
from darse.build.solver import Snapshot
from darse.core.errors import SystemFault
from darse.linux.proc.process import spawn

if TYPE_CHECKING:
    from darse.build.executor import EngineExecutor

# More than the largest document of as many packages as a scan lists.
_MOST_BYTES = 256 << 20


async def scan_tree(executor: EngineExecutor, snapshot: Snapshot | None, name: str, created: int) -> bytes:
    """The document of a tree; None is an empty one. Raises BuildError, SystemFault and OSError.

    name: what the document calls the tree. created: seconds since the epoch.
    """
    worker = _ScanWorker(executor.snapshotter.empty, name, created)
    layers = executor.layers_of(snapshot) if snapshot is not None else ()
    return await executor.trees.read(layers, worker.run, stop=worker.kill)


class _ScanWorker:
    """One worker, for one tree."""

    def __init__(self, empty: str, name: str, created: int) -> None:
        search = f"import sys; sys.path[:] = {sys.path!r}"
        program = f"{search}; from darse.build.sbom.worker import main; main()"
        # Without the environment's settings and without site packages' start-up files.
        self._command = [sys.executable, "-I", "-S", "-c", program, empty, name, str(created)]
        self._pid = 0
        self._killed = False

    def kill(self) -> None:
        """End it, now or as soon as it begins. From any thread."""
        self._killed = True
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def run(self, root: int) -> bytes:
        """Scan a tree, of whose root there is a descriptor. Blocks."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        with open(reading, "rb") as answers:
            try:
                self._pid = spawn(
                    self._command, {"LC_ALL": "C.UTF-8"}, {1: writing, ROOT: root}, stderr=Path(os.devnull)
                )
            finally:
                os.close(writing)
            if self._killed:
                self.kill()
            answer = answers.read(_MOST_BYTES)
        pid, self._pid = self._pid, 0
        _, status = os.waitpid(pid, 0)
        if self._killed:
            raise BuildError("the build has ended")
        kind, _, text = answer.partition(b"\0")
        if status or not text:
            raise SystemFault(f"the process that scans for packages ended with status {status}")
        if kind != DOCUMENT:
            raise SystemFault(f"the scan for packages failed: {text.decode('utf-8', 'replace')}")
        return text
