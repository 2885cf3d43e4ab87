"""The files of the program that an engine keeps, and one that ends meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

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


def test_what_other_pythons_have_compiled_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take as many inodes again for each."""
    package, ours = tmp_path / "darse", f"a.{sys.implementation.cache_tag}.pyc"
    (package / "__pycache__").mkdir(parents=True)
    for name in ("__init__.py", "a.py", "a.pyi", f"__pycache__/{ours}", "__pycache__/a.cpython-399.pyc"):
        (package / name).touch()
    monkeypatch.setattr(darse, "__file__", str(package / "__init__.py"))
    # This process goes on to load from where it has loaded.
    monkeypatch.setattr(program_copy, "sys", SimpleNamespace(modules={}, implementation=sys.implementation))
    program_copy.keep(tmp_path / "code", threading.Event())
    kept = {str(path.relative_to(tmp_path / "code")) for path in (tmp_path / "code").rglob("*") if path.is_file()}
    assert kept == {"darse/__init__.py", "darse/a.py", f"darse/__pycache__/{ours}"}


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
