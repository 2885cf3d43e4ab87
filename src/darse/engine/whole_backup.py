"""`darsed --backup` and `--restore`: the data root as one archive, while no engine runs on it.

GNU tar writes and reads it: it knows what a data root has: hard links, holes, owners by number, every extended
attribute (capabilities, what overlay marks), devices (deletions in writable layers). What a start empties is left out.
Containers may run on meanwhile; their files are then as they are found, one after the other, as after a power cut.
The first member says what the archive is, so that nothing else is unpacked as a data root.
"""

from __future__ import annotations

import datetime
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from darse import __version__
from darse.core.config import EngineConfig
from darse.core.errors import InvalidParameter, SystemFault
from darse.engine.engine import DATABASE
from darse.linux.fs.contained import discard_tree
from darse.linux.fs.files import sync_directory
from darse.recovery.startup import holdings

MANIFEST = "darse-backup.json"
# What a start makes anew, or empties.
_LEFT_OUT = ("lock", "reserve", "code", "trash", "images/ingest")
_FORMAT = 1
# How much of what tar complains of is shown: on a full disk that is a line for each file.
_LINES = 4
_TAR = ("tar", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner")
Say = Callable[[str], None]


class BackupManifest(msgspec.Struct):
    """What an archive says of itself."""

    format: int
    version: str
    created: str
    data_root: str
    holds: str


def needs_database(config: EngineConfig) -> None:
    """Raise InvalidParameter where there is no engine's data: a path that is mistyped is not to be made."""
    if not (config.data_root / DATABASE).exists():
        raise InvalidParameter(f"{config.data_root} has no database: there is nothing to back up")


def backup(config: EngineConfig, target: Path, say: Say) -> None:
    """Write the data root to `target`, compressed as its suffix says (`.zst`, `.gz`, `.xz`; none: not at all).

    Hold the roots' locks meanwhile. The file has its name when it is whole. Raises SystemFault and InvalidParameter.
    """
    root = config.data_root
    if target.resolve().is_relative_to(root.resolve()):
        raise InvalidParameter(f"{target} is in the data root itself: write the backup elsewhere")
    if not target.parent.is_dir():
        raise InvalidParameter(f"{target.parent} is no directory")
    if target.exists():
        raise InvalidParameter(f"{target} is there already: choose another name")
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    manifest = BackupManifest(_FORMAT, __version__, now, str(root), holdings(root) or "nothing")
    unfinished = target.with_name(f".{target.name}.part{target.suffix}")
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch, MANIFEST).write_bytes(msgspec.json.encode(manifest) + b"\n")
        leave_out = [f"--exclude=./{name}" for name in _LEFT_OUT]
        parts = ["-C", scratch, MANIFEST, "-C", str(root), "."]
        # Mounts of containers that run are no part of it, and sockets cannot be.
        options = ["--create", "--sparse", "--anchored", "--one-file-system", "--warning=no-file-ignored", *leave_out]
        try:
            _tar(*options, "--auto-compress", "--file", str(unfinished), *parts, fine=(0, 1))
            os.chmod(unfinished, 0o600)
            os.rename(unfinished, target)
        finally:
            unfinished.unlink(missing_ok=True)
    sync_directory(target.parent)
    say(f"{target}: {manifest.holds}; {target.stat().st_size} bytes")


def restore(config: EngineConfig, source: Path, say: Say) -> None:
    """Unpack a backup as the data root, which must have nothing yet. Hold the roots' locks meanwhile.

    It is unpacked beside, and then moved in: the database last. Raises SystemFault and InvalidParameter.
    """
    root = config.data_root
    manifest = _read_manifest(source)
    if (root / DATABASE).exists() or holdings(root):
        what = holdings(root) or "the database of an engine that has run, and nothing else"
        raise InvalidParameter(f"{root} has data already ({what}): move it away, as by: mv {root} {root}.before")
    if Path(manifest.data_root) != root:
        raise InvalidParameter(
            f"{source} is of the data root {manifest.data_root}, which its records name: restore it with "
            f"--data-root {manifest.data_root}"
        )
    aside = root / "restoring"
    discard_tree(aside)
    aside.mkdir(mode=0o700)
    options = ["--extract", "--same-owner", "--same-permissions", "--delay-directory-restore"]
    try:
        _tar(*options, "--file", str(source), "-C", str(aside))
    except BaseException:
        discard_tree(aside)
        raise
    (aside / MANIFEST).unlink()
    names = sorted(os.listdir(aside), key=lambda name: name == DATABASE)
    for name in names:
        discard_tree(root / name)
        os.rename(aside / name, root / name)
    shutil.copymode(aside, root)
    aside.rmdir()
    root.chmod(0o710)
    sync_directory(root)
    say(f"{root} is that of {manifest.created} (darse {manifest.version}): {manifest.holds}")


def _read_manifest(source: Path) -> BackupManifest:
    """The first member of an archive. Raises InvalidParameter."""
    if not source.is_file():
        raise InvalidParameter(f"{source} is {'no file' if source.exists() else 'not there'}")
    command = [*_TAR, "--extract", "--to-stdout", "--occurrence=1", "--file", str(source), MANIFEST]
    done = subprocess.run(command, capture_output=True, check=False)
    try:
        manifest = msgspec.json.decode(done.stdout, type=BackupManifest)
    except msgspec.DecodeError as error:
        raise InvalidParameter(f"{source} is no backup of a darse engine") from error
    if manifest.format > _FORMAT:
        raise InvalidParameter(f"{source} is written by a newer darse ({manifest.version}): upgrade darse")
    return manifest


def _tar(*words: str, fine: tuple[int, ...] = (0,)) -> None:
    """Run tar(1); status 1 says that a file has changed while it was read. Raises SystemFault."""
    done = subprocess.run([*_TAR, *words], stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode not in fine:
        lines = done.stderr.strip().splitlines()
        if len(lines) > _LINES:
            lines[_LINES:] = [f"and {len(lines) - _LINES} lines like these"]
        raise SystemFault(f"tar ended with {done.returncode}: {'; '.join(lines)}")
