"""Runs the worker for archives: see `darse.build.files.worker`."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from darse.build.errors import BuildError
from darse.build.files.groups import TreeChange
from darse.build.files.worker import FIRST_ROOT, TARGET, UnpackJob
from darse.core.errors import SystemFault
from darse.linux.proc.process import spawn

_ANSWER = 8192


class UnpackWorker:
    """One worker, for one group of changes."""

    def __init__(self, empty: str) -> None:
        """empty: an empty directory."""
        self._empty = empty
        self._pid = 0
        self._killed = False

    def kill(self) -> None:
        """End it, now or as soon as it begins. From any thread."""
        self._killed = True
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def run(self, changes: Sequence[TreeChange], numbers: Sequence[int], target: int, roots: Sequence[int]) -> None:
        """Apply changes to a tree. Blocks. Raises BuildError, SystemFault, and OSError.

        numbers: those of the trees of which `roots` are descriptors.
        """
        job = os.memfd_create("job", os.MFD_CLOEXEC)
        try:
            os.write(job, msgspec.json.encode(UnpackJob(tuple(changes), tuple(numbers))))
            os.lseek(job, 0, os.SEEK_SET)
            answer = self._answer(job, target, roots)
        finally:
            os.close(job)
        kind, *texts = [os.fsdecode(word) for word in answer.split(b"\0")]
        if kind == "refused":
            raise BuildError(texts[0])
        if kind == "system":
            raise OSError(int(texts[0]), texts[1])
        if kind == "fault":
            raise SystemFault(f"the process that unpacks an archive failed: {texts[0]}")

    def _answer(self, job: int, target: int, roots: Sequence[int]) -> bytes:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        with open(reading, "rb", buffering=0) as answers:
            descriptors = {0: job, 1: writing, TARGET: target}
            descriptors.update((FIRST_ROOT + number, root) for number, root in enumerate(roots))
            try:
                command = _command(self._empty, len(roots))
                self._pid = spawn(command, {"LC_ALL": "C.UTF-8"}, descriptors, stderr=Path(os.devnull))
            finally:
                os.close(writing)
            if self._killed:
                self.kill()
            answer = answers.read(_ANSWER)
            pid, self._pid = self._pid, 0
            _, status = os.waitpid(pid, 0)
        if status and not self._killed:
            raise SystemFault(f"the process that unpacks an archive ended with status {status}")
        if self._killed:
            raise OSError(errno.EINTR, "the build has ended")
        return answer or b""


def _command(empty: str, roots: int) -> list[str]:
    """The worker's command line: without the environment's settings and without site packages' start-up files."""
    search = f"import sys; sys.path[:] = {sys.path!r}"
    program = f"{search}; from darse.build.files.worker import main; main()"
    return [sys.executable, "-I", "-S", "-c", program, empty, str(roots)]
