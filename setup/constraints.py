"""`make constraints`: write constraints.txt anew, with the latest versions that pyproject.toml allows.

The versions are those that pip installs into an empty environment; what changes is to be tested before it is committed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAD = """\
# The versions of the Python packages that darse is run, tested and linted with; for `pip install -c constraints.txt`.
# Written by `make constraints`.
"""


def main() -> None:
    """Install the project with all of its extras, and write down the versions that came."""
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([sys.executable, "-m", "venv", scratch], check=True)
        pip = [f"{scratch}/bin/python", "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "-q", f"{ROOT}[dev,browser]"], check=True)
        freeze = subprocess.run(
            [*pip, "freeze", "--all", "--exclude", "darse", "--exclude", "pip"],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    (ROOT / "constraints.txt").write_text(HEAD + freeze.stdout)


if __name__ == "__main__":
    main()
