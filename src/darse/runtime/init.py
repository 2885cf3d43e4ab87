"""The small program that `--init` puts before a container's own, as its first process: it reaps what others leave."""

from __future__ import annotations

import os
import shutil

_PROGRAMS = ("/usr/libexec/podman/catatonit", "/usr/bin/catatonit", "/usr/bin/tini-static", "/usr/bin/tini")


def find_init() -> str | None:
    """The installed init program, if any."""
    for candidate in _PROGRAMS:
        if os.access(candidate, os.X_OK):
            return candidate
    return shutil.which("catatonit") or shutil.which("tini")
