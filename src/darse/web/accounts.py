"""Users of the dashboard: a file of names, roles and hashed passwords (Argon2id, RFC 9106).

A line is `NAME:ROLE:HASH`; empty lines and those that begin with `#` are skipped. The file is read anew at each login,
so a user who is taken out of it cannot come in any more; sessions that there are end within a minute.
"""

from __future__ import annotations

import asyncio
import enum
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from argon2 import PasswordHasher

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
_LONGEST_PASSWORD = 1024


class Role(enum.IntEnum):
    """What a user may do; each role includes those before it."""

    LOOK = 1
    OPERATE = 2
    ADMINISTRATE = 3

    @property
    def word(self) -> str:
        """As it is written in the file and on the command line."""
        return self.name.lower()


class Account(NamedTuple):
    """A line of the file."""

    name: str
    role: Role
    password_hash: str


class AccountError(Exception):
    """The file, or what is to be written into it, is not right."""


class Accounts:
    """The users of a file; without one there are none."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        # A hash takes 64 MiB of memory while it is computed: one at a time.
        self._one_at_a_time = asyncio.Lock()
        self._nobody = ""

    async def check(self, name: str, password: str) -> Account | None:
        """The user of a name and a password. Raises AccountError for a file that is not right, OSError.

        An unknown name takes as long as a wrong password.
        """
        if self._path is None or len(password) > _LONGEST_PASSWORD:
            return None
        async with self._one_at_a_time:
            return await asyncio.to_thread(self._check, self._path, name, password)

    async def read(self) -> dict[str, Account]:
        """All of them. Raises AccountError for a file that is not right, OSError."""
        return await asyncio.to_thread(read_accounts, self._path) if self._path is not None else {}

    def _check(self, path: Path, name: str, password: str) -> Account | None:
        from argon2.exceptions import InvalidHashError, VerificationError  # noqa: PLC0415

        hasher = _hasher()
        found = read_accounts(path).get(name)
        if not self._nobody:
            self._nobody = hasher.hash(os.urandom(16))
        try:
            hasher.verify(found.password_hash if found is not None else self._nobody, password)
        except VerificationError:
            return None
        except InvalidHashError as error:
            raise AccountError(f"{path}: the password of {name} is no Argon2 hash") from error
        return found


def read_accounts(path: Path) -> dict[str, Account]:
    """The users of a file. Raises AccountError for what is not right in it, OSError."""
    mode = path.stat().st_mode
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise AccountError(f"{path} can be read or written by others than its owner: chmod 600 {path}")
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split(":", 2)
        roles = {role.word: role for role in Role}
        if len(words) != 3 or _NAME.fullmatch(words[0]) is None or words[1] not in roles:
            raise AccountError(
                f"{path}:{number}: a line is NAME:ROLE:HASH, with the role look, operate or administrate"
            )
        found[words[0]] = Account(words[0], roles[words[1]], words[2].strip())
    return found


def set_account(path: Path, name: str, role: str, password: str) -> None:
    """Add a user to a file, or change one. Raises AccountError and OSError."""
    roles = {one.word: one for one in Role}
    if _NAME.fullmatch(name) is None:
        raise AccountError(f"{name!r} is no user name: up to 64 letters, digits, and _ . @ -")
    if role not in roles:
        raise AccountError(f"{role!r} is no role: it is look, operate or administrate")
    if not 8 <= len(password) <= _LONGEST_PASSWORD:
        raise AccountError(f"a password has 8 to {_LONGEST_PASSWORD} characters")
    accounts = read_accounts(path) if path.exists() else {}
    accounts[name] = Account(name, roles[role], _hasher().hash(password))
    _write(path, accounts)


def remove_account(path: Path, name: str) -> None:
    """Take a user out of a file. Raises AccountError and OSError."""
    accounts = read_accounts(path)
    if accounts.pop(name, None) is None:
        raise AccountError(f"{path} has no user {name}")
    _write(path, accounts)


def _hasher() -> PasswordHasher:
    """Argon2id with the library's parameters: 64 MiB, three passes."""
    from argon2 import PasswordHasher  # noqa: PLC0415 - 1 MB, for who logs in with a password

    return PasswordHasher()


def _write(path: Path, accounts: dict[str, Account]) -> None:
    text = "".join(f"{one.name}:{one.role.word}:{one.password_hash}\n" for one in accounts.values())
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
