"""Layers: what has changed between two looks at a tree of files, as an archive.

https://github.com/opencontainers/image-spec/blob/main/layer.md. The archives are the same for the same changes: sorted,
and without the moment of the build.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from isal import isal_zlib

# The moment that is written wherever that of the build would be: 2026-01-01.
EPOCH = 1767225600
_GZIP_LEVEL = 2
# Never part of a layer: mount points' contents, and what differs from one build to the next.
_LEFT_OUT = frozenset(
    {
        "etc/machine-id",
        "var/cache/ldconfig/aux-cache",
        "var/log/alternatives.log",
        "var/log/apt/eipp.log.xz",
        "var/log/apt/history.log",
        "var/log/apt/term.log",
        "var/log/bootstrap.log",
        "var/log/dpkg.log",
    }
)
_EMPTY = frozenset({"proc", "sys", "dev", "tmp", "var/lib/apt/lists", "var/cache/apt/archives"})

Look = dict[str, os.stat_result]


@dataclass(frozen=True)
class Layer:
    """A packed layer: digest and size (bytes) of the gzipped archive, digest of the plain one, and its whiteouts."""

    digest: str
    size: int
    diff_id: str
    whiteouts: tuple[str, ...] = ()


def look(tree: Path) -> Look:
    """The files of a tree as they are now, by path."""
    return dict(_walk(tree, ""))


def _walk(tree: Path, below: str) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(tree / below) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = f"{below}/{entry.name}" if below else entry.name
            found = entry.stat(follow_symlinks=False)
            if path in _LEFT_OUT or stat.S_ISSOCK(found.st_mode):
                continue
            yield path, found
            if stat.S_ISDIR(found.st_mode) and path not in _EMPTY:
                yield from _walk(tree, path)


def changed(before: Look, after: Look) -> list[str]:
    """The paths that are new or different, sorted, with a whiteout for each that is gone."""
    paths = [path for path, found in after.items() if path not in before or _differ(before[path], found)]
    gone = {path for path in before if path not in after}
    for path in gone:
        parent, _, name = path.rpartition("/")
        if parent in gone:
            continue
        paths.append(f"{parent}/.wh.{name}" if parent else f".wh.{name}")
    return sorted(paths)


def _differ(before: os.stat_result, after: os.stat_result) -> bool:
    fields = ["st_mode", "st_uid", "st_gid", "st_mtime_ns"]
    if not stat.S_ISDIR(after.st_mode):
        # Whatever is done to a file moves its ctime.
        fields += ["st_ino", "st_size", "st_ctime_ns"]
    return any(getattr(before, field) != getattr(after, field) for field in fields)


def pack(tree: Path, paths: list[str], blobs: Path, since: int) -> Layer:
    """Write those paths of a tree as a gzipped archive into a directory of blobs.

    since: seconds since 1970 when the build began; what was modified after that is said to be of EPOCH.
    """
    with tempfile.NamedTemporaryFile(dir=blobs, delete=False) as target:
        packing = _Packing(target)
        links: dict[int, str] = {}
        with tarfile.open(fileobj=packing, mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 20) as archive:
            for path in paths:
                _add(archive, tree, path, links, since)
        packing.finish()
    digest = packing.digest.hexdigest()
    os.chmod(target.name, 0o644)
    os.rename(target.name, blobs / digest)
    whiteouts = tuple(path for path in paths if _is_whiteout(path))
    return Layer(f"sha256:{digest}", packing.size, f"sha256:{packing.plain.hexdigest()}", whiteouts)


def _add(archive: tarfile.TarFile, tree: Path, path: str, links: dict[int, str], since: int) -> None:
    if _is_whiteout(path):
        whiteout = tarfile.TarInfo(path)
        whiteout.mtime = EPOCH
        archive.addfile(whiteout)
        return
    full = tree / path
    member = archive.gettarinfo(str(full), arcname=path)
    archive.inodes = {}  # type: ignore[attr-defined]  # links are found below: by what is in this layer
    member.mtime = int(member.mtime) if member.mtime < since else EPOCH
    member.uname = member.gname = ""
    found = os.lstat(full)
    if stat.S_ISREG(found.st_mode):
        first = links.setdefault(found.st_ino, path)
        if first != path:
            member.type, member.linkname, member.size = tarfile.LNKTYPE, first, 0
        else:
            member.type, member.linkname, member.size = tarfile.REGTYPE, "", found.st_size
    if not stat.S_ISLNK(found.st_mode):
        for name in os.listxattr(full):
            value = os.getxattr(full, name)
            member.pax_headers[f"SCHILY.xattr.{name}"] = value.decode("utf-8", "surrogateescape")
    if member.type == tarfile.REGTYPE:
        with open(full, "rb") as content:
            archive.addfile(member, content)
    else:
        archive.addfile(member)


def _is_whiteout(path: str) -> bool:
    return os.path.basename(path).startswith(".wh.")


class _Packing:
    """A file that compresses what is written to it, and computes both digests on the way."""

    def __init__(self, target: IO[bytes]) -> None:
        self.digest, self.plain, self.size = hashlib.sha256(), hashlib.sha256(), 0
        self._target = target
        self._compress = isal_zlib.compressobj(_GZIP_LEVEL, wbits=31)

    def write(self, data: bytes) -> int:
        """Take a part of the plain archive."""
        self.plain.update(data)
        self._put(self._compress.compress(data))
        return len(data)

    def finish(self) -> None:
        """Write what is left."""
        self._put(self._compress.flush())

    def _put(self, data: bytes) -> None:
        self.digest.update(data)
        self.size += len(data)
        self._target.write(data)


def unpack(layers: Iterable[Layer], blobs: Path, tree: Path) -> None:
    """Apply layers to a tree, in order. Raises CalledProcessError."""
    for layer in layers:
        for whiteout in layer.whiteouts:
            parent, name = os.path.split(whiteout)
            gone = tree / parent / name.removeprefix(".wh.")
            if gone.is_dir() and not gone.is_symlink():
                shutil.rmtree(gone)
            else:
                gone.unlink(missing_ok=True)
        archive = blobs / layer.digest.removeprefix("sha256:")
        options = ["--xattrs", "--xattrs-include=*", "--numeric-owner", "--same-permissions", "--exclude=.wh.*"]
        subprocess.run(["tar", "-C", str(tree), *options, "-xzf", str(archive)], check=True, capture_output=True)
