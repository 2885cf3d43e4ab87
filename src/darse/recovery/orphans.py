"""Data on the disk that no record names: moved aside, never deleted by the engine before `KEPT_DAYS`.

    <data-root>/orphans/<kind>/<name>-<date>            the file or directory, as it was
    <data-root>/orphans/<kind>/<name>-<date>.json       where it was, when it was found, and why it is here

An orphan is moved by a rename, so what has it open or mounted goes on with it. `restore` puts back what has a place to
go to: `darse system check --rebuild` does. The owner removes all with `darse system check --remove-orphans`.

No clock decides alone that the time is over, for many machines start with a wrong one: each look at an orphan, which is
one at a start and one a day, adds at most a day to its age.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import msgspec

from darse.linux.fs.contained import remove_tree
from darse.linux.fs.files import read_regular, write_atomically

#: Days after which an orphan is removed.
KEPT_DAYS = 14
_DAY = 86400
_log = logging.getLogger("darse.orphans")


class Orphan(msgspec.Struct, frozen=True):
    """What was moved aside: its kind (`volumes`, `layers`, ...), name, former place, and where it is now.

    `age_s` is how long it was kept at the last look, at `seen_s`; times in seconds of the epoch.
    """

    kind: str
    name: str
    origin: str
    reason: str
    found_s: float
    path: str
    age_s: float = 0.0
    seen_s: float = 0.0


class Orphans:
    """The orphans of one data root."""

    def __init__(self, data_root: Path) -> None:
        self._root = data_root / "orphans"

    def set_aside(self, kind: str, path: Path, reason: str) -> Orphan:
        """Move a file or directory of the data root here, and say so in the log. Raises OSError."""
        directory = self._root / kind
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root.chmod(0o700)
        now = time.time()
        stem = f"{path.name[:150]}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}"
        target, number = directory / stem, 0
        while os.path.lexists(target) or os.path.lexists(_note(target)):
            number += 1
            target = directory / f"{stem}-{number}"
        orphan = Orphan(kind, path.name, str(path), reason, now, str(target))
        # The note first: without it nobody would know the place of what was moved.
        write_atomically(_note(target), msgspec.json.encode(orphan))
        os.rename(path, target)
        _log.warning("%s: %s; moved to %s, and kept there for %d days", path, reason, target, KEPT_DAYS)
        return orphan

    def all(self) -> list[Orphan]:
        """Every orphan, by kind and name; one whose note is damaged is recognised by its place alone."""
        found = []
        for kind in _entries(self._root):
            for path in _entries(kind):
                if _is_note(path):
                    continue
                try:
                    orphan = msgspec.json.decode(read_regular(_note(path)), type=Orphan)
                    found.append(msgspec.structs.replace(orphan, path=str(path)))
                except (OSError, msgspec.MsgspecError):
                    found.append(Orphan(kind.name, path.name, "", "its note is lost", path.lstat().st_ctime, str(path)))
        return found

    def restore(self, orphan: Orphan) -> bool:
        """Put an orphan back where it was; False when that is not known, or taken. Raises OSError."""
        origin = Path(orphan.origin)
        if not orphan.origin or os.path.lexists(origin):
            return False
        origin.parent.mkdir(parents=True, exist_ok=True)
        os.rename(orphan.path, origin)
        _note(Path(orphan.path)).unlink(missing_ok=True)
        return True

    def remove_orphan(self, orphan: Orphan) -> None:
        """Delete an orphan for good. Blocks. Raises OSError."""
        remove_tree(Path(orphan.path))
        _note(Path(orphan.path)).unlink(missing_ok=True)

    def expire(self) -> list[Orphan]:
        """Remove those whose time is over, and return them. Blocks; what cannot be removed is logged."""
        gone = []
        for orphan in self.all() if self._root.exists() else ():
            aged = _aged(orphan, time.time())
            try:
                if aged.age_s < KEPT_DAYS * _DAY:
                    if os.path.lexists(orphan.path):  # not removed by its owner meanwhile
                        write_atomically(_note(Path(orphan.path)), msgspec.json.encode(aged))
                    continue
                self.remove_orphan(orphan)
            except OSError as error:
                _log.warning("cannot look after the orphan %s: %s", orphan.path, error)
                continue
            _log.info("removed the orphan %s, which was kept for %d days", orphan.path, KEPT_DAYS)
            gone.append(orphan)
        return gone


def _aged(orphan: Orphan, now: float) -> Orphan:
    """An orphan after a look at it: older by the time since the last one, and by a day at most."""
    passed = now - (orphan.seen_s or orphan.found_s)
    return msgspec.structs.replace(orphan, age_s=orphan.age_s + min(max(passed, 0.0), _DAY), seen_s=now)


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _is_note(path: Path) -> bool:
    return path.suffix == ".json" and path.is_file() and os.path.lexists(path.with_suffix(""))
