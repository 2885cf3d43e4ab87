#!/usr/bin/env python3
"""`make deb`: the Debian packages `darse` and `darse-docker`, from what is committed or tracked here, into `build`.

    deb.py [--version VERSION] [--output DIR]

`debian/` says what is in them. The build runs in a copy, so that nothing of this directory gets into a package but what
git tracks; its time is that of the commit, and two builds of one commit are the same byte for byte (with the same
versions from PyPI, which constraints.txt says). See debian-policy(7), dpkg-buildpackage(1), reproducible-builds.org.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from email.utils import formatdate
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Build both packages, and have lintian look at them where it is installed."""
    parser = argparse.ArgumentParser(description="Build the Debian packages.")
    parser.add_argument("--version", help="the packages' version (default: darse's, and the commit)")
    parser.add_argument("--output", type=Path, default=ROOT / "build", help="where they are written (build)")
    options = parser.parse_args()
    seconds = int(git("log", "-1", "--format=%ct"))
    commit = git("rev-parse", "--short=12", "HEAD")
    when = time.gmtime(seconds)
    version = options.version or f"{own_version()}+git{time.strftime('%Y%m%d%H%M%S', when)}.{commit}"
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="darse-deb-") as scratch:
        copy = Path(scratch) / "darse"
        for name in git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
            if name and not name.startswith("tests/") and os.path.lexists(ROOT / name):
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
        (copy / "src/darse/_build").write_text(f"{commit}\n{time.strftime('%Y-%m-%dT%H:%M:%SZ', when)}\n")
        (copy / "debian/changelog").write_text(changelog(version, seconds))
        build(copy, seconds)
        made = [Path(shutil.move(one, options.output / one.name)) for one in sorted(Path(scratch).glob("*.deb"))]
    for one in made:
        print(one)
    if shutil.which("lintian") is not None:
        checked = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", *made], check=False)
        sys.exit(checked.returncode)


def build(copy: Path, seconds: int) -> None:
    """Have Debian's tools build the packages beside `copy`; what they print is shown when they fail."""
    pip = f"{ROOT / '.venv/bin/python'} -m pip"
    environment = {
        **os.environ,
        "SOURCE_DATE_EPOCH": str(seconds),
        "LC_ALL": "C.UTF-8",
        "PIP": pip,
        "DEB_BUILD_OPTIONS": "nocheck noautodbgsym",
        # Debian's own programs, not what else is called python3 here.
        "PATH": f"/usr/sbin:/usr/bin:/sbin:/bin:{os.environ.get('PATH', '')}",
    }
    os.umask(0o022)
    command = ["dpkg-buildpackage", "-b", "-us", "-uc", "-d"]
    done = subprocess.run(
        command, cwd=copy, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{done.stdout[-8000:]}\ndeb.py: {' '.join(command)} ended with {done.returncode}")


def changelog(version: str, seconds: int) -> str:
    """debian/changelog: one entry, for what has changed is in CHANGELOG.md (deb-changelog(5))."""
    return (
        f"darse ({version}) unstable; urgency=medium\n\n  * See /usr/share/doc/darse/CHANGELOG.md.gz.\n\n"
        f" -- The darse authors <darse@users.noreply.github.com>  {formatdate(seconds)}\n"
    )


def own_version() -> str:
    """The version that the sources say."""
    text = (ROOT / "src/darse/__init__.py").read_text(encoding="utf-8")
    found = re.search(r'__version__ = "([^"]+)"', text)
    assert found is not None
    return found[1]


def git(*words: str) -> str:
    """What a git command prints here."""
    return subprocess.run(["git", "-C", str(ROOT), *words], check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
