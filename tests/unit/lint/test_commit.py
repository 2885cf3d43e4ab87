"""Which subjects of commits are refused: by git's hook, and by `make lint`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.engine import REPOSITORY

PROGRAM = REPOSITORY / "lint" / "commit.py"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("networks: keep the address of a bridge that is made again\n\nWhy: because.\n", ""),
        ("cli, compose: one list of drivers", ""),
        ("build/cache: x", ""),
        (".ci: other Pythons are binding", ""),
        ("# a comment of git\nimages: x", ""),
        ("Merge branch 'x'", ""),
        ('Revert "images: x"', ""),
        ("fixup! whatever", ""),
        ("images: " + "x" * 92, ""),
        ("images: " + "x" * 93, "101 characters"),
        ("one table of modes", "must be `area: what changes`"),
        ("Images: x", "must be `area: what changes`"),
        ("images:", "must be `area: what changes`"),
        ("images: ", "must be `area: what changes`"),
        ("one table of Go's file modes; helpers: x", "must be `area: what changes`"),
        ("", "must be `area: what changes`"),
    ],
)
def test_subjects(tmp_path: Path, message: str, said: str) -> None:
    file = tmp_path / "COMMIT_EDITMSG"
    file.write_text(message)
    done = subprocess.run([sys.executable, PROGRAM, file], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (int(bool(said)), "")
    assert said in done.stdout
    assert bool(done.stdout) is bool(said)
