"""Runs the worker for archives: see `darse.build.files.worker`."""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from darse.build.errors import BuildError
from darse.build.executor.worker_process import WorkerProcess
from darse.build.files.groups import TreeChange
from darse.build.files.worker import FIRST_ROOT, TARGET, UnpackJob
from darse.core.errors import SystemFault

_ANSWER = 8192


class UnpackWorker:
    """One worker, for one group of changes."""

    def __init__(self, empty: str) -> None:
        """empty: an empty directory."""
        self._empty = empty
        self._process = WorkerProcess("darse.build.files.worker", "unpacks an archive")

    def kill(self) -> None:
        """End it, now or as soon as it begins. From any thread."""
        self._process.kill()

    def run(self, changes: Sequence[TreeChange], numbers: Sequence[int], target: int, roots: Sequence[int]) -> None:
        """Apply changes to a tree. Blocks. Raises BuildError, SystemFault, and OSError.

        numbers: those of the trees of which `roots` are descriptors.
        """
        job = os.memfd_create("job", os.MFD_CLOEXEC)
        try:
            os.write(job, msgspec.json.encode(UnpackJob(tuple(changes), tuple(numbers))))
            os.lseek(job, 0, os.SEEK_SET)
            descriptors = {0: job, TARGET: target}
            descriptors.update((FIRST_ROOT + number, root) for number, root in enumerate(roots))
            answer = self._process.answer((self._empty, str(len(roots))), descriptors, _ANSWER)
        finally:
            os.close(job)
        kind, *texts = [os.fsdecode(word) for word in answer.split(b"\0")]
        if kind == "refused":
            raise BuildError(texts[0])
        if kind == "system":
            raise OSError(int(texts[0]), texts[1])
        if kind == "fault":
            raise SystemFault(f"the process that unpacks an archive failed: {texts[0]}")
