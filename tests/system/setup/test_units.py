"""The units of systemd: written, enabled and removed in another root; and an engine that is started as they say."""

from __future__ import annotations

import configparser
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.engine import BIN, BUSYBOX, REPOSITORY, Client, Engine
from tests.support.waiting import wait_until

UNITS = REPOSITORY / "setup" / "units.py"
_ACTIVATE = shutil.which("systemd-socket-activate")

needs_systemctl = pytest.mark.skipif(not shutil.which("systemctl"), reason="systemctl is not installed")
needs_activation = pytest.mark.skipif(_ACTIVATE is None, reason="systemd-socket-activate is not installed")


def units(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(UNITS), *words], capture_output=True, text=True, check=False)


def read(path: Path) -> configparser.ConfigParser:
    found = configparser.ConfigParser(strict=False, interpolation=None)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string(path.read_text())
    return found


def enabled(root: Path, unit: str) -> str:
    done = subprocess.run(
        ["systemctl", f"--root={root}", "is-enabled", unit], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


@needs_systemctl
def test_they_are_written_enabled_and_removed(tmp_path: Path) -> None:
    done = units("install", "--root", str(tmp_path))
    assert done.returncode == 0, done.stderr
    written = tmp_path / "etc/systemd/system"
    assert [enabled(tmp_path, one) for one in ("darsed.socket", "darsed.service")] == ["enabled", "enabled"]
    assert read(written / "darsed.socket")["Socket"]["ListenStream"] == "/run/darse/darse.sock"
    service = read(written / "darsed.service")["Service"]
    assert (service["KillMode"], service["Delegate"], service["Type"]) == ("process", "yes", "notify")
    assert not os.path.lexists(tmp_path / "usr/local/bin/docker")
    assert not os.path.lexists(tmp_path / "usr/local/bin/docker-compose")
    assert units("install", "--root", str(tmp_path)).returncode == 0  # once more changes nothing
    done = units("remove", "--root", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert [path for path in written.rglob("*") if not path.is_dir()] == []
    assert units("remove", "--root", str(tmp_path)).returncode == 0


@needs_systemctl
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    assert units("install", "--docker", "--root", str(tmp_path)).returncode == 0
    files = sorted((tmp_path / "etc/systemd/system").glob("darsed.*"))
    verify = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *map(str, files)]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    told = [line for line in done.stderr.splitlines() if "darsed" in line]
    assert told == []


@needs_systemctl
def test_being_docker_too(tmp_path: Path) -> None:
    assert units("install", "--docker", "--root", str(tmp_path)).returncode == 0
    text = (tmp_path / "etc/systemd/system/darsed.socket").read_text()
    assert "ListenStream=/run/docker.sock\n" in text
    link = tmp_path / "usr/local/bin/docker"
    assert os.readlink(link) == str(BIN / "darse")
    assert units("remove", "--root", str(tmp_path)).returncode == 0
    assert not os.path.lexists(link)


@needs_systemctl
@pytest.mark.parametrize("there", ["usr/lib/systemd/system/docker.socket", "usr/local/bin/docker"])
def test_what_is_dockers_stays_dockers(tmp_path: Path, there: str) -> None:
    path = tmp_path / there
    path.parent.mkdir(parents=True)
    path.write_text("docker's")
    done = units("install", "--docker", "--root", str(tmp_path))
    assert done.returncode != 0
    assert f"/{there}" in done.stderr
    assert "leave out --docker" in done.stderr
    assert path.read_text() == "docker's"
    assert not (tmp_path / "etc").exists()


@needs_systemctl
@needs_activation
def test_the_first_client_starts_the_engine(tmp_path: Path) -> None:
    assert _ACTIVATE is not None
    assert units("install", "--root", str(tmp_path)).returncode == 0
    started = read(tmp_path / "etc/systemd/system/darsed.service")["Service"]["ExecStart"].split()
    engine = Engine()
    passed = engine.root / "passed.sock"
    roots = ["--data-root", str(engine.data_root), "--exec-root", str(engine.exec_root)]
    with open(engine.log_path, "ab") as log:
        process = subprocess.Popen([_ACTIVATE, "-l", str(passed), *started, *roots], stderr=log, stdout=log)
        engine.process = process
        wait_until(passed.exists, 10, "the socket")
        client = Client(engine.darse.program, f"unix://{passed}", engine.root / "config")
        try:
            assert client("run", "--rm", BUSYBOX, "echo", "there", timeout=60).ok().line == "there"
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, engine.log()
            engine.process = None
            engine.close()
