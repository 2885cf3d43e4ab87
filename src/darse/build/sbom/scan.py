"""One scan of a tree: databases at their places, and one walk for what is in directories of its own.

Anybody may have written the tree. What cannot be parsed is passed over; entries, depth and packages are bounded, and a
scan that comes to a bound says so.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

import msgspec

from darse.build.sbom.ecosystems import alpine, debian, golang, node, python, rpm, system
from darse.build.sbom.files import TreeFiles, open_entry, read_entry
from darse.build.sbom.packages import Distribution, Package, short
from darse.linux.fs.contained import ENTER, LEAVE, Walk

_MOST_ENTRIES, _MOST_PACKAGES, _MOST_DEPTH = 5_000_000, 50_000, 200
# The kernel's, where a tree is a machine's own.
_PASSED_OVER = frozenset({"proc", "sys", "dev"})


class Scan(msgspec.Struct, frozen=True):
    """What was found."""

    system: Distribution
    packages: tuple[Package, ...]
    notes: tuple[str, ...] = ()
    """What the scan leaves out, for who reads the document."""


def scan(root: int) -> Scan:
    """Scan the tree below a root, of which `root` is a descriptor. Raises OSError."""
    files = TreeFiles(root)
    found_system = system.find(files)
    notes = [f"the rpm database {path} is not read: its packages are not listed" for path in rpm.unread(files)]
    packages: dict[tuple[str, str], Package] = {}
    walk = _PackageWalk(root)
    for finding in (debian.find(files, found_system), alpine.find(files, found_system), walk.packages()):
        for package in finding:
            if len(packages) >= _MOST_PACKAGES:
                notes.append(f"there are more than {_MOST_PACKAGES} packages: the others are not listed")
                break
            packages.setdefault((package.url, package.place), package)
    if walk.is_cut:
        notes.append(f"directories deeper than {_MOST_DEPTH}, or more than {_MOST_ENTRIES} files, are not searched")
    notes += [f"{path} is too large to be read: its packages are not listed" for path in files.too_large]
    ordered = sorted(packages.values(), key=lambda one: (one.kind, one.namespace, one.name, one.version, one.place))
    return Scan(found_system, tuple(ordered), tuple(dict.fromkeys(notes)))


class _PackageWalk:
    """The walk."""

    def __init__(self, root: int) -> None:
        self._root = root
        self.is_cut = False

    def packages(self) -> Iterator[Package]:
        """Yield what is found. Raises OSError."""
        parents: list[str] = []
        walk = Walk(self._root)
        for count, (kind, directory, name, status) in enumerate(walk):
            if count >= _MOST_ENTRIES:
                self.is_cut = True
                return
            if kind == LEAVE:
                parents.pop()
            elif kind == ENTER:
                if len(parents) >= _MOST_DEPTH or (not parents and name in _PASSED_OVER):
                    self.is_cut |= len(parents) >= _MOST_DEPTH
                    walk.skip()
                parents.append(name)
            elif stat.S_ISREG(status.st_mode):
                yield from _of_file(directory, parents, name, status)


def _of_file(directory: int, parents: list[str], name: str, status: os.stat_result) -> Iterator[Package]:
    if python.is_metadata(parents, name):
        content = read_entry(directory, name, python.LIMIT)
        if content is not None:
            yield from python.parse(content, _path(parents, name))
    elif node.is_package(parents, name):
        content = read_entry(directory, name, node.LIMIT)
        if content is not None:
            yield from node.parse(content, _path(parents, name))
    elif golang.is_program(status.st_mode, status.st_size):
        descriptor = open_entry(directory, name)
        if descriptor is not None:
            try:
                yield from golang.find(descriptor, _path(parents, name))
            finally:
                os.close(descriptor)


def _path(parents: list[str], name: str) -> str:
    return short("/" + "/".join((*parents, name)))
