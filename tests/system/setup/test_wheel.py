"""A wheel installs into an empty virtual environment of each supported Python, and what it installs runs containers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.engine import REPOSITORY, Client, Engine
from tests.support.pythons import SUPPORTED, find_python

import darse
from darse import revision

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]


class InstalledEngine(Engine):
    """An engine, and the command, of a virtual environment with nothing but the wheel and what it requires."""

    binaries: Path

    @property
    def darse(self) -> Client:
        """The command that was installed."""
        return Client(str(self.binaries / "darse"), self.host, self.root / "config")

    def command(self) -> list[str]:
        """The engine that was installed."""
        roots = ["--data-root", str(self.data_root), "--exec-root", str(self.exec_root)]
        return [str(self.binaries / "darsed"), *roots, *self.flags]


def run(*command: str) -> str:
    """Run a program in a directory where nothing of the repository is found; what it printed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd="/")
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built from a copy: a build leaves files beside the sources."""
    copy = tmp_path_factory.mktemp("copy")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy2(REPOSITORY / name, copy)
    shutil.copytree(REPOSITORY / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (copy / ".git").symlink_to(REPOSITORY / ".git")
    made = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(made), str(copy))
    (path,) = made.iterdir()
    return path


@pytest.fixture(params=SUPPORTED)
def binaries(request: pytest.FixtureRequest, wheel: Path, tmp_path: Path) -> Iterator[Path]:
    """The programs of a virtual environment into which the wheel was installed."""
    python = find_python(request.param)
    if python is None:
        pytest.skip(f"Python {request.param} is not installed")
    run(python, "-m", "venv", str(tmp_path / "venv"))
    bin_directory = tmp_path / "venv" / "bin"
    pip = (str(bin_directory / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check")
    run(*pip, "-c", str(REPOSITORY / "constraints.txt"), str(wheel))
    yield bin_directory
    shutil.rmtree(tmp_path / "venv")


def test_a_wheel_runs_containers(binaries: Path) -> None:
    assert run(str(binaries / "darse"), "--version") == f"darse version {darse.__version__}\n"
    assert run(str(binaries / "darsed"), "--version") == f"darsed version {darse.__version__}\n"
    engine = InstalledEngine()
    engine.binaries = binaries
    engine.up()
    try:
        assert "Hello from darse!" in engine.darse("run", "--rm", "builtin/hello-world").ok().out
        assert revision.identity()[0] in engine.darse("version").ok().out
    finally:
        engine.close()


def test_a_wheel_carries_the_license(wheel: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(wheel, tmp_path, "zip")
    (metadata,) = tmp_path.glob("darse-*.dist-info/METADATA")
    lines = metadata.read_text().splitlines()
    assert "License-Expression: Apache-2.0" in lines
    assert "License-File: LICENSE" in lines
    assert (
        next(tmp_path.glob("darse-*.dist-info/licenses/LICENSE")).read_bytes() == (REPOSITORY / "LICENSE").read_bytes()
    )
