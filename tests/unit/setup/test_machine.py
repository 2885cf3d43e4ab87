"""The set-up looks first, says what it installs, and explains what it cannot do."""

from __future__ import annotations

import importlib.util
import os
import sys
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
