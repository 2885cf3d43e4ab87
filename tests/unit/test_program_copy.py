"""The files of the program that an engine keeps, and one that ends meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import darse
from darse import program_copy

KEEP = """
import sys, threading
from pathlib import Path
from darse import program_copy
program_copy.keep(Path(sys.argv[1]), threading.Event())
import darse.durations
print(darse.durations.__file__)
"""


def test_modules_are_loaded_from_the_copy(tmp_path: Path) -> None:
    """In another process: the copy is for good."""
    done = subprocess.run([sys.executable, "-c", KEEP, tmp_path / "code"], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == str(tmp_path / "code" / "darse" / "durations.py")
    assert not (tmp_path / "code" / "darse" / "cli").exists()


def test_an_engine_that_ends_keeps_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = list(darse.__path__)
    ending, kept = threading.Event(), []

    def link(source: str, target: str) -> None:
        kept.append(source)
        ending.set()

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(program_copy.Stopped):
        program_copy.keep(tmp_path / "code", ending)
    assert len(kept) == 1
    assert list(darse.__path__) == before
