"""The audit log: who changed what, when, and with what outcome; a JSON document a line.

Records are written by a thread of the log's own, in the order in which they came: whoever records something never
waits for a disk. A file that has reached its size becomes FILE.1, FILE.1 becomes FILE.2, and so on; the oldest is
removed. Only its owner can read it: names of objects may be confidential.

What cannot be written is counted, and reported once for each series of failures; the requests themselves go on.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

MAX_SIZE = 10 * 1024 * 1024
MAX_FILES = 5
_log = logging.getLogger("darse.audit")


class AuditLog:
    """An open audit log."""

    def __init__(self, path: Path, *, max_size: int = MAX_SIZE, max_files: int = MAX_FILES) -> None:
        """Open it for appending. Raises OSError.

        max_size: bytes after which a file is closed and another begun; max_files: how many are kept, with the open one.
        """
        self._path = path
        self._max_size = max_size
        self._max_files = max_files
        self.lost = 0
        self._records: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._descriptor = self._open()
        self._thread = threading.Thread(target=self._write_all, name="audit", daemon=True)
        self._thread.start()

    def record(self, **fields: Any) -> None:
        """Add a record; the time is added to it. Returns at once."""
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._records.put({"time": moment, **fields})

    def close(self) -> None:
        """Write what has been recorded, and end."""
        self._records.put(None)
        self._thread.join()
        os.close(self._descriptor)

    def _open(self) -> int:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self._path, flags, 0o600)

    def _write_all(self) -> None:
        failing = False
        while (record := self._records.get()) is not None:
            try:
                self._write(msgspec.json.encode(record) + b"\n")
                failing = False
            except OSError as error:
                self.lost += 1
                if not failing:
                    _log.error("the audit log %s cannot be written: %s", self._path, error)
                failing = True

    def _write(self, line: bytes) -> None:
        size = os.fstat(self._descriptor).st_size
        if size and size + len(line) > self._max_size:
            self._rotate()
        left = line
        while left:
            left = left[os.write(self._descriptor, left) :]

    def _rotate(self) -> None:
        for number in range(self._max_files - 1, 0, -1):
            source = self._numbered(number - 1)
            if source.exists():
                source.replace(self._numbered(number))
        if self._max_files == 1:
            self._path.unlink(missing_ok=True)
        opened = self._open()
        os.close(self._descriptor)
        self._descriptor = opened

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path
