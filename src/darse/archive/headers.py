"""Writes tar headers: ustar where it holds all there is to say, with a pax extended header before it where not.

The same entry always gives the same bytes.
"""

from __future__ import annotations

import struct

from darse.archive.tar import BLOCK, XATTR

_FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_SMALL, _LARGE = 8**7 - 1, 8**11 - 1


class Headers:
    """Makes the headers of one archive."""

    def entry(
        self,
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
    fields = [
        path[:100],
        b"%07o\0" % mode,
        _octal(uid, _SMALL, 7),
        _octal(gid, _SMALL, 7),
        _octal(size, _LARGE, 11),
        _octal(seconds, _LARGE, 11),
        b" " * 8,
        kind,
        link[:100],
        b"ustar\x0000",
        b"",
        b"",
        _octal(device[0], _SMALL, 7),
        _octal(device[1], _SMALL, 7),
        b"",
    ]
    fields[6] = b"%06o\0 " % sum(_FIELDS.pack(*fields))
    return _FIELDS.pack(*fields)


def _octal(number: int, largest: int, digits: int) -> bytes:
    """A number that fits; what does not is in a record, and 0 here."""
    return b"%0*o\0" % (digits, number if 0 <= number <= largest else 0)
