"""Who a container's process runs as: `user[:group]` looked up in the container's own /etc/passwd and /etc/group.

Those files belong to the image. They are opened within the container's root only, at most a few megabytes of a
regular file are read, and a line with anything odd in it does not exist: runtimes that read `root:x::` as uid 0 have
given containers away (moby reads malformed numbers as 0). Which entry counts follows moby/sys/user.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from darse.core.errors import InvalidParameter
from darse.linux.fs.openat2 import read_regular

_LIMIT = 4 * 1024 * 1024
# What a request may name; files may go up to 2**32 - 2, which is nobody's on some systems.
_LARGEST_ID = 2**31 - 1
_LARGEST_KERNEL_ID = 2**32 - 2


class ResolvedUser(msgspec.Struct, frozen=True):
    """Numbers for the kernel, and the home directory for HOME."""

    uid: int = 0
    gid: int = 0
    additional_gids: tuple[int, ...] = ()
    home: str = "/"


class _User(msgspec.Struct, frozen=True):
    name: bytes
    uid: int
    gid: int
    home: bytes


class _Group(msgspec.Struct, frozen=True):
    name: bytes
    gid: int
    members: frozenset[bytes]


def lookup_user(root_fd: int, text: str, group_add: Sequence[str] = ()) -> ResolvedUser:
    """Resolve `user`, `uid`, `user:group` … as docker does.

    `root_fd` is a descriptor of the container's root. Raises InvalidParameter in docker's words.
    """
    requested, _, group = text.partition(":")
    found = _find_user(root_fd, requested)
    if not (group or group_add or found.name):
        return ResolvedUser(found.uid, found.gid, (), _home(found))
    groups = list(_groups(root_fd))
    gid = found.gid
    additional: list[int] = []
    if group:
        chosen = _group_id(group, groups)
        if chosen is None:
            raise InvalidParameter(f"unable to find group {group}: no matching entries in group file")
        gid = chosen
    elif found.name:
        additional = [entry.gid for entry in groups if found.name in entry.members and entry.gid != gid]
    for extra in group_add:
        number = _group_id(extra, groups)
        if number is None:
            raise InvalidParameter(f"Unable to find group {extra}: no matching entries in group file")
        additional.append(number)
    return ResolvedUser(found.uid, gid, tuple(dict.fromkeys(additional)), _home(found))


def _home(user: _User) -> str:
    return user.home.decode(errors="replace") or "/"


def _find_user(root_fd: int, requested: str) -> _User:
    """The first entry that counts: by number when a number is asked for, else by name; root when nobody is."""
    number = _number(requested) if requested else 0
    name = requested.encode()
    for entry in _users(root_fd):
        if entry.uid == number if number is not None else entry.name == name:
            return entry
    if number is None:
        raise InvalidParameter(f"unable to find user {requested}: no matching entries in passwd file")
    return _User(b"", number, 0, b"/")


def _group_id(requested: str, groups: Sequence[_Group]) -> int | None:
    number = _number(requested)
    if number is not None:
        return number
    name = requested.encode()
    return next((entry.gid for entry in groups if entry.name == name), None)


def _number(text: str) -> int | None:
    """A uid or gid as requests write them, or None when it is a name. Raises InvalidParameter when out of range."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()):
        return None
    if text != digits or len(digits) > 10 or int(digits) > _LARGEST_ID:
        raise InvalidParameter(f"uids and gids must be in range 0-{_LARGEST_ID}")
    return int(digits)


def _users(root_fd: int) -> Iterator[_User]:
    for parts in _entries(root_fd, "/etc/passwd", 7):
        uid, gid = _file_number(parts[2]), _file_number(parts[3])
        if uid is not None and gid is not None:
            yield _User(parts[0], uid, gid, parts[5])


def _groups(root_fd: int) -> Iterator[_Group]:
    for parts in _entries(root_fd, "/etc/group", 4):
        gid = _file_number(parts[2])
        if gid is not None:
            yield _Group(parts[0], gid, frozenset(parts[3].split(b",")) - {b""})


def _file_number(text: bytes) -> int | None:
    if not text.isdigit() or len(text) > 10 or int(text) > _LARGEST_KERNEL_ID:
        return None
    return int(text)


def _entries(root_fd: int, path: str, fields: int) -> Iterator[list[bytes]]:
    """The lines of a file with its fields; a line may lack some at its end."""
    for line in (read_regular(root_fd, path, _LIMIT) or b"").split(b"\n"):
        parts = line.strip().split(b":")
        if len(parts) >= 3 and parts[0]:
            yield (parts + [b""] * fields)[: max(fields, len(parts))]
