"""The units of systemd: written, enabled and removed in another root; and an engine that is started as they say."""

from __future__ import annotations

import configparser
import json
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from tests.support.engine import BIN, BUSYBOX, Client, Engine
from tests.support.waiting import wait_until

from darse.cli.service import units

_ACTIVATE = shutil.which("systemd-socket-activate")

needs_systemctl = pytest.mark.skipif(not shutil.which("systemctl"), reason="systemctl is not installed")
needs_activation = pytest.mark.skipif(_ACTIVATE is None, reason="systemd-socket-activate is not installed")


def system(root: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of `darse system` on the system below `root`."""
    settings = {**os.environ, "DOCKER_CONFIG": str(root / "config"), **environment}
    command = [str(BIN / "darse"), "system", *words, "--root", str(root)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=settings)


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
    done = system(tmp_path, "enable")
    assert done.returncode == 0, done.stderr
    written = tmp_path / "etc/systemd/system"
    assert [enabled(tmp_path, one) for one in ("darsed.socket", "darsed.service")] == ["enabled", "enabled"]
    assert read(written / "darsed.socket")["Socket"]["ListenStream"] == "/run/darse/darse.sock"
    service = read(written / "darsed.service")["Service"]
    assert (service["KillMode"], service["Delegate"], service["Type"]) == ("process", "yes", "notify")
    assert service["WatchdogSec"] == "2min"
    assert not os.path.lexists(tmp_path / "usr/local/bin/docker")
    assert system(tmp_path, "enable").returncode == 0  # once more changes nothing
    done = system(tmp_path, "disable")
    assert done.returncode == 0, done.stderr
    assert [path for path in written.rglob("*") if not path.is_dir()] == []
    assert system(tmp_path, "disable").returncode == 0


@needs_systemctl
def test_those_of_a_package_are_enabled_as_they_are(tmp_path: Path) -> None:
    packaged = tmp_path / "usr/lib/systemd/system"
    packaged.mkdir(parents=True)
    for name, text in ((units.SOCKET_UNIT, units.socket("darse")), (units.SERVICE_UNIT, units.service("/usr/bin/d"))):
        (packaged / name).write_text(text)
    assert system(tmp_path, "enable").returncode == 0
    assert enabled(tmp_path, "darsed.service") == "enabled"
    assert not (tmp_path / "etc/systemd/system/darsed.service").exists()
    assert system(tmp_path, "disable").returncode == 0
    assert enabled(tmp_path, "darsed.service") == "disabled"
    assert (packaged / "darsed.service").exists()


@needs_systemctl
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    assert system(tmp_path, "takeover").returncode == 0
    files = sorted((tmp_path / "etc/systemd/system").glob("darse*.*"))
    assert [path.name for path in files] == ["darse-docker.socket", "darsed.service", "darsed.socket"]
    verify = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *map(str, files)]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    told = [line for line in done.stderr.splitlines() if "darse" in line]
    assert told == []


@needs_systemctl
def test_taking_dockers_place_and_leaving_it(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/docker-compose").write_text("compose's own")
    done = system(tmp_path, "takeover")
    assert done.returncode == 0, done.stderr
    unit = read(tmp_path / "etc/systemd/system/darse-docker.socket")["Socket"]
    assert (unit["ListenStream"], unit["Service"]) == ("/run/docker.sock", "darsed.service")
    link = tmp_path / "usr/local/bin/docker"
    assert os.readlink(link) == str(BIN / "darse")
    assert "docker-compose stays what it is: /usr/bin/docker-compose" in done.stdout
    assert not os.path.lexists(tmp_path / "usr/local/bin/docker-compose")
    (meta,) = (tmp_path / "config").rglob("meta.json")
    assert json.loads(meta.read_text())["Endpoints"]["docker"]["Host"] == "unix:///run/darse/darse.sock"
    assert system(tmp_path, "takeover").returncode == 0  # once more changes nothing
    done = system(tmp_path, "takeover", "--undo")
    assert done.returncode == 0, done.stderr
    assert not os.path.lexists(link)
    assert list((tmp_path / "config").rglob("meta.json")) == []
    assert not (tmp_path / "etc/systemd/system/darse-docker.socket").exists()
    assert enabled(tmp_path, "darsed.service") == "enabled"


@needs_systemctl
def test_where_docker_is_installed_its_place_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "usr/lib/systemd/system/docker.socket"
    path.parent.mkdir(parents=True)
    path.write_text("docker's")
    done = system(tmp_path, "takeover")
    assert done.returncode != 0
    assert "/usr/lib/systemd/system/docker.socket" in done.stderr
    assert path.read_text() == "docker's"
    assert not (tmp_path / "etc").exists()


@needs_systemctl
def test_a_docker_that_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "usr/local/bin/docker"
    path.parent.mkdir(parents=True)
    path.write_text("docker's client")
    assert system(tmp_path, "takeover").returncode == 0
    assert system(tmp_path, "takeover", "--undo").returncode == 0
    assert path.read_text() == "docker's client"


@needs_systemctl
def test_what_stays_is_named(tmp_path: Path) -> None:
    assert system(tmp_path, "enable").returncode == 0
    assert "is kept" not in system(tmp_path, "disable").stdout
    for name in ("containers/a", "containers/b", "volumes/c"):
        (tmp_path / "var/lib/darse" / name).mkdir(parents=True)
    assert "/var/lib/darse is kept: 2 containers, 1 volumes\n" in system(tmp_path, "disable").stdout


def test_a_root_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    for what in ("enable", "disable", "takeover"):
        refused = system(tmp_path / "none", what)
        assert (refused.returncode, refused.stderr.startswith(f"{tmp_path}/none is no directory")) == (1, True)
    assert not (tmp_path / "none").exists()


def test_without_systemd_a_socket_that_is_served_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "bin").mkdir()
    path = tmp_path / "run/docker.sock"
    nothing = {"PATH": str(tmp_path / "bin")}
    with socket.socket(socket.AF_UNIX) as served:
        served.bind(str(path))
        served.listen()
        refused = system(tmp_path, "takeover", **nothing)
        assert (refused.returncode, "a program serves /run/docker.sock" in refused.stderr) == (1, True)
        assert path.is_socket()
        assert not (tmp_path / "usr").exists()
    # It has ended.
    for _ in range(2):
        assert system(tmp_path, "takeover", **nothing).returncode == 0
        assert os.readlink(path) == "/run/darse/darse.sock"
    assert system(tmp_path, "takeover", "--undo", **nothing).returncode == 0
    assert not os.path.lexists(path)


@needs_systemctl
@needs_activation
def test_the_first_client_starts_the_engine(tmp_path: Path) -> None:
    assert _ACTIVATE is not None
    assert system(tmp_path, "enable").returncode == 0
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
