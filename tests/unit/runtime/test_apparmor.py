"""Which AppArmor profiles the kernel has, and what is refused."""

from pathlib import Path

import pytest

from darse.core.errors import InvalidParameter
from darse.runtime import apparmor


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    listed = tmp_path / "profiles"
    listed.write_text("darse-default (enforce)\n/usr/bin/man (complain)\nwith (brackets) (enforce)\n")
    monkeypatch.setattr(apparmor, "_LOADED", listed)
    return listed


@pytest.mark.parametrize(
    "profile",
    [
        "",
        "unconfined",
        "darse-default",
        "/usr/bin/man",
        "with (brackets)",
        "darse-default//&/usr/bin/man",
        ":other:mine",
    ],
)
def test_what_is_loaded_passes(loaded: Path, profile: str) -> None:
    apparmor.check_loaded(profile)


@pytest.mark.parametrize("profile", ["mine", "darse", "darse-default//&mine"])
def test_what_is_not_is_named(loaded: Path, profile: str) -> None:
    missing = profile.rpartition("&")[2]
    with pytest.raises(InvalidParameter, match=f"unable to apply apparmor profile: {missing} is not loaded"):
        apparmor.check_loaded(profile)


def test_the_default_profile_is_loaded_again(loaded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parser = tmp_path / "parser"
    parser.write_text(f'#!/bin/sh\ngrep -q "^profile darse-default " && echo "$@" >{tmp_path}/called\n')
    parser.chmod(0o755)
    monkeypatch.setattr(apparmor, "_PARSER", str(parser))
    loaded.write_text("")
    apparmor.check_loaded("darse-default")
    assert (tmp_path / "called").read_text() == "-Kr\n"
    parser.write_text("#!/bin/sh\necho no such thing >&2; exit 1\n")
    with pytest.raises(InvalidParameter, match="darse-default is not loaded"):
        apparmor.check_loaded("darse-default")


def test_without_a_list_the_runtime_judges(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(apparmor, "_LOADED", tmp_path / "none")
    apparmor.check_loaded("mine")
