"""Pipes in the place of the engine's files: to open one waits for its other end, and no start may wait for that."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX
from tests.support.waiting import wait_until
from tests.system.recovery.bench import Bench

SECONDS = 15.0
# What is not the engine's own, or refuses the start (below).
_TREES = ("code", "fs", "upper", "work", "_data", "rootfs", "merged", "runtime-crun", "runtime-runc", "bin")
_DATABASE = ("state.sqlite", "state.sqlite-wal", "state.sqlite-shm", "state.sqlite-journal")
# Files that a crash may leave, and others that are not always there.
_MORE = (
    "d/.state.backup.sqlite.new",
    "d/.engine-id.new",
    "d/state.backup.sqlite",
    "d/records/.serial.new",
    "d/records/.images.json.new",
    "d/orphans/volumes/odd",
    "d/orphans/volumes/odd.json",
    "d/volumes/odd",
    f"d/containers/{'b' * 64}",
    f"d/images/blobs/sha256/{'c' * 64}",
    "d/ingest/odd",
    "d/partials/odd",
    f"x/bundles/{'b' * 64}",
    f"x/execs/{'b' * 64}",
    f"x/execs/{'d' * 64}/exec.json",
    f"x/exits/{'b' * 64}",
)


def files(root: Path) -> Iterator[Path]:
    """The engine's own files below its roots."""
    for directory, inner, names in os.walk(root):
        inner[:] = [name for name in inner if name not in _TREES]
        for name in names:
            path = Path(directory, name)
            if name not in _DATABASE and stat.S_ISREG(path.lstat().st_mode):
                yield path


def plant(path: Path) -> None:
    """Have a pipe there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def up(bench: Bench) -> None:
    """Start the engine; it must be ready soon."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.support.engine._READY_SECONDS", SECONDS)
        bench.engine.up()
    assert "Traceback" not in bench.engine.log(1 << 20)


def everything_answers(bench: Bench) -> None:
    """Whatever it is that the lists say; a new container works."""
    docker, darse = bench.engine.docker, bench.engine.darse
    for command in (("ps", "-a"), ("images",), ("volume", "ls"), ("network", "ls"), ("system", "df")):
        docker(*command, timeout=SECONDS).ok()
    for container in docker("ps", "-aq").out.split():
        docker("logs", container, timeout=SECONDS)
        darse("explain", container, timeout=SECONDS)
    for image in docker("images", "-q").out.split():
        docker("save", image, timeout=SECONDS)
    darse("doctor", timeout=SECONDS)
    darse("system", "check", timeout=SECONDS)
    docker("network", "create", "new", timeout=SECONDS).ok()
    docker("network", "rm", "new").ok()


def test_files_of_the_data_root(bench: Bench) -> None:
    present = {path.relative_to(bench.data).parts[0] for path in files(bench.data)}
    assert present >= {"containers", "images", "records", "reserve", "lock", "engine-id"}
    for path in (*files(bench.data), *(bench.engine.root / more for more in _MORE)):
        plant(path)
    up(bench)
    everything_answers(bench)
    assert bench.engine.docker("start", "-a", "ended", timeout=SECONDS).out == "said\n"
    bench.engine.docker("restart", "ended", timeout=SECONDS).ok()
    bench.engine.docker("wait", "ended", timeout=SECONDS).ok()
    bench.engine.docker("rm", "ended", timeout=SECONDS).ok()
    assert bench.engine.stop() == 0


def test_files_of_the_exec_root_and_of_what_runs(bench: Bench) -> None:
    engine = bench.engine
    engine.up()
    health = ("--health-cmd", "true", "--health-interval", "1s")
    log = ("--log-driver", "syslog", "--log-opt", "syslog-address=udp://127.0.0.1:9")
    runner = engine.docker("run", "-d", "--name", "runner", *health, BUSYBOX, "sleep", "1000").ok().line
    engine.docker("run", "-d", "--name", "shipped", *log, BUSYBOX, "sh", "-c", "echo said; sleep 1000").ok()
    client = engine.docker.popen("exec", "runner", "sleep", "1000")
    wait_until(lambda: list((engine.exec_root / "execs").glob("*/pid")), what="an exec")
    wait_until(lambda: engine.docker("ps", "-q", "--filter", "health=healthy").ok().line, what="a healthy container")
    engine.kill9()
    client.communicate()
    try:
        planted = [*files(engine.exec_root), *files(engine.data_root / "containers")]
        assert {"config.json", "pid", "exec.json", "shipping.json", "hosts", f"{runner}.log"} <= {
            path.name for path in planted
        }
        for path in planted:
            plant(path)
        up(bench)
        everything_answers(bench)
        assert engine.docker("inspect", "-f", "{{.State.Status}}", "runner").ok().line == "running"
        engine.docker("restart", "-t", "0", "runner", timeout=SECONDS).ok()
        engine.docker("network", "connect", "net", "runner", timeout=SECONDS).ok()
    finally:
        engine.docker("rm", "-f", "runner", "shipped", timeout=SECONDS)
    assert engine.stop() == 0


@pytest.mark.parametrize(
    "name", [*_DATABASE[:2], *(pytest.param(one, marks=pytest.mark.heavy) for one in _DATABASE[2:])]
)
def test_a_pipe_among_the_files_of_the_database_is_a_refusal(bench: Bench, name: str) -> None:
    plant(bench.data / name)
    before = bench.prints()
    line = bench.refused()
    assert f"{bench.data / name} is not a regular file" in line
    assert "move it away" in line
    assert bench.prints() == before
    bench.rebuild().ok()
    up(bench)
    bench.everything_is_there()


def test_a_pipe_for_a_pidfile_is_a_refusal(bench: Bench, tmp_path: Path) -> None:
    plant(tmp_path / "pid")
    command = [*bench.engine.command(), "--pidfile", str(tmp_path / "pid")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 1
    assert f"cannot write the pidfile {tmp_path / 'pid'}: it is not a regular file" in done.stderr
