"""Bind mounts: what must be true of the host's path before the runtime binds it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from darse.core import trace
from darse.core.errors import InvalidParameter
from darse.volumes.mounts import MountPlan

_RESTRICTIONS = ((os.ST_RDONLY, "ro"), (os.ST_NOSUID, "nosuid"), (os.ST_NODEV, "nodev"), (os.ST_NOEXEC, "noexec"))


class BindSource(msgspec.Struct, frozen=True):
    """What the spec must know of a source: those of ro, nosuid, nodev and noexec that its mount has, what it is, and
    how mount events pass.
    """

    restrictions: tuple[str, ...]
    is_directory: bool
    propagation: str = "rprivate"


def prepare_source(plan: MountPlan) -> BindSource:
    """Make a missing source that may be made, and check the rest. Blocks.

    Raises InvalidParameter in docker's words.
    """
    source = plan.source
    if not os.path.exists(source):
        if not plan.make_source:
            raise missing(source)
        try:
            with trace.step("file", f"bind source {source}", "mkdir", "-p", source):
                Path(source).mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise InvalidParameter(
                f"error while creating mount source path '{source}': mkdir {error.filename or source}: {reason}"
            ) from error
    propagation = plan.propagation
    if propagation in ("shared", "rshared", "slave", "rslave"):
        try:
            _check_propagation(os.path.realpath(source), propagation)
        except InvalidParameter:
            if not plan.default_propagation:
                raise
            propagation = "rprivate"
    return examine(source, propagation)


def examine(source: str, propagation: str = "rprivate") -> BindSource:
    """Look at a source that is there. Raises OSError."""
    flags = os.statvfs(source).f_flag
    restrictions = tuple(word for flag, word in _RESTRICTIONS if flags & flag)
    return BindSource(restrictions, os.path.isdir(source), propagation)


def examine_all(sources: Iterable[str]) -> dict[str, BindSource]:
    """Look at several, and say by their paths what they are. Raises OSError."""
    return {source: examine(source) for source in sources}


def missing(source: str) -> InvalidParameter:
    """The error for a source that is not there."""
    return InvalidParameter(f'invalid mount config for type "bind": bind source path does not exist: {source}')


def _check_propagation(source: str, propagation: str) -> None:
    """Events can be shared with, or received from, a mount that is shared; see mount_namespaces(7)."""
    point, marks = _mount_of(source)
    if any(mark.startswith("shared:") for mark in marks):
        return
    if propagation.endswith("slave"):
        if any(mark.startswith("master:") for mark in marks):
            return
        raise InvalidParameter(f"path {source} is mounted on {point} but it is not a shared or slave mount")
    raise InvalidParameter(f"path {source} is mounted on {point} but it is not a shared mount")


def _mount_of(path: str) -> tuple[str, list[str]]:
    """The mount point that `path` is on, and the optional fields of its line in mountinfo (proc(5))."""
    best, marks = "/", list[str]()
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            fields = line.split(" ")
            point = fields[4].replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
            inside = path == point or path.startswith(point.rstrip("/") + "/")
            if inside and len(point) >= len(best):
                best, marks = point, fields[6 : fields.index("-")]
    return best, marks
