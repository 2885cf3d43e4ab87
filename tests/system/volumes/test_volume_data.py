"""`darse volume export`, `import`, `clone`, `snapshot`, `restore`, `du` and `graph` on a real engine."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Engine

FILL = (
    "umask 022; mkdir -p /data/sub; echo one > /data/sub/file; chown 70:71 /data/sub/file; chmod 4750 /data/sub/file; "
    "ln /data/sub/file /data/second; ln -s /etc/passwd /data/link; chmod 1770 /data; chown 5:6 /data; "
    "truncate -s 1G /data/holes"
)
SHOW = "cd /data && find . | sort | while read f; do stat -c '%n %a %u %g %h %F %s %Y' $f; done"


@pytest.fixture(autouse=True)
def emptied(engine: Engine) -> Iterator[None]:
    yield
    engine.remove_all()
    for volume in engine.docker("volume", "ls", "-q").ok().out.split():
        engine.docker("volume", "rm", "-f", volume).ok()


def shown(engine: Engine, volume: str) -> str:
    return engine.docker("run", "--rm", "-v", f"{volume}:/data", BUSYBOX, "sh", "-c", SHOW).ok().out


def test_a_volume_goes_through_an_archive_a_clone_and_a_snapshot(engine: Engine, tmp_path: Path) -> None:
    engine.docker("run", "--rm", "-v", "data:/data", BUSYBOX, "sh", "-c", FILL).ok()
    before = shown(engine, "data")
    archive = tmp_path / "data.tar"
    engine.darse("volume", "export", "-o", str(archive), "data").ok()
    listed = subprocess.run(["tar", "-tvf", str(archive)], capture_output=True, text=True, check=True).stdout
    assert "./sub/file" in listed
    assert archive.stat().st_size < 1 << 20
    assert engine.darse("volume", "import", "--label", "of=data", "again", str(archive)).ok().line == "again"
    assert engine.darse("volume", "clone", "data", "copy").ok().line == "copy"
    assert engine.darse("volume", "snapshot", "data", "kept").ok().line == "kept"
    for volume in ("again", "copy", "kept"):
        assert shown(engine, volume) == before
    assert engine.docker("volume", "ls", "-q", "--filter", "label=of=data").ok().line == "again"
    engine.docker("run", "--name", "user", "-v", "data:/data", BUSYBOX, "rm", "-r", "/data/sub").ok()
    engine.darse("volume", "restore", "data", "kept").ok()
    assert shown(engine, "data") == before
    again = engine.darse("volume", "import", "--replace", "data", input=archive.read_bytes()).ok()
    assert again.line == "data"
    assert shown(engine, "data") == before
    table = engine.darse("volume", "du", "data").ok().out
    assert "(all)" in table
    assert "sub" in table
    assert "└── user  /data  rw  exited" in engine.darse("volume", "graph").ok().out


def test_what_runs_keeps_its_volume(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "user", "-v", "data:/data", BUSYBOX, "sleep", "600").ok()
    engine.darse("volume", "snapshot", "data", "kept").ok()
    refused = engine.darse("volume", "restore", "data", "kept")
    assert refused.status == 1
    assert "is used by running containers" in refused.err
    engine.docker("exec", "user", "touch", "/data/alive").ok()
    engine.docker("rm", "-f", "user").ok()
    engine.darse("volume", "restore", "data", "kept").ok()


def test_export_of_a_volume_of_memory_is_what_its_container_sees(engine: Engine) -> None:
    options = ("--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=1m")
    engine.docker("volume", "create", *options, "memory").ok()
    engine.docker(
        *("run", "-d", "--name", "user", "-v", "memory:/m", BUSYBOX, "sh", "-c", "echo here > /m/file; sleep 600")
    ).ok()
    engine.docker("exec", "user", "sh", "-c", "until [ -s /m/file ]; do sleep 0.05; done").ok()
    archive = engine.darse("volume", "export", "memory").ok().raw
    assert b"here\n" in archive
    assert engine.docker("exec", "user", "cat", "/m/file").ok().out == "here\n"
