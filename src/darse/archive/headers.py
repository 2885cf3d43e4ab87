"""Tar headers: ustar where it holds all there is to say, with a pax extended header before it where not.

The same entry always gives the same bytes.
"""

from __future__ import annotations

from darse.archive.tar import BLOCK, REGULAR, XATTR

# What an archive ends with.
END = bytes(2 * BLOCK)
_SMALL, _LARGE = 8**7 - 1, 8**11 - 1
_MAGIC = b"ustar\x0000"
_MAGIC_SUM = sum(_MAGIC)
# Names of user and group are left out.
_NO_NAMES = bytes(64)
_NO_DEVICE = b"%07o\0%07o\0" % (0, 0)


def entry_headers(
    path: bytes,
    kind: bytes,
    *,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    seconds: int = 0,
    link: bytes = b"",
    device: tuple[int, int] = (0, 0),
    xattrs: dict[bytes, bytes] | None = None,
    more: dict[bytes, bytes] | None = None,
) -> bytes:
    """The headers of an entry; `size` counts its bytes in the archive, `more` are further pax records."""
    records: dict[bytes, bytes] = dict(more or {})
    if len(path) > 100:
        records[b"path"] = path
    if len(link) > 100:
        records[b"linkpath"] = link
    for key, number, largest in ((b"uid", uid, _SMALL), (b"gid", gid, _SMALL), (b"size", size, _LARGE)):
        if number > largest:
            records[key] = b"%d" % number
    if not 0 <= seconds <= _LARGE:
        records[b"mtime"] = b"%d" % seconds
    for name, value in sorted((xattrs or {}).items()):
        records[XATTR + name] = value
    header = _header(path, kind, mode, uid, gid, size, seconds, link, device)
    if not records:
        return header
    content = b"".join(_record(key, value) for key, value in sorted(records.items()))
    name = b"PaxHeaders.0/" + path.rstrip(b"/").rpartition(b"/")[2]
    extended = _header(name, b"x", 0o644, 0, 0, len(content), 0, b"", (0, 0))
    return extended + padded(content) + header


def member(path: bytes, content: bytes, *, mode: int = 0o644, seconds: int = 0) -> bytes:
    """A whole entry: a file of root's."""
    return entry_headers(path, REGULAR, mode=mode, size=len(content), seconds=seconds) + padded(content)


def padded(content: bytes) -> bytes:
    """Content up to the next block."""
    return content + bytes(-len(content) % BLOCK)


def _record(key: bytes, value: bytes) -> bytes:
    """`LENGTH KEY=VALUE` and a newline; the length counts itself."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _header(
    path: bytes,
    kind: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    seconds: int,
    link: bytes,
    device: tuple[int, int],
) -> bytes:
    """The block of struct posix_header (tar(5)). A number that does not fit is in a record, and 0 here."""
    before = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" % (
        path[:100].ljust(100, b"\0"),
        mode,
        uid if 0 <= uid <= _SMALL else 0,
        gid if 0 <= gid <= _SMALL else 0,
        size if 0 <= size <= _LARGE else 0,
        seconds if 0 <= seconds <= _LARGE else 0,
    )
    major, minor = device
    devices = _NO_DEVICE if not major and not minor else b"%07o\0%07o\0" % device
    # The checksum is that of the block with eight spaces in the checksum's place; zeros add nothing.
    checksum = sum(before) + 8 * 0x20 + sum(kind) + sum(link[:100]) + _MAGIC_SUM + sum(devices)
    after = b"%06o\0 %b%b%b%b%b" % (checksum, kind, link[:100].ljust(100, b"\0"), _MAGIC, _NO_NAMES, devices)
    return (before + after).ljust(BLOCK, b"\0")
