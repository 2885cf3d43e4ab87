"""Who a container's process runs as: `user[:group]` looked up in the container's own /etc/passwd and /etc/group.

Those files belong to the image. They are opened within the container's root only, and at most a few megabytes of a
regular file are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from darse.engine.errors import InvalidParameter
from darse.linux.openat2 import read_regular

_LIMIT = 4 * 1024 * 1024
_LARGEST_ID = 2**31 - 1


@dataclass(frozen=True)
class ResolvedUser:
    """Numbers for the kernel, and the home directory for HOME."""

    uid: int = 0
    gid: int = 0
    additional_gids: tuple[int, ...] = ()
    home: str = "/"


def lookup_user(root_fd: int, text: str, group_add: Sequence[str] = ()) -> ResolvedUser:
    """Resolve `user`, `uid`, `user:group` … as docker does.

    `root_fd` is a descriptor of the container's root. Raises InvalidParameter in docker's words.
    """
    user, _, group = text.partition(":")
    users = list(_entries(read_regular(root_fd, "/etc/passwd", _LIMIT), 7))
    groups = list(_entries(read_regular(root_fd, "/etc/group", _LIMIT), 4))
    uid, gid, home, name = _user(user, users)
    additional: list[int] = []
    if group:
        gid = _group(group, groups)
    elif name:
        additional = [
            int(entry[2])
            for entry in groups
            if entry[2].isdecimal() and name in entry[3].split(",") and int(entry[2]) != gid
        ]
    for extra in group_add:
        number = _group(extra, groups)
        if number not in additional:
            additional.append(number)
    return ResolvedUser(uid, gid, tuple(additional), home)


def _user(wanted: str, users: Iterable[list[str]]) -> tuple[int, int, str, str]:
    number = int(wanted) if wanted.isascii() and wanted.isdecimal() else None
    for entry in users:
        if not (entry[2].isdecimal() and entry[3].isdecimal()):
            continue
        if (
            (wanted or "root") == entry[0]
            or (number is not None and int(entry[2]) == number)
            or (not wanted and int(entry[2]) == 0)
        ):
            return int(entry[2]), int(entry[3]), entry[5] or "/", entry[0]
    if not wanted:
        return 0, 0, "/root", ""
    if number is None:
        raise InvalidParameter(f"unable to find user {wanted}: no matching entries in passwd file")
    if number > _LARGEST_ID:
        raise InvalidParameter(f"uids and gids must be in range 0-{_LARGEST_ID}")
    return number, 0, "/", ""


def _group(wanted: str, groups: Iterable[list[str]]) -> int:
    for entry in groups:
        if entry[0] == wanted and entry[2].isdecimal():
            return int(entry[2])
    if not (wanted.isascii() and wanted.isdecimal()):
        raise InvalidParameter(f"unable to find group {wanted}: no matching entries in group file")
    if int(wanted) > _LARGEST_ID:
        raise InvalidParameter(f"uids and gids must be in range 0-{_LARGEST_ID}")
    return int(wanted)


def _entries(content: bytes | None, fields: int) -> Iterator[list[str]]:
    for line in (content or b"").decode(errors="replace").splitlines():
        parts = line.strip().split(":")
        if len(parts) >= min(fields, 4) and not line.startswith("#"):
            yield parts + [""] * (fields - len(parts))
