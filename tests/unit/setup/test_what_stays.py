"""`make clean` names what it leaves outside of the clone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.engine import REPOSITORY


def test_what_is_there_is_named(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog"
    catalog.mkdir()
    places = {"DARSE_CATALOG_CACHE": str(catalog), "DARSE_CLIENTS_CACHE": str(tmp_path / "absent")}
    command = [sys.executable, str(REPOSITORY / "setup" / "what_stays.py")]
    done = subprocess.run(command, env={**os.environ, **places}, capture_output=True, text=True, check=True)
    assert f"  {catalog}  images for the tests\n" in done.stdout
    assert "absent" not in done.stdout
    assert "docs/installation.md" in done.stdout
    assert catalog.exists()
    assert "setup/what_stays.py" in (REPOSITORY / "Makefile").read_text().partition("\nclean:")[2]
