"""The null device that execs read from which nobody gives any input.

conmon opens /dev/null by that name for its exec, and the runtime hands the descriptor on. The process in the container
could change the host's device by it (fchmod(2)), for everybody on the host; and crun gives the device to the exec's
user. So conmons of execs are spawned in a copy of the mount namespace in which a device of their own is in its place.
Containers need none: their runtime opens the container's own device.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from darse.core import trace
from darse.linux.fs.mounts import MS_BIND, MS_NOEXEC, MS_NOSUID, MS_REC, MS_REMOUNT, MS_SLAVE, NamespaceThreads, mount

_NULL = "/dev/null"
_NAME = "null"
_MODE = 0o666
_log = logging.getLogger("darse.runtime")
T = TypeVar("T")


class NullDevice:
    """Makes the device of each exec, in the threads that spawn what is to use it.

    Each has one of its own, or containers could spoil each other's.
    """

    def __init__(self, threads: NamespaceThreads) -> None:
        """Until `prepare` the host's is used."""
        self._threads = threads
        self._works = False

    def prepare(self, directory: Path) -> None:
        """Try it in `directory`. It does not work without the right to make devices.

        That is in a user namespace, to which the host's device does not belong.
        """
        self._works = True
        try:
            self.call_with_device(_open_null, directory)
        except OSError as error:
            self._works = False
            _log.warning("execs read from the host's %s: there can be no other here: %s", _NULL, error)
        (directory / _NAME).unlink(missing_ok=True)

    def call_with_device(self, function: Callable[[], T], directory: Path) -> T:
        """Call `function` where a new device, made in `directory`, is at /dev/null, for what it spawns, too.

        Blocks. Raises OSError.
        """
        return self._threads.call(lambda: self._covered(function, directory / _NAME)) if self._works else function()

    def _covered(self, function: Callable[[], T], device: Path) -> T:
        device.unlink(missing_ok=True)
        with trace.step("file", f"the exec's null device, {device}", "mknod", "-m", "666", str(device), "c", "1", "3"):
            os.mknod(device, stat.S_IFCHR | _MODE, os.makedev(1, 3))
            device.chmod(_MODE)  # whatever the umask
        with self._threads.private_mounts():
            # Without this the bind would be made in the host's namespace as well, where /dev is shared.
            with trace.step("mount", "let nothing out of it", "mount", "--make-rslave", "/"):
                mount("", "/", "", MS_REC | MS_SLAVE)
            with trace.step("mount", f"the exec's null device at {_NULL}", "mount", "--bind", str(device), _NULL):
                mount(str(device), _NULL, "", MS_BIND)
            # The directory may be on a file system without devices.
            options = "remount,bind,nosuid,noexec,dev"
            with trace.step("mount", f"{_NULL} is a device", "mount", "-o", options, _NULL):
                mount("", _NULL, "", MS_BIND | MS_REMOUNT | MS_NOSUID | MS_NOEXEC)
            return function()


def _open_null() -> None:
    with open(_NULL, "rb", buffering=0) as opened:
        opened.read(1)
