"""One engine at a time chooses a subnet and takes it.

Several engines may live on a machine (tests run many). Each looks for a subnet that no route of the host overlaps; two
that look at the same instant would both find the same one.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from darse.core import executors

_PATH = "/run/darse-subnets.lock"


@asynccontextmanager
async def subnet_allocation() -> AsyncIterator[None]:
    """Hold the host's lock for the block, which takes milliseconds; waits for other engines. Raises OSError."""
    descriptor = os.open(_PATH, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await executors.kernel.run(fcntl.flock, descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
