"""The wheel on a machine of its own, by pipx: installed, used by docker's client, upgraded, removed, installed again.

`make test-guest` builds wheels of all that it requires before, for the machine has no network (DARSE_TEST_PACKAGES).
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.support.guest import MISSED
from tests.system.host import installed
from tests.system.host.installed import AFTER_A_BOOT, BEFORE_A_BOOT, ENVIRONMENT, SHOWN, THROWAWAY, run, state

WHEELS = Path(SHOWN) / "wheels"
HOME = Path("/opt/pipx")
SOURCES = Path("/etc/apt/sources.list")

pytestmark = [
    *THROWAWAY,
    pytest.mark.skipif(shutil.which("pipx") is None, reason="pipx is not installed (Debian package)"),
]


@pytest.fixture(autouse=True)
def pipx_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an administrator has it for all users (pipx's documentation), but with packages from a directory."""
    for name, value in (
        ("PIPX_HOME", str(HOME)),
        ("PIPX_BIN_DIR", "/usr/local/bin"),
        ("PIP_NO_INDEX", "1"),
        ("PIP_FIND_LINKS", str(WHEELS)),
    ):
        monkeypatch.setitem(ENVIRONMENT, name, value)


def install(version: str, *options: str) -> None:
    (wheel,) = (Path(SHOWN) / version).glob("darse-*.whl")
    installed.timed(f"pipx install, {version}", "pipx", "install", *options, str(wheel))


def miss_packages() -> None:
    """Have a machine without some packages that darse needs, and an archive that has them."""
    SOURCES.write_text(f"deb [trusted=yes] file:{SHOWN}/archive ./\n")
    run("apt-get", "remove", "-y", *MISSED)


@BEFORE_A_BOOT
def test_install_use_and_upgrade() -> None:
    installed.bring_the_client()
    miss_packages()
    install("old")
    told = installed.timed("darse doctor --fix", "darse", "doctor", "--fix")
    print(told)
    assert f"installing {', '.join(MISSED)}" in told
    assert " 0 problems" in told
    run("darse", "system", "enable")
    assert (state("darsed.socket"), state("darsed.service")) == ("active", "active")
    assert str(HOME) in Path("/etc/systemd/system/darsed.service").read_text(encoding="utf-8")
    assert "docker stays what it is" in run("darse", "system", "takeover")
    installed.start_containers()
    installed.upgrade(_upgrade)
    installed.boot_again(__file__)


def _upgrade() -> None:
    before = installed.pids()
    install("new", "--force")
    # The engine that runs has lost its files, and works on.
    assert run("docker", "exec", "c1", "echo", "there").strip() == "there"
    assert installed.pids() == before
    run("darse", "system", "enable")


@AFTER_A_BOOT
def test_containers_are_up_after_a_boot() -> None:
    installed.check_the_boot()


@AFTER_A_BOOT
def test_removal_and_another_installation() -> None:
    """Data and containers stay, and are found."""
    before = installed.pids()
    run("darse", "system", "takeover", "--undo")
    run("darse", "system", "disable")
    run("pipx", "uninstall", "darse")
    assert not any(Path("/etc/systemd/system").glob("darse*"))
    assert not Path("/usr/local/bin/darse").exists()
    assert installed.run_on(before)
    install("new")
    run("darse", "system", "enable")
    run("darse", "system", "takeover")
    installed.check_that_all_is_found(before)
