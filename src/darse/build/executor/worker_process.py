"""Processes that work on a tree that anybody may have written: each sees what it is given by descriptors, nothing else.

They confine themselves before they look at the tree, see `darse.linux.proc.sandbox`; descriptor 1 takes their answer.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from darse.core.errors import SystemFault
from darse.linux.proc.process import spawn


class WorkerProcess:
    """One of them, for one answer."""

    def __init__(self, module: str, does: str) -> None:
        """`module`: whose `main` it runs. does: what it is called in errors, as `unpacks an archive`."""
        self._module = module
        self._does = does
        self._pid = 0
        self._killed = False

    def kill(self) -> None:
        """End it, now or as soon as it begins. From any thread."""
        self._killed = True
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def answer(self, arguments: Sequence[str], descriptors: Mapping[int, int], most: int) -> bytes:
        """Run it, and return up to `most` bytes of its answer. Blocks.

        descriptors: ours, by the numbers that they have there. Raises SystemFault when it fails, and OSError with EINTR
        when it was killed by `kill`.
        """
        search = f"import sys; sys.path[:] = {sys.path!r}"
        program = f"{search}; from {self._module} import main; main()"
        # Without the environment's settings and without site packages' start-up files.
        command = [sys.executable, "-I", "-S", "-c", program, *arguments]
        reading, writing = os.pipe2(os.O_CLOEXEC)
        with open(reading, "rb") as answers:
            try:
                self._pid = spawn(command, {"LC_ALL": "C.UTF-8"}, {1: writing, **descriptors}, stderr=Path(os.devnull))
            finally:
                os.close(writing)
            if self._killed:
                self.kill()
            answer = answers.read(most)
        # A longer answer has nobody who reads it: the process ends by SIGPIPE.
        pid, self._pid = self._pid, 0
        _, status = os.waitpid(pid, 0)
        if self._killed:
            raise OSError(errno.EINTR, "the build has ended")
        if status:
            raise SystemFault(f"the process that {self._does} ended with status {status}")
        return answer
