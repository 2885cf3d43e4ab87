#!/usr/bin/env python3
"""Fetches what the dashboard has of other projects, as it is in the npm registry: `setup/vendored.py`, for developers.

Each archive is checked against the digest below, and of it the listed files are written into the package, with their
licence and a list of what is there. To take a newer version: change version and digest, run it, run the browser tests.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "src" / "darse" / "web" / "static" / "vendor"


class VendoredPackage(NamedTuple):
    """A version of a package, the SHA-256 of its archive, and which of its files go where."""

    name: str
    version: str
    licence: str
    digest: str
    files: tuple[tuple[str, str], ...]


PACKAGES = (
    VendoredPackage(
        "uplot",
        "1.6.32",
        "MIT",
        "4b8a8191e425658e3ea8c8c1314b0fc679c861ee3a1af2b20c7b16ba50b5133d",
        (
            ("dist/uPlot.esm.js", "uplot/uPlot.esm.js"),
            ("dist/uPlot.min.css", "uplot/uPlot.min.css"),
            ("LICENSE", "uplot/LICENSE"),
        ),
    ),
    VendoredPackage(
        "@xterm/xterm",
        "6.0.0",
        "MIT",
        "908e66e04af6c8dc6b00dd3b54de088e2e81e5ed866284fd6c2fb3c2d1c7a3f6",
        (
            ("lib/xterm.mjs", "xterm/xterm.mjs"),
            ("css/xterm.css", "xterm/xterm.css"),
            ("LICENSE", "xterm/LICENSE"),
        ),
    ),
    VendoredPackage(
        "@xterm/addon-fit",
        "0.11.0",
        "MIT",
        "26003b4517a132b64e4ff228fd88a5fda3fff5e606c76093f6dcff772e9ecec0",
        (("lib/addon-fit.mjs", "xterm/addon-fit.mjs"), ("LICENSE", "xterm/LICENSE.addon-fit")),
    ),
)


def main() -> int:
    """Fetch and write all of it; the exit status is 1 when an archive is not what it should be."""
    lines = ["What is here is of other projects, unchanged (`setup/vendored.py`); SHA-256 of the npm archives.\n"]
    with tempfile.TemporaryDirectory() as scratch:
        for package in PACKAGES:
            name = f"{package.name}@{package.version}"
            subprocess.run(["npm", "pack", "--silent", name], cwd=scratch, check=True, stdout=subprocess.DEVNULL)
            archive = Path(scratch) / f"{package.name.replace('@', '').replace('/', '-')}-{package.version}.tgz"
            found = hashlib.sha256(archive.read_bytes()).hexdigest()
            if found != package.digest:
                print(f"{name} is {found}, not {package.digest}", file=sys.stderr)
                return 1
            with tarfile.open(archive) as tar:
                for inside, target in package.files:
                    member = tar.extractfile(f"package/{inside}")
                    assert member is not None
                    path = TARGET / target
                    path.parent.mkdir(parents=True, exist_ok=True)
                    # Without the address of a map that is not here.
                    kept = [
                        line for line in member.read().splitlines(True) if not line.startswith(b"//# sourceMappingURL")
                    ]
                    path.write_bytes(b"".join(kept))
            lines.append(f"- {package.name} {package.version}, {package.licence}: {package.digest}\n")
    (TARGET / "VENDORED.md").write_text("".join(lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
