"""A file system that stops answering: FUSE (fuse(4), linux/fuse.h) with a server that looks away on demand.

It is what a file server is that has gone: whoever looks at it waits, in the kernel, until it is aborted.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import stat
import struct
import threading
from pathlib import Path

_HEADER = struct.Struct("=IIQQIIII")
_LOOKUP, _FORGET, _GETATTR, _STATFS, _INIT, _OPENDIR, _READDIR, _RELEASEDIR = 1, 2, 3, 17, 26, 27, 28, 29
_MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)


class SilentFileSystem:
    """An empty directory, mounted; after `fall_silent` every look at it blocks until `close`."""

    def __init__(self, target: Path) -> None:
        target.mkdir(exist_ok=True)
        self.path = str(target)
        self._listening, self._silence = os.pipe2(os.O_CLOEXEC)
        self._device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._device},rootmode=40000,user_id=0,group_id=0,allow_other"
        if _libc.mount(b"silent", self.path.encode(), b"fuse", 0, options.encode()) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), self.path)
        threading.Thread(target=self._serve, name="fuse", daemon=True).start()
        self._connection = os.minor(os.stat(self.path).st_dev)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # it is aborted
            # Requests that nobody has read can be broken off by a kill, as those to a file server.
            while self._listening not in select.select([self._device, self._listening], [], [])[0]:
                self._answer(os.read(self._device, 1 << 17))

    def _answer(self, request: bytes) -> None:
        _, opcode, unique, *_ = _HEADER.unpack_from(request)
        if opcode == _FORGET:
            return
        body, error = b"", 0
        if opcode == _INIT:
            body = struct.pack("=IIIIHHIIHHI28x", 7, 31, 0, 0, 12, 9, 4096, 1, 0, 0, 0)
        elif opcode == _GETATTR:
            attributes = struct.pack("=6Q10I", 1, *[0] * 5, *[0] * 3, stat.S_IFDIR | 0o777, 2, 0, 0, 0, 4096, 0)
            body = struct.pack("=QII", 0, 0, 0) + attributes
        elif opcode == _STATFS:
            body = struct.pack("=5QIIII24x", *[0] * 5, 4096, 255, 4096, 0)
        elif opcode == _OPENDIR:
            body = struct.pack("=QII", 1, 0, 0)
        elif opcode not in (_READDIR, _RELEASEDIR):
            error = -errno.ENOENT if opcode == _LOOKUP else -errno.ENOSYS
        os.write(self._device, struct.pack("=IiQ", 16 + len(body), error, unique) + body)

    def fall_silent(self) -> None:
        """Answer nothing any more."""
        os.write(self._silence, b"0")

    def close(self) -> None:
        """Abort it: whoever waits gets ENOTCONN; and unmount it. Once more does nothing."""
        if self._device < 0:
            return
        with contextlib.suppress(OSError):
            Path(f"/sys/fs/fuse/connections/{self._connection}/abort").write_text("1")
        _libc.umount2(self.path.encode(), _MNT_DETACH)
        for descriptor in (self._device, self._listening, self._silence):
            os.close(descriptor)
        self._device = -1
