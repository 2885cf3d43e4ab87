"""A monitor that gets no time until its container is over, as happens on a machine that has too much to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.support.engine import BUSYBOX, Engine

# Stops conmon while the container runs, and lets it go on when the process has ended.
RUNTIME = """#!/bin/sh
case " $* " in *" start "*) ;; *) exec crun "$@" ;; esac
for id; do :; done
pid=$(crun "$1" state "$id" | sed -n 's/.*"pid": *\\([0-9]*\\).*/\\1/p')
monitor=$(awk '/^PPid/ {print $2}' "/proc/$pid/status")
kill -STOP "$monitor"
crun "$@"
until grep -q '^State:.*Z' "/proc/$pid/status"; do :; done
kill -CONT "$monitor"
"""


def test_output_is_whole_all_the_same(new_engine: Callable[..., Engine], tmp_path: Path) -> None:
    program = tmp_path / "starving"
    program.write_text(RUNTIME)
    program.chmod(0o755)
    engine = new_engine("--add-runtime", f"starving={program}")
    done = engine.darse("run", "--rm", "--runtime", "starving", BUSYBOX, "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.out, done.err, done.status) == ("out\n", "err\n", 3)
