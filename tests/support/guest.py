"""`make test-guest`: system tests in a throw-away virtual machine with systemd, cgroup v2 and AppArmor.

Most users' hosts are like that; build machines often are not. The machine is made by a program outside of this
repository: the environment's DARSE_GUEST_VM names it (the default is beside the checkout). The repository is shown to
it read-only, with its virtual environment. What installs darse has a machine of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DEFAULT = REPOSITORY.parent / "shared" / "guest-vm"
PACKAGES = "golang-github-containers-common,catatonit,curl,criu,firewalld"
# What differs there: links, firewalld, resources, confinement, init, checkpoints, the way back after a restart;
# and the basics.
TESTS = (
    "tests/system/host/test_systemd_host.py",
    "tests/system/networks/test_macvlan.py",
    "tests/system/networks/test_reachability_of_drivers.py",
    "tests/system/networks/test_firewalld.py",
    "tests/system/lifecycle/test_checkpoint.py",
    "tests/system/lifecycle/test_run.py",
    "tests/system/lifecycle/test_states.py",
    "tests/system/lifecycle/test_options.py",
    "tests/system/lifecycle/test_security.py",
    "tests/system/lifecycle/test_networking.py",
    "tests/system/observation",
    "tests/system/security/test_namespaces.py",
    "tests/system/security/test_shifted_layers.py",
)
# Ways to install: each on a machine that nothing else was done to.
INSTALLATIONS = ("tests/system/host/test_package.py",)
PACKAGES_SHOWN = REPOSITORY / "build" / "guest-packages"
# The whole takes half an hour where the processor is emulated. What has not begun when the time is up is not begun.
SECONDS = 3000
_TEST_SECONDS = 400
_REPORT_SECONDS = 300
_OPTIONS = ("-v", "--durations=10", f"--timeout={_TEST_SECONDS}", f"--session-timeout={SECONDS}")


def _build_packages() -> None:
    """Have two Debian packages in `build`: the tree's, and one that differs from it in the commit, and is newer."""
    directory = PACKAGES_SHOWN
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    build = [sys.executable, str(REPOSITORY / "setup" / "deb.py"), "--output", str(directory)]
    if shutil.which("dh") is None or subprocess.run(build, check=False).returncode != 0:
        sys.stderr.write("no Debian packages: their test is skipped (`make deb` says why)\n")
        shutil.rmtree(directory)
        return
    (built,), (names,) = directory.glob("darse_*.deb"), directory.glob("darse-docker_*.deb")
    names.rename(directory / "darse-docker.deb")
    tree = directory / "tree"
    subprocess.run(["dpkg-deb", "--raw-extract", built, tree], check=True)
    built.rename(directory / "old.deb")
    control, identity = tree / "DEBIAN/control", next(tree.rglob("site-packages/darse/_build"))
    control.write_text(re.sub(r"(?m)^(Version: .*)", r"\1+newer", control.read_text()))
    identity.write_text("newer\n2030-01-01T00:00:00Z\n")
    (tree / "DEBIAN/md5sums").unlink()
    pack = ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", tree, directory / "new.deb"]
    subprocess.run(pack, check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(tree)


def _show_client() -> None:
    """Have docker's client in the virtual environment, which the guest sees: it has none of its own."""
    shown, installed = REPOSITORY / ".venv" / "libexec" / "docker", shutil.which("docker")
    if installed is not None and not shown.exists():
        shutil.copy2(installed, shown)


def _run(program: Path, *arguments: str) -> int:
    """Have pytest run in a guest that nothing was done to; what it ended with."""
    script = f'exec sh /mnt/share/tests/support/guest_session.sh {REPOSITORY} "$@"'
    limit = str(SECONDS + _TEST_SECONDS + _REPORT_SECONDS)
    command = ["run", "--share", str(REPOSITORY), "--timeout", limit, "--", "sh", "-c", script, "sh", *arguments]
    return subprocess.run([sys.executable, program, *command, *_OPTIONS], check=False).returncode


def main() -> int:
    """Run the tests given as arguments, or the usual ones; each is told as it ends.

    The status is pytest's, 2 when there is no virtual machine, 124 when it hangs, 125 when it fails.
    """
    program = Path(os.environ.get("DARSE_GUEST_VM", DEFAULT))
    if not program.exists():
        sys.stderr.write(
            f"there is no virtual machine to test in: {program} is missing. Set DARSE_GUEST_VM to a program that runs "
            "a command in a Debian guest with systemd (guest-vm run --share DIR -- COMMAND).\n"
        )
        return 2
    status = subprocess.run([sys.executable, program, "status"], capture_output=True, text=True, check=False).stdout
    if "absent" in status:
        subprocess.run([sys.executable, program, "build", "--include", PACKAGES], check=True)
    _show_client()
    arguments = sys.argv[1:] or [*TESTS, *INSTALLATIONS]
    installations = [one for one in arguments if one.startswith(INSTALLATIONS)]
    options = [one for one in arguments if one.startswith("-")]
    others = [one for one in arguments if one not in installations and one not in options]
    if installations:
        _build_packages()
    statuses = [_run(program, *others, *options)] if others else []
    statuses += [_run(program, one, *options) for one in installations]
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main())
