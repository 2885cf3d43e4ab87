"""Volume drivers: where a volume's data is.

A driver makes, finds and removes the directory of a volume. `mount` is called before a container that uses the volume
starts and returns the directory on the host; `unmount` when no running container uses it any more. Both may be called
again at any time.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from darse.core import trace
from darse.core.errors import InvalidParameter, SystemFault
from darse.linux.fs import mounts
from darse.linux.fs.files import exchange, sync_directory
from darse.runtime.rootfs.trash import Trash
from darse.units import InvalidSize, parse_size
from darse.volumes import populate
from darse.volumes.quotas import VolumeQuotas

# mount(8)'s words for mount(2)'s flags: (flag, whether it is set); see linux/mount.h.
_REMOUNT = 32
_FLAGS = {
    "ro": (mounts.MS_RDONLY, True),
    "rw": (mounts.MS_RDONLY, False),
    "nosuid": (mounts.MS_NOSUID, True),
    "suid": (mounts.MS_NOSUID, False),
    "nodev": (mounts.MS_NODEV, True),
    "dev": (mounts.MS_NODEV, False),
    "noexec": (mounts.MS_NOEXEC, True),
    "exec": (mounts.MS_NOEXEC, False),
    "sync": (16, True),
    "async": (16, False),
    "mand": (64, True),
    "nomand": (64, False),
    "dirsync": (128, True),
    "noatime": (1024, True),
    "atime": (1024, False),
    "nodiratime": (2048, True),
    "diratime": (2048, False),
    "relatime": (1 << 21, True),
    "norelatime": (1 << 21, False),
    "strictatime": (1 << 24, True),
    "nostrictatime": (1 << 24, False),
    "bind": (mounts.MS_BIND, True),
    "rbind": (mounts.MS_BIND | mounts.MS_REC, True),
    "defaults": (0, True),
}
# Which options an option needs beside it (moby's volume/local).
_NEEDED = {"device": ("type",), "type": ("device",), "o": ("device", "type")}


#: The directory, among the volumes', of what is being deleted.
TRASH = ".trash"
# What older engines called such a directory.
REMOVED = ".removed-"
# After so many removals the next creation flushes them, so that not all names there ever were are kept.
_MOST_REMOVED = 1000
# The kernel's largest file is no larger (MAX_LFS_FILESIZE), nor is ext4's largest quota.
_LARGEST = (1 << 63) - 1
_log = logging.getLogger("darse.volumes")


class VolumeDriver(Protocol):
    """What the volume service asks of a driver."""

    def check(self, options: Mapping[str, str]) -> None:
        """Raise InvalidParameter for options it does not know."""

    def create(self, *names: str, options: Mapping[str, str]) -> None:
        """Make volumes; data that is there already is kept, and is the volume's."""

    def take_back(self, *names: str) -> None:
        """Undo `create` of volumes that could not be recorded; what has data in it stays."""

    def repair(self, name: str) -> None:
        """Bring a volume that exists in order after a crash."""

    def remove_empty(self, name: str) -> bool:
        """Remove a volume that has no data; False, and nothing is lost, when it has some."""

    def remove(self, name: str) -> Path | None:
        """Put a volume and its data out of the way; return what is to be deleted, None when it is gone."""

    def path(self, name: str) -> Path:
        """The directory of the data."""

    def mount(self, name: str, options: Mapping[str, str]) -> Path:
        """Have the data there; blocks as long as the file system takes."""

    def unmount(self, name: str) -> None:
        """No running container needs the data."""


class LocalDriver:
    """Directories under the data root; with `type`, `device` and `o` a mount of anything that mount(2) takes."""

    def __init__(self, root: Path) -> None:
        self._root = root
        # Beside the volumes, whose directory may be a file system of its own. No volume's name begins with a dot.
        self.trash = Trash(root / TRASH)
        self._quotas = VolumeQuotas(root)
        # Names whose removal the power going out may undo; None: any, for it is not known what an engine before did.
        self._removed: set[str] | None = None
        # Held by who changes, or flushes, what the names say.
        self._removing = threading.Lock()

    def check(self, options: Mapping[str, str]) -> None:
        """Raise InvalidParameter in docker's words."""
        for key, value in options.items():
            if key not in ("type", "device", "o", "size"):
                raise InvalidParameter(f'invalid option: "{key}"')
            if any(character in value for character in "\0\n"):
                raise InvalidParameter(f'invalid value of option "{key}"')
        for key, needed in _NEEDED.items():
            for other in needed:
                if key in options and not options.get(other):
                    raise InvalidParameter(f'missing required option: "{other}"')
        if len(options.get("o", "").encode()) > 4000 or len(options.get("device", "").encode()) > 4000:
            raise InvalidParameter("options longer than mount(2) takes")
        if size_of(options):
            if not self.keeps_sizes:
                raise InvalidParameter("quota size requested but no quota support")
            if "device" in options:
                raise InvalidParameter('option "size" is of a directory: what is mounted takes its own size in "o"')

    def open(self) -> None:
        """Make the directory of what is being deleted. What an engine before has left in it takes no size any more."""
        self.trash.open()
        for left in self.trash.directory.iterdir():
            self._free(left.name, self._quotas.project(left))

    def create(self, *names: str, options: Mapping[str, str] = MappingProxyType({})) -> None:
        """Make the directories that are not there: what nobody has recorded is never deleted.

        They are not flushed. The row is, and of a row whose directory the power has taken `repair` makes what there
        was: an empty one. Who flushes a file in it flushes its directories, too. But a name must not find its removed
        data again.
        """
        new = [name for name in names if not self.path(name).is_dir()]
        try:
            for name in new:
                self._make(name)
            if size := size_of(options):
                for name in names:
                    self._quotas.give(self._root / name, size)
            if self._may_return(new):
                self._flush_removals()
        except (OSError, SystemFault):
            self.take_back(*new)
            raise

    def _may_return(self, names: Iterable[str]) -> bool:
        """Whether a removed volume of one of these names may be there again when the power goes out now."""
        removed = self._removed
        return removed is None or len(removed) > _MOST_REMOVED or not removed.isdisjoint(names)

    def _flush_removals(self) -> None:
        with self._removing:
            sync_directory(self._root)
            self._removed = set()

    def _make(self, name: str) -> None:
        path = self.path(name)
        with trace.step("file", f"volume {name}", "mkdir", "-p", str(path)):
            path.parent.mkdir(mode=0o701, exist_ok=True)
            path.parent.chmod(0o701)
            path.mkdir(mode=0o755)
            path.chmod(0o755)

    def prepare(self, staged: Path, options: Mapping[str, str]) -> None:
        """Make a directory what a volume's is, with no data yet, to be given a name by `publish` or `exchange`.

        `discard` is due. Raises OSError, and SystemFault for a size that cannot be kept.
        """
        staged.chmod(0o701)
        if size := size_of(options):
            self._quotas.give(staged, size)
        (staged / "_data").mkdir(mode=0o755)
        (staged / "_data").chmod(0o755)

    def publish(self, name: str, staged: Path) -> None:
        """Have a volume that is new, with the data of a prepared directory of its file system. Raises OSError."""
        with trace.step("file", f"volume {name}", "mv", str(staged), str(self._root / name)):
            os.rename(staged, self._root / name)
            sync_directory(self._root)

    def exchange(self, name: str, staged: Path) -> None:
        """Have a prepared directory's data in place of a volume's, which is in that directory then. Raises OSError."""
        path = self.path(name)
        with trace.step("file", f"data of volume {name}", "mv", "--exchange", str(staged / "_data"), str(path)):
            populate.recover(path)
            if self._quotas.project(staged) or self._quotas.project(path.parent):
                # Each takes its project along: nothing is renamed from one into another.
                exchange(staged, path.parent)
                sync_directory(self._root)
                return
            exchange(staged / "_data", path)
            sync_directory(path.parent)

    def discard(self, staged: Path) -> None:
        """What is left of a prepared directory, which the trash removes then, has no size any more. Raises OSError."""
        self._quotas.free(self._quotas.project(staged))

    @property
    def keeps_sizes(self) -> bool:
        """Whether the file system keeps volumes within their sizes."""
        return self._quotas.enforced

    def size(self, name: str) -> int:
        """How many bytes a volume may take, as the file system has it; 0 for any. Raises OSError."""
        return self._quotas.size(self._root / name)

    def _free(self, name: str, project: int) -> None:
        """A number that stays taken is one of a thousand million."""
        try:
            self._quotas.free(project)
        except OSError as error:
            _log.warning("volume %s: its project %d keeps its limit: %s", name, project, error)

    def take_back(self, *names: str) -> None:
        """Remove the directories where they are empty."""
        for name in names:
            path = self.path(name)
            project = self._quotas.project(path.parent)
            for directory in (path, path.parent):
                with contextlib.suppress(OSError):
                    directory.rmdir()
            if project and not path.parent.exists():
                self._free(name, project)

    def repair(self, name: str) -> None:
        """Finish what populates the volume; make the directory again if the disk has lost it."""
        if self.path(name).is_dir():
            populate.recover(self.path(name))
        else:
            self.create(name)

    def remove(self, name: str) -> Path | None:
        """Move the directory to the trash, so that a removal that fails leaves nothing of that name."""
        directory = self._root / name
        if not os.path.lexists(directory):
            return None
        if self.remove_empty(name):
            return None
        self.unmount(name)
        with trace.step("file", f"remove volume {name}", "rm", "-r", str(directory)), self._removal(name):
            return self.trash.take(directory)

    def remove_empty(self, name: str) -> bool:
        """Remove a volume that nothing is in; False, and nothing is lost, when something is, or is mounted there."""
        path = self.path(name)
        # Before the directory goes: a crash in between leaves one whose removal is noted.
        self._free(name, self._quotas.project(path.parent))
        with trace.step("file", f"remove volume {name}", "rmdir", "-p", str(path)), self._removal(name):
            try:
                path.rmdir()
                path.parent.rmdir()
            except OSError:  # ENOTEMPTY, EBUSY, or what `remove` meets again and reports
                return False
        return True

    @contextlib.contextmanager
    def _removal(self, name: str) -> Iterator[None]:
        with self._removing:
            if self._removed is not None:
                self._removed.add(name)
            yield

    def path(self, name: str) -> Path:
        """`<data-root>/volumes/<name>/_data`, as docker has it."""
        return self._root / name / "_data"

    def mount(self, name: str, options: Mapping[str, str]) -> Path:
        """Mount what the options say, unless it is mounted; see to it that the size is kept. Raises SystemFault."""
        path = self.path(name)
        device = options.get("device")
        if size := size_of(options):
            try:
                self._quotas.give(path.parent, size)
            except (OSError, SystemFault) as error:
                reason = (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)
                raise SystemFault(f"error while mounting volume '{path}': {reason}") from error
        if device is None or mounts.is_mount_point(path):
            return path
        kind = options.get("type", "")
        flags, words = _split(options.get("o", ""))
        command = ("mount", "-t", kind, "-o", options.get("o", ""), device, str(path))
        text = ""
        with trace.step("mount", f"volume {name}", *command):
            try:
                text = (
                    ",".join(_resolved(word) for word in words) if kind.startswith(("nfs", "cifs")) else ",".join(words)
                )
                mounts.mount(device, str(path), kind, flags, text)
                if flags & mounts.MS_BIND and flags & mounts.MS_RDONLY:
                    # A bind takes other flags in a second step only (mount(2)).
                    mounts.mount(device, str(path), kind, flags | _REMOUNT, text)
            except (OSError, UnicodeError) as error:
                with contextlib.suppress(OSError):
                    mounts.unmount(str(path), mounts.MNT_DETACH)
                reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                raise SystemFault(
                    f"error while mounting volume '{path}': failed to mount local volume: mount {device}:{path}, "
                    f"flags: {flags:#x}" + (f", data: {_without_secrets(text)}" if text else "") + f": {reason.lower()}"
                ) from error
        return path

    def unmount(self, name: str) -> None:
        """Unmount what `mount` mounted, from under whoever still looks at it."""
        while mounts.is_mount_point(self.path(name)):
            mounts.unmount(str(self.path(name)), mounts.MNT_DETACH)


def size_of(options: Mapping[str, str]) -> int:
    """How many bytes a volume with such options may take; 0 for any number. Raises InvalidParameter."""
    if "size" not in options:
        return 0
    try:
        size = parse_size(options["size"])
    except InvalidSize as error:
        raise InvalidParameter(str(error)) from None
    if size > _LARGEST:
        raise InvalidParameter(f"invalid size: '{options['size']}': more than a file system has")
    return size


def _split(options: str) -> tuple[int, list[str]]:
    """mount(2)'s flags, and the words that the file system reads itself."""
    flags, words = 0, []
    for word in options.split(","):
        flag, is_set = _FLAGS.get(word, (0, True))
        flags = flags | flag if is_set else flags & ~flag
        if word and word not in _FLAGS:
            words.append(word)
    return flags, words


def _resolved(word: str) -> str:
    """The kernel's network file systems take addresses, not names. Raises OSError."""
    key, _, value = word.partition("=")
    if key != "addr":
        return word
    with contextlib.suppress(ValueError):
        return f"addr={ipaddress.ip_address(value)}"
    return f"addr={socket.getaddrinfo(value, None, type=socket.SOCK_STREAM)[0][4][0]}"


def _without_secrets(text: str) -> str:
    return ",".join("password=********" if word.startswith("password=") else word for word in text.split(","))
