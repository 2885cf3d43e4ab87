"""The versions of Python that darse supports, where this machine has them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SUPPORTED = ("3.11", "3.12", "3.13")


def find_python(version: str) -> str | None:
    """A Python of this version that can make virtual environments: the system's, or one that pyenv keeps."""
    kept = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python{version}"))
    for program in (shutil.which(f"python{version}", path="/usr/local/bin:/usr/bin"), *map(str, kept)):
        check = "import ensurepip, sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != sys.argv[1])"
        if (
            program
            and subprocess.run([program, "-c", check, version], check=False, capture_output=True).returncode == 0
        ):
            return program
    return None
