"""Modes as chmod(1) writes them: `u=rwX,go-w`, applied to what a file has."""

from __future__ import annotations

import re

from darse.build.errors import BuildError

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)")
_CHANGE = re.compile(r"([-+=])([rwxXstugo]*)")
_SHIFTS = {"u": 6, "g": 3, "o": 0}


def symbolic_mode(text: str, mode: int, *, is_directory: bool) -> int:
    """The permission bits that a symbolic mode gives. Without `u`, `g` or `o` all are meant. Raises BuildError."""
    for clause in text.split(","):
        match = _CLAUSE.fullmatch(clause)
        if match is None:
            raise BuildError(f"invalid mode {text!r}")
        who = "ugo" if not match[1] or "a" in match[1] else match[1]
        for operator, letters in _CHANGE.findall(match[2]):
            bits = _bits(who, letters, mode, is_directory=is_directory)
            if operator == "+":
                mode |= bits
            elif operator == "-":
                mode &= ~bits
            else:
                mode = (mode & ~_all(who, is_directory=is_directory)) | bits
    return mode


def _bits(who: str, letters: str, mode: int, *, is_directory: bool) -> int:
    if letters in ("u", "g", "o"):
        permissions = mode >> _SHIFTS[letters] & 7
    else:
        permissions = 4 * ("r" in letters) | 2 * ("w" in letters) | ("x" in letters)
        if "X" in letters and (is_directory or mode & 0o111):
            permissions |= 1
    bits = 0
    for one in set(who):
        bits |= permissions << _SHIFTS[one]
    if "s" in letters:
        bits |= 0o4000 * ("u" in who) | 0o2000 * ("g" in who)
    if "t" in letters:
        bits |= 0o1000
    return bits


def _all(who: str, *, is_directory: bool) -> int:
    """The bits that `=` clears: set-id bits of directories stay, as with chmod(1)."""
    bits = 0
    for one in set(who):
        bits |= 7 << _SHIFTS[one]
    if not is_directory:
        bits |= 0o4000 * ("u" in who) | 0o2000 * ("g" in who)
    return bits
