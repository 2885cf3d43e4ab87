"""The engine's manual pages have every option, as flag and as member of the file."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from darse.engine.configuration.manual import pages
from darse.engine.configuration.table import OPTIONS


def test_every_option_is_there() -> None:
    found = dict(pages())
    for option in OPTIONS:
        if option.flag:
            assert rf"\-\-{option.flag.replace('-', chr(92) + '-')}\fR" in found["darsed.8"]
        assert rf"\fB{option.file_key.replace('-', chr(92) + '-')}\fR" in found["darse-daemon.json.5"]


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
def test_man_shows_them(tmp_path: Path) -> None:
    for name, text in pages():
        (tmp_path / name).write_text(text)
        shown = subprocess.run(["man", "-l", str(tmp_path / name)], capture_output=True, text=True, check=True)
        assert "DESCRIPTION" in shown.stdout
