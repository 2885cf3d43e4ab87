"""Volume drivers: where a volume's data is.

A driver makes, finds and removes the directory of a volume. `mount` is called before a container that uses the volume
starts and returns the directory on the host; `unmount` when no running container uses it any more. Both may be called
again at any time.
"""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from typing import Protocol

from darse.engine.errors import InvalidParameter, SystemFault
from darse.linux import mounts, trace
from darse.linux.files import sync_directory

_FLAGS = {
    "ro": mounts.MS_RDONLY,
    "nosuid": mounts.MS_NOSUID,
    "nodev": mounts.MS_NODEV,
    "noexec": mounts.MS_NOEXEC,
    "bind": mounts.MS_BIND,
    "rbind": mounts.MS_BIND | mounts.MS_REC,
}


class VolumeDriver(Protocol):
    """What the volume service asks of a driver."""

    def create(self, name: str, options: dict[str, str]) -> None:
        """Make a volume. Raises InvalidParameter for options it does not know."""

    def remove(self, name: str) -> None:
        """Remove a volume and its data; fine when it is gone."""

    def path(self, name: str) -> Path:
        """The directory of the data."""

    def mount(self, name: str, options: dict[str, str]) -> Path:
        """Have the data there; blocks as long as the file system takes."""

    def unmount(self, name: str, options: dict[str, str]) -> None:
        """No running container needs the data."""


class LocalDriver:
    """Directories under the data root; with `type`, `device` and `o` a mount of anything that mount(2) takes."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def create(self, name: str, options: dict[str, str]) -> None:
        """Make the directory."""
        for key in options:
            if key not in ("type", "device", "o", "size"):
                raise InvalidParameter(f"create {name}: invalid option: {key!r}")
        if options.get("o") and not options.get("device"):
            raise InvalidParameter(f'create {name}: missing required option: "device"')
        if options.get("device") and not (options.get("type") or "bind" in options.get("o", "")):
            raise InvalidParameter(f'create {name}: missing required option: "type"')
        path = self.path(name)
        with trace.step("file", f"volume {name}", "mkdir", "-p", str(path)):
            path.mkdir(mode=0o755, parents=True, exist_ok=True)
            path.parent.chmod(0o701)
            path.chmod(0o755)
            sync_directory(self._root)

    def remove(self, name: str) -> None:
        """Remove the directory."""
        directory = self._root / name
        if mounts.is_mount_point(self.path(name)):
            mounts.unmount(str(self.path(name)), mounts.MNT_DETACH)
        with trace.step("file", f"remove volume {name}", "rm", "-r", str(directory)):
            if directory.exists():
                shutil.rmtree(directory)

    def path(self, name: str) -> Path:
        """`<data-root>/volumes/<name>/_data`, as docker has it."""
        return self._root / name / "_data"

    def mount(self, name: str, options: dict[str, str]) -> Path:
        """Mount what the options say, unless it is mounted."""
        path = self.path(name)
        device = options.get("device")
        if device is None or mounts.is_mount_point(path):
            return path
        flags, words = 0, []
        for word in options.get("o", "").split(","):
            if word in _FLAGS:
                flags |= _FLAGS[word]
            elif word:
                words.append(_resolved(word) if options.get("type", "").startswith("nfs") else word)
        text = ",".join(words)
        with trace.step(
            "mount",
            f"volume {name}",
            "mount",
            "-t",
            options.get("type", "none"),
            "-o",
            options.get("o", ""),
            device,
            str(path),
        ):
            try:
                mounts.mount(device, str(path), options.get("type", ""), flags, text)
            except OSError as error:
                raise SystemFault(
                    f"failed to mount local volume: mount {device}:{path}, flags: {flags:#x}, data: {text}: "
                    f"{error.strerror}"
                ) from error
        return path

    def unmount(self, name: str, options: dict[str, str]) -> None:
        """Unmount what `mount` mounted."""
        path = self.path(name)
        if options.get("device") and mounts.is_mount_point(path):
            mounts.unmount(str(path))


def _resolved(word: str) -> str:
    """The kernel's NFS client takes addresses only."""
    key, _, value = word.partition("=")
    if key != "addr" or value.replace(".", "").isdecimal():
        return word
    return f"addr={socket.gethostbyname(os.fspath(value))}"
