"""The name server's process: which of our modules it is made of.

An engine that has other code in one of them replaces the process by a new one, and no query is lost
(`darse.networks.companions`). What the process does is in `darse.resolver`.
"""

from __future__ import annotations

from pathlib import Path

from darse.networks.companions.process import CompanionProcess

_PARTS = (
    "resolver/*.py",
    "linux/libc.py",
    "linux/loop.py",
    "linux/packets.py",
    "linux/fs/watches.py",
    "linux/proc/sandbox.py",
)


class NameServerProcess(CompanionProcess):
    """Where the name server's process of one engine is found."""

    def __init__(self, directory: Path) -> None:
        """`directory` as in `CompanionProcess`."""
        super().__init__(directory, "darse.resolver.supervisor", _PARTS)
