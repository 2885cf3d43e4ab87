"""`doctor --fix` names or installs what is missing, and nothing else; apt-get is a script that notes its calls."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from darse.cli import entry
from darse.cli.commands.system import doctor
from darse.cli.errors import CliError

_FINDINGS = [
    {"level": "problem", "check": "crun", "found": "not installed", "advice": "apt-get install crun (or runc): …"},
    {"level": "note", "check": "catatonit", "found": "not installed", "advice": "apt-get install catatonit for --init"},
    {"level": "problem", "check": "conmon", "found": "not installed", "advice": "apt-get install conmon: it keeps"},
    {"level": "problem", "check": "profile", "found": "missing", "advice": "apt-get install conmon"},
    {"level": "ok", "check": "nft", "found": "there", "advice": "apt-get install nftables"},
    {"level": "problem", "check": "overlay", "found": "the kernel has no overlayfs", "advice": "modprobe overlay"},
]
_PACKAGES = ["crun", "catatonit", "conmon"]
_INSTALL = "install -y --no-install-recommends crun catatonit conmon"


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Callable[[], list[str]]]:
    """Has apt-get do what the lines of a shell script say; returns what reads its calls."""
    calls = tmp_path / "calls"

    def make(script: str) -> Callable[[], list[str]]:
        program = tmp_path / "apt-get"
        program.write_text(f'#!/bin/sh\necho "$DEBIAN_FRONTEND $*" >> {calls}\n{script}\n')
        program.chmod(0o755)
        return lambda: calls.read_text().splitlines() if calls.exists() else []

    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return make


def test_packages_are_those_of_findings_that_are_not_well_each_once() -> None:
    assert doctor.packages_of(_FINDINGS) == _PACKAGES


def test_what_doctor_itself_finds_missing_has_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(os.path, "exists", lambda _: False)
    monkeypatch.setattr(doctor, "_has_library", lambda _: False)
    missing = {
        *("crun", "conmon", "catatonit", "nftables", "libnftables1"),
        *("golang-github-containers-common", "busybox-static"),
    }
    assert set(doctor.packages_of(list(doctor._seen_from_here()))) == missing


def test_they_are_installed_in_one_go(apt: Callable[[str], Callable[[], list[str]]]) -> None:
    calls = apt("exit 0")
    assert doctor._install(_PACKAGES) is True
    assert calls() == [f"noninteractive {_INSTALL}"]


def test_lists_of_packages_are_fetched_where_the_first_attempt_fails(
    apt: Callable[[str], Callable[[], list[str]]], tmp_path: Path
) -> None:
    calls = apt(f'[ "$1" = update ] && touch {tmp_path}/fresh; test -e {tmp_path}/fresh')
    assert doctor._install(_PACKAGES) is True
    assert calls() == [f"noninteractive {_INSTALL}", "noninteractive update -q", f"noninteractive {_INSTALL}"]


def test_what_cannot_be_installed_is_said_in_apts_words(apt: Callable[[str], Callable[[], list[str]]]) -> None:
    apt('echo "E: Unable to locate package crun" >&2; exit 100')
    with pytest.raises(CliError, match=r"crun catatonit conmon ended with 100: E: Unable to locate package crun"):
        doctor._install(_PACKAGES)


def test_who_is_not_root_is_told_what_to_type(
    apt: Callable[[str], Callable[[], list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = apt("exit 0")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(CliError, match=f"only root can install what is missing: sudo apt-get {_INSTALL}"):
        doctor._install(_PACKAGES)
    assert calls() == []


def test_without_apt_the_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda _: None)
    with pytest.raises(CliError, match=r"there is no apt-get here: crun catatonit conmon"):
        doctor._install(_PACKAGES)


def test_nothing_is_done_where_nothing_is_missing(
    apt: Callable[[str], Callable[[], list[str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    calls = apt("exit 0")
    assert doctor._install(doctor.packages_of(_FINDINGS[4:])) is False
    assert calls() == []
    assert capsys.readouterr().err == "no package is missing\n"


def test_nothing_is_installed_here_for_an_engine_elsewhere(
    apt: Callable[[str], Callable[[], list[str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    calls = apt("exit 0")
    assert entry.run(["-H", "tcp://127.0.0.1:1", "doctor", "--fix"]) == 1
    assert "run darse doctor --fix on its machine" in capsys.readouterr().err
    assert calls() == []
    # Nor is this machine looked at.
    assert entry.run(["-H", "tcp://127.0.0.1:1", "doctor", "--format", "json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["check"], found["level"]) == ("engine", "problem")
