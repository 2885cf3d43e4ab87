"""Nothing that a container leaves behind keeps the engine from starting, nor others from being removed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.support.engine import BUSYBOX, Engine
from tests.support.waiting import wait_until
from tests.system.trees.making import nest


def test_a_thousand_nested_directories_stop_nothing(new_engine: Callable[..., Engine]) -> None:
    """With default rights a container can nest deeper than the interpreter recurses."""
    engine = new_engine()
    docker = engine.docker
    script = "i=0; while [ $i -lt 1100 ]; do mkdir d && cd d || break; i=$((i+1)); done"
    docker("run", "--name", "deep", BUSYBOX, "sh", "-c", script).ok()
    docker("system", "df").ok()
    assert docker("ps", "-as", "--format", "{{.Names}}").ok().line == "deep"
    docker("diff", "deep").ok()
    docker("start", "-a", "deep").ok()
    docker("rm", "deep").ok()
    nest(engine.data_root / "trash", 3000)
    engine.kill9()
    engine.restart()
    wait_until(lambda: not list((engine.data_root / "trash").iterdir()), what="an empty trash")


def test_what_cannot_be_removed_stays_and_doctor_tells_of_it(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    stuck = engine.data_root / "trash/stuck"
    (stuck / "sub").mkdir(parents=True)
    kept = stuck / "sub/kept"
    kept.touch()
    subprocess.run(["mount", "--bind", kept, kept], check=True)
    try:
        engine.restart()
        engine.docker("run", "--name", "other", BUSYBOX, "true").ok()
        engine.docker("rm", "other").ok()
        wait_until(lambda: "cannot remove" in engine.log(), what="the reason in the log")
        found = engine.darse("doctor").out
        assert str(stuck) in found, found
        assert _names(engine.data_root / "trash") == ["stuck"]
    finally:
        subprocess.run(["umount", kept], check=True)
    engine.restart()
    wait_until(lambda: not _names(engine.data_root / "trash"), what="an empty trash")


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())
