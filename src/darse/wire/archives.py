"""What the API tells of a file in a container."""

from __future__ import annotations

import msgspec


class ContainerPathStat(msgspec.Struct):
    """The document in `X-Docker-Container-Path-Stat`. `mode` has the bits of Go's os.FileMode."""

    name: str
    size: int
    mode: int
    mtime: str
    linkTarget: str
