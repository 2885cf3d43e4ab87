"""Subordinate ids of a user: whose `--userns-remap` means, and which they are; see subuid(5), subgid(5)."""

from __future__ import annotations

import grp
import pwd
import subprocess
from pathlib import Path
from typing import Final

import msgspec

from darse.core import trace
from darse.core.errors import InvalidParameter, SystemFault
from darse.linux.proc.userns import IdMaps, IdRange

#: The user of `--userns-remap=default`, as dockerd calls it.
DEFAULT_USER: Final = "dockremap"
SUBUID, SUBGID = Path("/etc/subuid"), Path("/etc/subgid")
_LARGEST = 2**32 - 1
# setfsuid(2) answers with the id before, in which larger ones cannot be told from errors.
_LARGEST_MAPPED = 2**31 - 1
_SECONDS = 60
# login.defs(5): SUB_UID_MIN, SUB_UID_COUNT.
_FIRST, _COUNT = 100000, 65536


class Subordinates(msgspec.Struct, frozen=True):
    """Whose ids containers get: a user's and a group's, each by name and number as subuid(5) knows them by."""

    user: tuple[str, str]
    group: tuple[str, str]


def find_subordinates(text: str) -> Subordinates | None:
    """Read `--userns-remap`: `default`, USER, UID, USER:GROUP or UID:GID; None when that is root, as for dockerd.

    Raises InvalidParameter.
    """
    user_name, colon, group = (DEFAULT_USER, "", "") if text == "default" else text.partition(":")
    if not user_name or (colon and not group) or ":" in group:
        raise InvalidParameter(f'invalid user/group specification string "{text}"')
    user = _user(user_name)
    if user.pw_uid == 0:
        return None
    # Without a group, the group of the user's name.
    found = _group(group or user.pw_name)
    return Subordinates((user.pw_name, str(user.pw_uid)), (found.gr_name, str(found.gr_gid)))


def _user(text: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(int(text)) if text.isdecimal() and int(text) <= _LARGEST else pwd.getpwnam(text)
    except KeyError:
        kind = "uid" if text.isdecimal() else "user"
        raise InvalidParameter(f"userns-remap: {kind} {text} has no entry in /etc/passwd") from None


def _group(text: str) -> grp.struct_group:
    try:
        return grp.getgrgid(int(text)) if text.isdecimal() and int(text) <= _LARGEST else grp.getgrnam(text)
    except KeyError:
        kind = "gid" if text.isdecimal() else "group"
        raise InvalidParameter(f"userns-remap: {kind} {text} has no entry in /etc/group") from None


def read_maps(owners: Subordinates, subuid: Path = SUBUID, subgid: Path = SUBGID) -> IdMaps:
    """The maps of containers' namespaces: each range of the files after the one before it.

    Raises InvalidParameter in docker's words.
    """
    users = _ranges(subuid, owners.user)
    # subgid(5) goes by the user, and people write the group.
    groups = _ranges(subgid, owners.user) or _ranges(subgid, owners.group)
    for kind, found in (("subuid", users), ("subgid", groups)):
        if not found:
            raise InvalidParameter(f'Can\'t create ID mappings: no {kind} ranges found for user "{owners.user[0]}"')
    return IdMaps(users, groups)


def _ranges(path: Path, names: tuple[str, str]) -> tuple[IdRange, ...]:
    found: list[IdRange] = []
    inside = 0
    for line in path.read_text().splitlines() if path.exists() else ():
        name, _, numbers = line.strip().partition(":")
        first, _, count = numbers.partition(":")
        if name not in names or name.startswith("#"):
            continue
        if not (first.isdecimal() and count.isdecimal()) or int(count) < 1 or int(first) + int(count) > _LARGEST:
            raise InvalidParameter(f"Can't create ID mappings: {path} has a malformed line: {line.strip()!r}")
        if int(first) + int(count) - 1 > _LARGEST_MAPPED:
            raise InvalidParameter(f"Can't create ID mappings: {path} gives {name} ids above {_LARGEST_MAPPED}")
        if int(first) == 0:
            raise InvalidParameter(f"Can't create ID mappings: {path} gives {name} the host's root")
        found.append(IdRange(inside, int(first), int(count)))
        inside += int(count)
    return tuple(found)


def make_default_user(subuid: Path = SUBUID, subgid: Path = SUBGID) -> None:
    """Have the user of `--userns-remap=default`, and subordinate ids for it that nobody else has.

    Raises InvalidParameter for malformed files, and SystemFault.
    """
    try:
        pwd.getpwnam(DEFAULT_USER)
    except KeyError:
        shell = ("--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin")
        _administer(f"add the user {DEFAULT_USER}", "useradd", "--system", "--user-group", *shell, DEFAULT_USER)
    names = (DEFAULT_USER, str(pwd.getpwnam(DEFAULT_USER).pw_uid))
    missing = [
        (option, path)
        for option, path in (("--add-subuids", subuid), ("--add-subgids", subgid))
        if not _ranges(path, names)
    ]
    if missing:
        first = first_free(subuid, subgid)
        text = f"{first}-{first + _COUNT - 1}"
        options = [word for option, _ in missing for word in (option, text)]
        _administer(f"give {DEFAULT_USER} subordinate ids", "usermod", *options, DEFAULT_USER)


def first_free(*files: Path) -> int:
    """The first id, not below what shadow begins with, from which on nobody has subordinate ids."""
    ends = [_FIRST]
    for path in files:
        for line in path.read_text().splitlines() if path.exists() else ():
            _, first, count = [*line.split(":"), "", ""][:3]
            if first.isdecimal() and count.isdecimal():
                ends.append(int(first) + int(count))
    return max(ends)


def _administer(what: str, program: str, *arguments: str) -> None:
    """Run one of shadow's programs, which know how to lock these files. Raises SystemFault."""
    command = [f"/usr/sbin/{program}", *arguments]
    with trace.step("file", what, *command):
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            message = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
            raise SystemFault(f"userns-remap: cannot {what}: {message}") from error
