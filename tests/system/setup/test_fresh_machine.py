"""The two commands of the README, on a machine that has nothing yet."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.engine import REPOSITORY

FRESH_MACHINE = Path(__file__).with_name("fresh-machine")

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(shutil.which("mmdebstrap") is None, reason="mmdebstrap is not installed (Debian package)"),
]


def on_a_fresh_machine(script: str) -> str:
    """Run a script in the repository's root on a fresh machine; what it printed. Raises AssertionError."""
    command = [str(FRESH_MACHINE), str(REPOSITORY), "bash", "-ec", script]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


def test_make_run_says_what_it_installs_and_shows_a_container() -> None:
    see, more = (f"$(sed -n 's/^To {word}[^:]*: *//p' said)" for word in ("see", "try"))
    # The second hint is for a terminal; that its command is there must do.
    script = f"make run | tee said; {see}; set -- {more}; $1 --help"
    script += "; echo SECOND; SECONDS=0; make run; echo SECONDS=$SECONDS; make stop; make stop"
    first, _, second = on_a_fresh_machine(script).partition("SECOND\n")
    assert "start darse-hello (" in first
    assert "Usage:  darse [OPTIONS] COMMAND" in first
    assert "Installing Debian packages:" in first
    assert "crun" in first
    assert "Hello from darse!" in first
    assert "Installing" not in second
    assert "Hello from darse!" in second
    assert int(second.partition("SECONDS=")[2].split()[0]) < 5
    assert second.rstrip().endswith("no engine is running: nothing to stop")


def test_without_root_there_is_a_message() -> None:
    said = on_a_fresh_machine("chown -R nobody . ; setpriv --reuid nobody --clear-groups make run 2>&1 || true")
    assert "darse needs root for now" in said
    assert "Traceback" not in said


@pytest.mark.timeout(3600)
def test_make_test_passes(tell: Callable[[str], None]) -> None:
    (summary,) = re.findall(r"^\d+ passed, \d+ failed, \d+ skipped$", on_a_fresh_machine("make test"), re.MULTILINE)
    tell(f"make test on a fresh machine: {summary}")
