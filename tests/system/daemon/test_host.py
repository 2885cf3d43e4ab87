"""What the engine changes on the host while it runs, and takes back."""

import os
import subprocess
import sys

import pytest
from tests.support.engine import BUSYBOX

from darse.linux.fs.mounts import change_file_system


def test_crun_runs_from_where_nobody_can_write(new_engine):
    engine = new_engine()
    engine.docker("run", "--rm", BUSYBOX, "true").ok()
    program = engine.exec_root / "bin" / "crun"
    # The second, where some engine's crun runs just now.
    with pytest.raises(OSError, match=r"Read-only file system|Text file busy"):
        program.open("ab")
    engine.kill9()
    engine.up()
    assert engine.docker("run", "--rm", BUSYBOX, "echo", "again").ok().line == "again"


@pytest.fixture
def file_system(tmp_path):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,size=1m", "tmpfs", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def _options(path):
    return set(subprocess.check_output(["findmnt", "-no", "OPTIONS", path], text=True).strip().split(","))


def test_an_option_is_switched_and_the_others_stay(file_system):
    before = _options(file_system)
    assert {"nosuid", "size=1024k"} <= before
    smaller, larger = frozenset({"size=1024k"}), frozenset({"size=2048k"})
    assert change_file_system(file_system, larger, smaller)
    assert _options(file_system) == before - smaller | larger
    assert not change_file_system(file_system, larger, smaller)


def test_an_unknown_option_is_an_error_and_changes_nothing(file_system):
    before = _options(file_system)
    with pytest.raises(OSError, match="Invalid argument"):
        change_file_system(file_system, frozenset({"nonsense"}), frozenset())
    assert _options(file_system) == before


def test_a_stop_lets_a_removal_finish_that_a_client_was_told_of(new_engine):
    engine = new_engine()
    for _ in range(6):
        engine.docker("run", "--rm", "-v", "/data", BUSYBOX, "true").ok()
        assert engine.stop() == 0
        for room in ("containers", "snapshots", "volumes", "volumes/.trash"):
            assert {path.name for path in (engine.data_root / room).iterdir()} <= {".trash"}
        engine.up()


def test_nothing_is_written_where_the_engine_was_started(new_engine):
    engine = new_engine()
    assert os.readlink(f"/proc/{engine.pid}/cwd") == str(engine.exec_root)
    killed = engine.docker("run", "-m", "8m", BUSYBOX, "sh", "-c", "head -c 64m /dev/zero | tail")
    assert killed.status == 137
    assert not os.path.exists("oom")


def test_a_mount_that_another_one_covers_is_no_mount_point(tmp_path):
    """What starts an engine after something was mounted over its run directory: the table has the old mount still."""
    program = f"""
set -e
mount -t tmpfs outer {tmp_path}; mkdir {tmp_path}/bundles; mount --bind {tmp_path}/bundles {tmp_path}/bundles
show() {{ {sys.executable} -c 'import sys, pathlib; from darse.linux.fs.mounts import is_mount_point, private_bind
p = pathlib.Path(sys.argv[1]); print(is_mount_point(p))
if sys.argv[2:]: private_bind(p); print(is_mount_point(p))' {tmp_path}/bundles $1; }}
show
mount -t tmpfs over {tmp_path}; mkdir {tmp_path}/bundles
show bind
"""
    command = ["unshare", "--mount", "sh", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.stderr) == (["True", "False", "True"], "")
