"""`make test-guest`: system tests in a throw-away virtual machine with systemd, cgroup v2 and AppArmor.

Most users' hosts are like that; build machines often are not. The machine is made by a program outside of this
repository: the environment's DARSE_GUEST_VM names it (the default is beside the checkout). The repository is shown to
it read-only, with its virtual environment.
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
    "tests/system/host",
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
PACKAGES_SHOWN = "build/guest-packages"
# The whole takes half an hour where the processor is emulated. What has not begun when the time is up is not begun.
SECONDS = 3000
_TEST_SECONDS = 400
_REPORT_SECONDS = 300
# The programs of a virtual environment name their interpreter by its path, so the repository is shown at its own.
SCRIPT = f"""
export PYTHONDONTWRITEBYTECODE=1 HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis
# An emulated processor is some twenty times slower.
export DARSE_TEST_THROWAWAY=1 DARSE_TEST_READY_SECONDS=300 DARSE_TEST_STALL_MS=2000
mkdir -p {REPOSITORY} && mount --bind /mnt/share {REPOSITORY} && cd {REPOSITORY}
if [ -d {PACKAGES_SHOWN} ]; then export DARSE_TEST_PACKAGES={REPOSITORY}/{PACKAGES_SHOWN}; fi
export PATH=/usr/local/sbin:/usr/sbin:/sbin:$PATH
exec .venv/bin/python -m pytest -v -p no:cacheprovider --durations 10 --timeout {_TEST_SECONDS} \
    --session-timeout {SECONDS} "$@"
"""


def _build_packages() -> None:
    """Have two Debian packages in `build`: the tree's, and one that differs from it in the commit, and is newer."""
    directory = REPOSITORY / PACKAGES_SHOWN
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
    status = subprocess.run([sys.executable, program, "status"], capture_output=True, text=True, check=False)
    if "absent" in status.stdout:
        subprocess.run([sys.executable, program, "build", "--include", PACKAGES], check=True)
    _show_client()
    if not sys.argv[1:] or any("test_package" in word for word in sys.argv[1:]):
        _build_packages()
    arguments = sys.argv[1:] or TESTS
    limit = str(SECONDS + _TEST_SECONDS + _REPORT_SECONDS)
    command = ["run", "--share", str(REPOSITORY), "--timeout", limit, "--", "sh", "-c", SCRIPT, "sh", *arguments]
    return subprocess.run([sys.executable, program, *command], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
