"""A file in a container, as the API describes it."""

from __future__ import annotations

import msgspec


class ContainerPathStat(msgspec.Struct):
    """The document in `X-Docker-Container-Path-Stat`. `mode` has the bits of Go's os.FileMode."""

    name: str
    size: int
    mode: int
    mtime: str
    linkTarget: str


class DirectoryListing(msgspec.Struct):
    """What is at a path of a container, and the entries of a directory, in the order of their names.

    `isShortened`: the directory has more of them.
    """

    stat: ContainerPathStat
    entries: list[ContainerPathStat]
    isShortened: bool
