"""Unpacks one layer, as a program of its own: `python -m darse.images.layer_worker DIRECTORY < archive`.

An archive is written by strangers. The worker changes its root to the target directory before it reads a byte, so
no path, symbolic link or hard link in the archive can name anything outside; a crash of the decoder ends only this
process, and a decoder that allocates without end ends at `_MEMORY`. What it prints is one JSON object: `diff_id` and
`size`; or `error`, why the archive is refused; or `fault`, why this host could not hold it.

libarchive calls a full disk a *warning* and goes on with the next file, so every warning of its writing half is taken
for what it is: the layer fails. Holes of sparse files stay holes.

Whiteouts of the OCI image specification (layer.md) become overlayfs's own (Documentation/filesystems/overlayfs.rst):
a character device 0/0 for `.wh.NAME`, and the attribute `trusted.overlay.opaque` for `.wh..wh..opq`. Overlay
attributes that an archive brings itself are dropped; they could make the kernel show other files than the layer's.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import posixpath
import resource
import stat
import sys
from typing import Any, BinaryIO

import libarchive
from libarchive import ffi
from libarchive.extract import new_archive_write_disk

from darse.images.compression import opened

_PREFIX = ".wh."
_OPAQUE = ".wh..wh..opq"
# What aufs kept in the layers of old engines (.wh..wh.plnk, .wh..wh.orph, …): no part of the image.
_AUFS = ".wh..wh."
_MEMORY = 2 * 1024**3
# The archive is not to blame for these.
_HOST_FAULTS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})
_BLOCK = 256 * 1024
_FLAGS = (
    libarchive.extract.EXTRACT_OWNER
    | libarchive.extract.EXTRACT_PERM
    | libarchive.extract.EXTRACT_TIME
    | libarchive.extract.EXTRACT_ACL
    | libarchive.extract.EXTRACT_XATTR
    | libarchive.extract.EXTRACT_UNLINK
    | libarchive.extract.EXTRACT_SECURE_NODOTDOT
)

_xattr_reset = ffi.libarchive.archive_entry_xattr_reset
_xattr_reset.argtypes = [ctypes.c_void_p]
_xattr_next = ffi.libarchive.archive_entry_xattr_next
_xattr_next.argtypes = [
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_char_p),
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_size_t),
]
_xattr_clear = ffi.libarchive.archive_entry_xattr_clear
_xattr_clear.argtypes = [ctypes.c_void_p]
_xattr_add = ffi.libarchive.archive_entry_xattr_add_entry
_xattr_add.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t]
_set_pathname = ffi.libarchive.archive_entry_set_pathname
_set_pathname.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
_set_hardlink = ffi.libarchive.archive_entry_set_hardlink
_set_hardlink.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
_pathname = ffi.libarchive.archive_entry_pathname
_pathname.argtypes = [ctypes.c_void_p]
_pathname.restype = ctypes.c_char_p
_hardlink = ffi.libarchive.archive_entry_hardlink
_hardlink.argtypes = [ctypes.c_void_p]
_hardlink.restype = ctypes.c_char_p


class Refused(Exception):
    """The archive holds something that no layer may hold."""


class _HashingStream:
    """Computes the diff ID of what libarchive reads."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.checksum = hashlib.sha256()

    def readinto(self, buffer: Any) -> int:
        """Read like a raw file."""
        piece = self._source.read(len(buffer))
        self.checksum.update(piece)
        buffer[: len(piece)] = piece
        return len(piece)

    def seekable(self) -> bool:
        """No: what is skipped is part of the digest too."""
        return False

    def drain(self) -> None:
        """Read what follows the archive's end marker; it is part of the digest."""
        while piece := self._source.read(_BLOCK):
            self.checksum.update(piece)


def unpack(source: BinaryIO) -> tuple[str, int]:
    """Unpack `source` into the current root; return the diff ID and the files' bytes."""
    stream = _HashingStream(opened(source))
    size = 0
    with (
        libarchive.stream_reader(stream, format_name="tar", filter_name="none", block_size=_BLOCK) as archive,
        new_archive_write_disk(_FLAGS) as disk,
    ):
        for entry in archive:
            if _is_whiteout(entry):
                continue
            _contain(entry)
            _done(disk, ffi.write_header(disk, entry._entry_p))
            written, goes_on = _copy(entry, disk)
            size += written
            _done(disk, ffi.write_finish_entry(disk))
            if not goes_on:
                break
        # Times and modes of directories are set last.
        _done(disk, ffi.write_close(disk))
    stream.drain()
    return f"sha256:{stream.checksum.hexdigest()}", size


def _copy(entry: Any, disk: Any) -> tuple[int, bool]:
    """Copy the entry's content block by block, holes left out; return the bytes written, and whether more may follow.

    An archive may end right behind its last content, without padding and end marker: what umoci writes does, and Go's
    reader, which other engines use, takes it.
    """
    block, length, offset = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_longlong()
    block_p, length_p, offset_p = ctypes.byref(block), ctypes.byref(length), ctypes.byref(offset)
    size = 0
    try:
        while ffi.read_data_block(entry._archive_p, block_p, length_p, offset_p) == ffi.ARCHIVE_OK:
            if length.value:
                _done(disk, ffi.write_data_block(disk, block, length, offset))
                size += length.value
    except libarchive.ArchiveError:
        if not size or size != entry.size:
            raise
        return size, False
    return size, True


def _done(disk: Any, code: int) -> None:
    """Raise Refused unless the writing half did all that it was to do.

    Attributes that the file system does not have, or has not for this kind of file, are left out as by docker; but a
    program without the capabilities that it should have is another program.
    """
    if code >= 0:
        return
    message = ffi.error_string(disk) or b"cannot be written"
    if b"extended attributes" in message and b"security.capability" not in message:
        return
    number = ffi.errno(disk)
    if number in _HOST_FAULTS:
        raise OSError(number, os.strerror(number))
    raise Refused(message.decode(errors="replace"))


def _contain(entry: Any) -> None:
    """Make paths relative to the root, and drop attributes that steer overlayfs."""
    path = _pathname(entry._entry_p) or b""
    relative = path.lstrip(b"/") or b"."
    if b".." in relative.split(b"/"):
        raise Refused(f"path {path!r} leaves the layer")
    _set_pathname(entry._entry_p, relative)
    target = _hardlink(entry._entry_p)
    if target is not None:
        _set_hardlink(entry._entry_p, target.lstrip(b"/"))
    kept = [(name, value) for name, value in _xattrs(entry._entry_p) if not name.startswith(b"trusted.overlay.")]
    _xattr_clear(entry._entry_p)
    for name, value in kept:
        _xattr_add(entry._entry_p, name, value, len(value))


def _xattrs(entry: Any) -> list[tuple[bytes, bytes]]:
    attributes = []
    name, value, size = ctypes.c_char_p(), ctypes.c_void_p(), ctypes.c_size_t()
    for _ in range(_xattr_reset(entry)):
        if _xattr_next(entry, ctypes.byref(name), ctypes.byref(value), ctypes.byref(size)) != 0:
            break
        attributes.append((name.value or b"", ctypes.string_at(value, size.value) if value.value else b""))
    return attributes


def _is_whiteout(entry: Any) -> bool:
    raw = (_pathname(entry._entry_p) or b"").rstrip(b"/")
    directory, name = posixpath.split(os.fsdecode(raw).lstrip("/"))
    components = directory.split("/")
    if name != _OPAQUE and any(component.startswith(_AUFS) for component in (*components, name)):
        return True
    if not name.startswith(_PREFIX):
        return False
    if ".." in components:
        raise Refused(f"path {raw!r} leaves the layer")
    parent = directory or "."
    os.makedirs(parent, exist_ok=True)
    if name == _OPAQUE:
        os.setxattr(parent, "trusted.overlay.opaque", b"y")
        return True
    hidden = name.removeprefix(_PREFIX)
    if hidden in ("", ".", ".."):
        raise Refused(f"whiteout {raw!r} names nothing")
    target = posixpath.join(parent, hidden)
    # A whiteout after an entry of the same layer hides what is below only.
    if not os.path.lexists(target):
        os.mknod(target, stat.S_IFCHR | 0o600, os.makedev(0, 0))
    return True


def main() -> None:
    """Unpack stdin into the directory that is the argument."""
    directory = sys.argv[1]
    # For the parents that an archive does not list; the modes of what it lists are set whatever the mask.
    os.umask(0o022)
    # Loaded before the root changes: afterwards nothing can be imported.
    import isal.igzip  # noqa: F401, PLC0415
    import zstandard  # noqa: F401, PLC0415

    "".encode("idna")
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    os.chroot(directory)
    os.chdir("/")
    try:
        diff_id, size = unpack(sys.stdin.buffer)
        answer: dict[str, object] = {"diff_id": diff_id, "size": size}
    except OSError as error:
        kind = "fault" if error.errno in _HOST_FAULTS else "error"
        answer = {kind: str(error)}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
