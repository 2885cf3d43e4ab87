"""The engine's manual pages have every option, as flag and as member of the file."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from darse.core.config import RELOADABLE, EngineConfig
from darse.engine.configuration.manual import markdown, pages
from darse.engine.configuration.table import OPTIONS

DOCS = Path(__file__).resolve().parents[4] / "docs"


def test_every_option_is_there() -> None:
    found = dict(pages())
    for option in OPTIONS:
        if option.flag:
            assert rf"\-\-{option.flag.replace('-', chr(92) + '-')}\fR" in found["darsed.8"]
        assert rf"\fB{option.file_key.replace('-', chr(92) + '-')}\fR" in found["darse-daemon.json.5"]


def test_the_documentation_has_every_option_as_the_table_has_it() -> None:
    assert (DOCS / "options.md").read_text() == markdown(), "docs/options.md is old: `make docs` writes it"
    assert [one.file_key for one in OPTIONS if not one.meaning] == []


def test_defaults_are_those_of_the_engine() -> None:
    config = msgspec.structs.asdict(EngineConfig())
    for option in OPTIONS:
        held = config.get(option.file_key.replace("-", "_"))
        if isinstance(held, bool):
            assert option.default == str(held).lower(), option.file_key
        elif isinstance(held, int) and held and option.kind == "number":
            assert option.default == str(held), option.file_key
        elif isinstance(held, str) and held:
            assert option.default.strip('"').startswith(held), option.file_key


def test_what_a_reload_takes_over_is_said() -> None:
    assert {one.file_key.replace("-", "_") for one in OPTIONS if one.is_reloaded} == {*RELOADABLE} - {
        "runtime_arguments"
    }


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
def test_man_shows_them(tmp_path: Path) -> None:
    for name, text in pages():
        (tmp_path / name).write_text(text)
        shown = subprocess.run(["man", "-l", str(tmp_path / name)], capture_output=True, text=True, check=True)
        assert "DESCRIPTION" in shown.stdout
