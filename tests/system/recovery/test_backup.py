"""`system backup` and `restore`: what was there is there again, byte for byte."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.engine import BIN, BUSYBOX, Engine
from tests.support.waiting import wait_until


def system(engine: Engine, *words: str) -> subprocess.CompletedProcess[str]:
    roots = ["--data-root", str(engine.data_root), "--exec-root", str(engine.exec_root)]
    command = [str(BIN / "darse"), "system", *words, *roots]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_what_was_backed_up_is_there_again(new_engine: Callable[..., Engine], tmp_path: Path, suffix: str) -> None:
    engine = new_engine()
    darse = engine.darse
    darse("network", "create", "--label", "a=b", "net").ok()
    # A deletion and a directory that is new in the place of an old one: what overlay marks by devices and attributes.
    darse("run", "--name", "old", BUSYBOX, "sh", "-c", "mkdir /d; touch /d/old").ok()
    darse("commit", "old", "old:1").ok()
    script = "rm /bin/wget; rm -r /d; mkdir /d; touch /d/mine; echo data > /v/data; echo said"
    darse("run", "--name", "cc", "--network", "net", "-v", "vol:/v", "old:1", "sh", "-c", script).ok()
    darse("commit", "cc", "mine:1").ok()
    images = darse("images", "-q", "--no-trunc").ok().out
    file = tmp_path / f"backup{suffix}"
    refused = system(engine, "backup", str(file))
    assert refused.returncode == 1
    assert "another engine runs" in refused.stderr
    assert engine.stop() == 0
    done = system(engine, "backup", str(file))
    assert done.returncode == 0, done.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    refused = system(engine, "restore", str(file))
    assert "has data" in refused.stderr
    shutil.rmtree(engine.data_root)
    done = system(engine, "restore", str(file))
    assert done.returncode == 0, done.stderr
    assert "2 containers" in done.stdout
    engine.up()
    assert darse("images", "-q", "--no-trunc").ok().out == images
    assert darse("logs", "cc").ok().line == "said"
    assert darse("network", "inspect", "-f", "{{.Labels.a}}", "net").ok().line == "b"
    look = "ls /d; ls /bin/wget; cat /v/data"
    seen = darse("run", "--rm", "-v", "vol:/v", "mine:1", "sh", "-c", look)
    assert seen.out.split() == ["mine", "data"]
    assert "/bin/wget: No such file" in seen.err
    assert darse("system", "check").ok()


def test_what_is_no_backup_is_refused(tmp_path: Path) -> None:
    engine = Engine()
    (tmp_path / "other.tar").write_bytes(bytes(10240))
    refused = system(engine, "restore", str(tmp_path / "other.tar"))
    assert refused.returncode == 1
    assert "is no backup of a darse engine" in refused.stderr
    assert system(engine, "backup", str(tmp_path / "none.tar")).returncode == 1
    shutil.rmtree(engine.root)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_backup_that_is_cut_short_leaves_nothing(
    new_engine: Callable[..., Engine], tmp_path: Path, number: signal.Signals
) -> None:
    engine = new_engine()
    assert engine.stop() == 0
    # xz has something to do until the signal comes.
    (engine.data_root / "noise").write_bytes(os.urandom(32 << 20))
    roots = ["--data-root", str(engine.data_root), "--exec-root", str(engine.exec_root)]
    command = [str(BIN / "darse"), "system", "backup", str(tmp_path / "x.tar.xz"), *roots]
    with subprocess.Popen(command) as process:
        wait_until(lambda: any(tmp_path.iterdir()), 60, "the archive to be begun")
        process.send_signal(number)
        assert process.wait(60) == 128 + number
    assert not any(tmp_path.iterdir())


def test_half_a_backup_leaves_nothing(new_engine: Callable[..., Engine], tmp_path: Path) -> None:
    engine = new_engine()
    engine.darse("run", "--rm", BUSYBOX, "true").ok()
    assert engine.stop() == 0
    assert system(engine, "backup", str(tmp_path / "whole.tar")).returncode == 0
    with open(tmp_path / "whole.tar", "r+b") as file:
        file.truncate(file.seek(0, os.SEEK_END) // 2)
    shutil.rmtree(engine.data_root)
    refused = system(engine, "restore", str(tmp_path / "whole.tar"))
    assert "Unexpected EOF" in refused.stderr
    assert sorted(os.listdir(engine.data_root)) == ["lock"]


def test_where_a_backup_may_not_be(new_engine: Callable[..., Engine], tmp_path: Path) -> None:
    engine = new_engine()
    assert engine.stop() == 0
    (tmp_path / "link").symlink_to(engine.data_root)
    assert "in the data root itself" in system(engine, "backup", str(tmp_path / "link" / "x.tar")).stderr
    assert f"{tmp_path}/none is no directory" in system(engine, "backup", str(tmp_path / "none" / "x.tar")).stderr
    shutil.rmtree(engine.data_root)
    assert "nothing to back up" in system(engine, "backup", str(tmp_path / "x.tar")).stderr
    assert not engine.data_root.exists()
