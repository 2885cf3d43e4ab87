"""`make test-guest`: system tests in a throw-away virtual machine with systemd, cgroup v2 and AppArmor.

Most users' hosts are like that; build machines often are not. The machine is made by a program outside of this
repository: the environment's DARSE_GUEST_VM names it (the default is beside the checkout). The repository is shown to
it read-only, with its virtual environment. What installs darse has a machine of its own, which boots again in between
(guest_session.sh).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DEFAULT = REPOSITORY.parent / "shared" / "guest-vm"
PACKAGES = "golang-github-containers-common,catatonit,curl,criu,firewalld,kexec-tools,pipx"
# What differs there: links, firewalld, resources, confinement, init, checkpoints, quotas, the way back after a restart;
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
    "tests/system/volumes/test_sizes.py",
)
# Ways to install: each on a machine that nothing else was done to.
INSTALLATIONS = ("tests/system/host/test_package.py", "tests/system/host/test_pipx.py")
# Debian's packages that are removed, for `darse doctor --fix` to bring them back.
MISSED = ("catatonit", "busybox-static")
PACKAGES_SHOWN = REPOSITORY / "build" / "guest-packages"
KERNEL_SHOWN = REPOSITORY / "build" / "guest-kernel"
# From which they upgrade.
EARLIER = os.environ.get("DARSE_TEST_EARLIER", "HEAD~30")
# The whole takes half an hour where the processor is emulated. What has not begun when the time is up is not begun.
SECONDS = 3000
_TEST_SECONDS = 400
_REPORT_SECONDS = 300
_OPTIONS = ("-v", "--durations=10", f"--timeout={_TEST_SECONDS}", f"--session-timeout={SECONDS}")


def _build_packages() -> None:
    """Have Debian packages and wheels in `build`: of an earlier commit in `old`, of this one in `new`.

    The guest has no network: what the wheels require is in `wheels`, and Debian's packages that `darse doctor` is to
    install in `archive`. What is there of the same commits is not built again.
    """
    versions = {"old": EARLIER, "new": "HEAD"}
    wanted = {name: _git(REPOSITORY, "rev-parse", f"{one}^{{commit}}") for name, one in versions.items()}
    built = PACKAGES_SHOWN / "built"
    if built.exists() and json.loads(built.read_text()) == wanted:
        return
    shutil.rmtree(PACKAGES_SHOWN, ignore_errors=True)
    wheels = PACKAGES_SHOWN / "wheels"
    with tempfile.TemporaryDirectory() as scratch:
        for name, commit in wanted.items():
            output, clone = PACKAGES_SHOWN / name, _clone(Path(scratch) / name, commit)
            # Each with its own tools. A build leaves files beside the sources.
            subprocess.run([sys.executable, clone / "setup" / "deb.py", "--output", output], check=True)
            _pip("wheel", "-q", "--wheel-dir", wheels, "-c", clone / "constraints.txt", clone)
            (wheel,) = wheels.glob("darse-*.whl")
            wheel.rename(output / wheel.name)
            (output / "commit").write_text(_git(clone, "rev-parse", "--short=12", "HEAD"))
    # pipx keeps an environment with the newest of these.
    _pip("download", "-q", "-d", wheels, "pip", "setuptools", "wheel")
    archive = PACKAGES_SHOWN / "archive"
    archive.mkdir()
    subprocess.run(["apt-get", "download", "-q", *MISSED], check=True, cwd=archive)
    with (archive / "Packages").open("w") as file:
        subprocess.run(["dpkg-scanpackages", "-m", "."], check=True, cwd=archive, stdout=file)
    built.write_text(json.dumps(wanted))


def _clone(path: Path, commit: str) -> Path:
    """A clone of this repository at a commit; it has the Python of this one."""
    python = path / ".venv" / "bin" / "python"
    subprocess.run(["git", "clone", "-q", "--shared", "--no-checkout", REPOSITORY, path], check=True)
    _git(path, "checkout", "-q", "--detach", commit)
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {REPOSITORY}/.venv/bin/python "$@"\n')
    python.chmod(0o755)
    return path


def _pip(*words: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *words], check=True)


def _git(tree: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", tree, *words], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def _show_kernel(status: str) -> None:
    """Have the guest's kernel where it sees it, to boot it again; without one, what comes after a boot is skipped."""
    cache = re.search(r"(?m)^cache: (.*)$", status)
    shutil.rmtree(KERNEL_SHOWN, ignore_errors=True)
    images = sorted(Path(cache[1], "kernel", "boot").glob("vmlinuz-*")) if cache is not None else []
    if cache is not None and images:
        KERNEL_SHOWN.mkdir(parents=True)
        shutil.copy2(images[-1], KERNEL_SHOWN / "vmlinuz")
        shutil.copy2(Path(cache[1], "initrd"), KERNEL_SHOWN)


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
        _show_kernel(status)
    statuses = [_run(program, *others, *options)] if others else []
    # -s: they tell how long installations take.
    statuses += [_run(program, one, "-s", *options) for one in installations]
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main())
