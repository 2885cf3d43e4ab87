"""Which build of darse this is: the commit, and since when its files are here.

A clone says it itself (gitrepository-layout(5)); other installations have a file `_build` of two lines beside this one.
"""

from __future__ import annotations

import os
import time

# Enough of a commit's name to be the only one.
_DIGITS = 12


def identity(package: str = "") -> tuple[str, str]:
    """The commit, and a time (RFC 3339); both empty where nothing says so.

    package: the directory of the package; this module's own unless given.
    """
    package = package or os.path.dirname(os.path.abspath(__file__))
    try:
        with open(os.path.join(package, "_build"), encoding="ascii") as file:
            commit, when, *_ = [*file.read().split("\n"), ""]
            return commit, when
    except OSError:
        return _of_clone(os.path.dirname(os.path.dirname(package)))


def _of_clone(directory: str) -> tuple[str, str]:
    try:
        repository = _repository(os.path.join(directory, ".git"))
        head = os.path.join(repository, "HEAD")
        commit = _commit(repository, _text(head))
        # Every checkout, commit and pull writes a line there.
        log = os.path.join(repository, "logs", "HEAD")
        seconds = os.stat(log if os.path.exists(log) else head).st_mtime
    except OSError:
        return "", ""
    return commit[:_DIGITS], time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _repository(path: str) -> str:
    """The directory of a clone's data; of a worktree `.git` is a file that names it."""
    if os.path.isdir(path):
        return path
    return os.path.join(os.path.dirname(path), _text(path).removeprefix("gitdir: "))


def _commit(repository: str, head: str) -> str:
    if not head.startswith("ref: "):
        return head
    name = head.removeprefix("ref: ")
    places = [repository]
    common = os.path.join(repository, "commondir")
    if os.path.exists(common):
        places.append(os.path.join(repository, _text(common)))
    for place in places:
        path = os.path.join(place, name)
        if os.path.exists(path):
            return _text(path)
    for line in _text(os.path.join(places[-1], "packed-refs")).split("\n"):
        if line.endswith(f" {name}"):
            return line.partition(" ")[0]
    return ""


def _text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read().strip()
