"""Ports of the host for tests that run beside each other."""

from __future__ import annotations

import contextlib
import random
import socket


def free_port() -> int:
    """A port that nobody has in either family, nor the next one; the kernel gives none of these away to clients."""
    while True:
        number = random.randrange(15_000, 30_000, 2)
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for one in (number, number + 1):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    probe = stack.enter_context(socket.socket(socket.AF_INET6, kind))
                    probe.bind(("::", one))
            return number
