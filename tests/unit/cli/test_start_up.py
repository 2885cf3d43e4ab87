"""What a command costs before it does anything is what it imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_SOURCE = Path(__file__).resolve().parents[3] / "src"
_HEAVY = {"typing", "re", "enum", "json", "socket", "ssl", "subprocess", "msgspec", "tempfile", "darse.distribution"}


def _imported(*line: str) -> set[str]:
    """The modules that a command line has loaded in the end, without those of the site."""
    code = f"import sys; from darse.cli import entry; entry.run({list(line)!r}); print(*sys.modules, file=sys.stderr)"
    command = [sys.executable, "-S", "-c", code]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(_SOURCE), "HOME": "/nonexistent"}, capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


@pytest.mark.parametrize("line", [["version", "--client"], ["--version"], ["--help"], ["context", "--help"]])
def test_what_needs_no_engine_loads_no_client(line: list[str]) -> None:
    loaded = _imported(*line)
    assert not loaded & (_HEAVY - {"re", "enum", "typing"} if "--help" in line else _HEAVY)
    assert not [name for name in loaded if name.startswith(("darse.client.blocking", "darse.cli.templates"))]


def test_help_of_run_loads_no_registry() -> None:
    loaded = _imported("run", "--help")
    assert not loaded & {"msgspec", "ssl", "tempfile", "darse.distribution", "darse.cli.engine.pull"}


@pytest.mark.parametrize(
    ("line", "loads"),
    [
        (["ps"], False),
        (["ps", "-q"], False),
        (["ps", "--format", r"table {{.ID}}\t{{.Size}}"], False),
        (["ps", "--format", "json"], True),
        (["inspect", "c"], False),
        (["inspect", "-f", "{{.Id}}", "c"], True),
    ],
)
def test_templates_are_loaded_by_formats_that_need_them(line: list[str], loads: bool) -> None:
    answers = {("GET", "/containers/json"): [], ("GET", "/containers/c/json"): {"Id": "c"}}
    code = f"import sys; from tests.unit.cli.fake import run; run({line!r}, {answers!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=_SOURCE.parent, capture_output=True, text=True, check=True)
    assert ("darse.cli.templates" in done.stdout.split()) is loads
