#!/usr/bin/env python3
"""Stop the engine on the default data root: whoever holds its lock. Containers run on, as after any stop."""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path

LOCK = Path("/var/lib/darse/lock")
SECONDS = 60


def main() -> None:
    """Find the holder of the lock in /proc/locks (proc_locks(5)), and end it."""
    holder = lock_holder(LOCK)
    if holder is None:
        print("no engine is running: nothing to stop")
        return
    try:
        pidfd = os.pidfd_open(holder)
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError:
        sys.exit(f"the engine (process {holder}) belongs to root: try sudo make stop")
    ended, _, _ = select.select([pidfd], [], [], SECONDS)
    if not ended:
        sys.exit(f"the engine (process {holder}) did not stop within {SECONDS} s")
    print(f"the engine (process {holder}) has stopped; containers run on")


def lock_holder(path: Path) -> int | None:
    """The process that holds a lock on `path`, if any."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    except PermissionError:
        sys.exit("whether an engine runs is for root to see: try sudo make stop")
    wanted = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if wanted in words and "->" not in words:
            return int(words[4])
    return None


if __name__ == "__main__":
    main()
