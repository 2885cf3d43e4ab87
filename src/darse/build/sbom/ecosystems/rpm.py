"""Packages of rpm: its databases are binary and of three kinds, and none is read. A document says which it leaves out.

Silence would be taken for a system without packages.
"""

from __future__ import annotations

import os

from darse.build.sbom.files import TreeFiles
from darse.linux.fs.openat2 import open_in_root

_DATABASES = tuple(
    f"{directory}/{name}"
    for directory in ("var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm")
    for name in ("rpmdb.sqlite", "Packages.db", "Packages")
)


def unread(files: TreeFiles) -> list[str]:
    """The databases of a tree."""
    return [f"/{path}" for path in _DATABASES if _is_there(files.root, path)]


def _is_there(root: int, path: str) -> bool:
    try:
        os.close(open_in_root(root, path, os.O_PATH))
    except OSError:
        return False
    return True
