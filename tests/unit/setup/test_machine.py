"""The set-up looks first, says what it installs, and explains what it cannot do."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tests.support.engine import REPOSITORY


@pytest.fixture
def machine() -> ModuleType:
    spec = importlib.util.spec_from_file_location("machine", REPOSITORY / "setup" / "machine.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_root_it_names_what_is_missing(machine: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "installed_packages", lambda names: set(names) - {"crun"})
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(machine.shutil, "which", lambda name: f"/usr/bin/{name}")
    with pytest.raises(SystemExit) as stopped:
        machine.install_packages(machine.RUN_PACKAGES)
    assert "only root can install them" in str(stopped.value)
    assert "crun" in str(stopped.value)
    assert "conmon" not in str(stopped.value)


def test_nothing_is_installed_when_nothing_is_missing(machine: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "installed_packages", set)
    monkeypatch.setattr(machine, "command", lambda *_, **__: pytest.fail("something was run"))
    machine.install_packages(machine.RUN_PACKAGES)


def test_another_system_is_told_what_it_needs(machine: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "installed_packages", lambda names: set())
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        machine.install_packages(machine.RUN_PACKAGES)
    assert "there is no apt-get" in str(stopped.value)


def test_an_old_python_is_refused_with_a_message(machine: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["machine.py", "run"])
    monkeypatch.setattr(machine, "OLDEST", (9, 9))
    with pytest.raises(SystemExit) as stopped:
        machine.main()
    assert "Python 9.9 or later is needed" in str(stopped.value)


def test_every_package_has_a_reason(machine: ModuleType) -> None:
    for packages in (machine.RUN_PACKAGES, machine.TEST_PACKAGES, machine.VENV_PACKAGES):
        assert all(packages.values())


def test_the_command_starts_without_site(machine: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.setattr(machine, "VENV", tmp_path)
    machine.write_command()
    machine.write_command()
    command = tmp_path / "bin" / "darse"
    assert [one.name for one in command.parent.iterdir() if one.name.startswith("darse")] == ["darse"]
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.startswith("darse version ")
    assert command.read_text().splitlines()[0].endswith("-IS")


def test_pips_command_stays_where_a_path_is_too_long(
    machine: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("with space", "x" * 250):
        monkeypatch.setattr(machine, "VENV", tmp_path / name)
        (tmp_path / name / "bin").mkdir(parents=True)
        machine.write_command()
        assert not (tmp_path / name / "bin" / "darse").exists()
