#!/usr/bin/env python3
"""Prepare this machine for darse: the Debian packages it stands on, and a virtual environment in `.venv`.

Run by `make`, with whatever Python 3.11 or later there is, before anything is installed: so only the standard library
is used. Every step looks first and does nothing when there is nothing to do; a second run takes a fraction of a second.

    machine.py run      what the engine and the command need
    machine.py test     that, and what the tests, linters and measurements need
    machine.py package  what builds the Debian package, and nothing else
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
# The versions of all Python packages, so that every clone has the same.
CONSTRAINTS = ROOT / "constraints.txt"
OLDEST = (3, 11)

# Package -> why. Installed without recommended packages.
RUN_PACKAGES = {
    "crun": "the OCI runtime: makes the containers",
    "conmon": "holds a container's streams, log and exit status while no engine runs",
    "catatonit": "the init process of `run --init`",
    "golang-github-containers-common": "the maintained default seccomp profile",
    "busybox-static": "what the images builtin/busybox and builtin/hello-world are made of",
    "libnftables1": "the firewall, in process: published ports and masquerading",
}
TEST_PACKAGES = {
    "runc": "the second OCI runtime, tested beside crun",
    "iproute2": "looks at links and network namespaces from outside",
    "nftables": "looks at the firewall from outside",
    "procps": "sysctl, kill and ps, to set and see what a kernel does",
    "git": "clones the repository for the test of the set-up",
    "openssl": "makes certificates for tests of TLS",
    "apache2-utils": "htpasswd: the users of the registries that tests start",
    "mmdebstrap": "makes the Debian that the catalogue's images and the fresh machine stand on",
    "debian-archive-keyring": "tells Debian's packages from others, for mmdebstrap",
}
PACKAGE_PACKAGES = {
    "debhelper": "builds the Debian package",
    "dh-apparmor": "has the package load its AppArmor profile",
    "python3-venv": "makes the virtual environment inside the package",
}
# Package -> the program in it that the tests use. They are not installed: that would start a service.
TEST_PROGRAMS = {
    "docker.io": "docker",
    "docker-registry": "docker-registry",
}
# -I: nothing of the environment and of the working directory; -S: no site.
COMMAND = """{first}
import sys

sys.path += {path!r}
from darse.cli.entry import main

main()
"""
LONGEST_FIRST_LINE = 255
VENV_PACKAGES = {"python3-venv": "makes the virtual environment"}


def main() -> None:
    """Prepare for `run`, `test` or `package`."""
    purpose = sys.argv[1] if len(sys.argv) > 1 else "run"
    if purpose not in ("run", "test", "package"):
        fail("usage: machine.py run|test|package")
    if sys.version_info < OLDEST:
        fail(f"Python {OLDEST[0]}.{OLDEST[1]} or later is needed; this is {sys.version.split()[0]}: {sys.executable}")
    if purpose == "package":
        install_packages(PACKAGE_PACKAGES)
        return
    packages = dict(RUN_PACKAGES)
    if purpose == "test":
        packages |= TEST_PACKAGES
    if not VENV.exists() and not can_make_venv():
        packages |= VENV_PACKAGES
    install_packages(packages)
    make_venv(purpose)
    if purpose == "test":
        for package, program in TEST_PROGRAMS.items():
            provide_program(package, program)


def install_packages(packages: dict[str, str]) -> None:
    """Install those Debian packages that are missing, saying which and why."""
    missing = {name: why for name, why in packages.items() if name not in installed_packages(packages)}
    if not missing:
        return
    listing = "\n".join(f"  {name:33}{why}" for name, why in missing.items())
    if shutil.which("apt-get") is None:
        fail(f"These Debian packages are needed, and there is no apt-get to install them:\n{listing}")
    if os.geteuid() != 0:
        fail(
            f"These Debian packages are missing, and only root can install them:\n{listing}\n"
            f"Run `sudo make setup`, or: sudo apt-get install --no-install-recommends {' '.join(missing)}"
        )
    say(f"Installing Debian packages:\n{listing}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing]
    # The package lists may be there and fresh: only when the install fails are they fetched (again).
    if not succeeds(install, env=environment):
        succeeds(["apt-get", "update", "-q"], env=environment)
        command(install, "the Debian packages could not be installed", env=environment)


def installed_packages(names: dict[str, str]) -> set[str]:
    """Those of `names` that are installed; a machine without dpkg has none."""
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package}\n", *names]
    try:
        printed = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return set()
    return {line.split()[1] for line in printed.splitlines() if line.startswith("installed ")}


def can_make_venv() -> bool:
    """Whether this Python has what `venv` needs to put pip into an environment (Debian packages that apart)."""
    return succeeds([sys.executable, "-c", "import ensurepip, venv"])


def make_venv(purpose: str) -> None:
    """Make `.venv` with darse in it, editable; again when its requirements have changed since."""
    stamp = VENV / f"darse-{purpose}.stamp"
    required = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + CONSTRAINTS.read_bytes()).hexdigest()
    whole = VENV / "darse-test.stamp"
    done = [path.read_text() for path in {stamp, whole} if path.exists()]
    if required not in done or not (VENV / "bin" / "darsed").exists():
        if not (VENV / "bin" / "pip").exists():
            say("Making the virtual environment .venv")
            command([sys.executable, "-m", "venv", "--clear", str(VENV)], "the virtual environment could not be made")
        say("Installing Python packages from PyPI into .venv")
        target = f"{ROOT}[dev]" if purpose == "test" else str(ROOT)
        pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        command([*pip, "-c", str(CONSTRAINTS), "-e", target], "pip could not install the Python packages")
        stamp.write_text(required)
    write_command()
    # Editable sources are compiled here: the command's start is a matter of milliseconds.
    subprocess.run([str(VENV / "bin" / "python"), "-m", "compileall", "-q", str(ROOT / "src")], check=False)


def write_command() -> None:
    """Make `.venv/bin/darse` start without site: its path files cost as much as all that a command imports.

    pip's own script does the same, slower; it stays where a path does not fit into the first line (execve(2)).
    """
    first = f"#!{VENV}/bin/python -IS"
    if " " in str(VENV) or len(first) > LONGEST_FIRST_LINE:
        return
    packages = next(iter(VENV.glob("lib/python3*/site-packages")), None)
    path = [str(one) for one in (ROOT / "src", packages) if one is not None]
    text = COMMAND.format(first=first, path=path)
    target = VENV / "bin" / "darse"
    if not target.exists() or target.read_text() != text:
        new = VENV / "bin" / "darse.new"
        new.write_text(text)
        new.chmod(0o755)
        new.replace(target)


def provide_program(package: str, program: str) -> None:
    """Take a program that the tests use out of its Debian package into `.venv`, where it is not installed."""
    unpacked = VENV / "libexec" / program
    if shutil.which(program) or unpacked.exists():
        return
    say(f"Fetching {program} out of Debian's package {package}, for the tests")
    with tempfile.TemporaryDirectory() as scratch:
        # apt fetches as its own user where it can.
        os.chmod(scratch, 0o755)
        if os.geteuid() == 0:
            shutil.chown(scratch, "_apt")
        fetch = ["apt-get", "download", "-q", package]
        if not succeeds(fetch, cwd=scratch):
            succeeds(["apt-get", "update", "-q"])
            command(fetch, f"{program} could not be fetched", cwd=scratch)
        (archive,) = Path(scratch).glob(f"{package}_*.deb")
        command(["dpkg-deb", "--extract", str(archive), scratch], f"{archive.name} could not be unpacked")
        unpacked.parent.mkdir(exist_ok=True)
        shutil.copy2(Path(scratch) / "usr/bin" / program, unpacked)


def succeeds(arguments: list[str], cwd: str | None = None, env: dict[str, str] | None = None) -> bool:
    """Run a program that may fail, silently."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.run(arguments, cwd=cwd, env=env, check=False, **quiet).returncode == 0


def command(arguments: list[str], failure: str, cwd: str | None = None, env: dict[str, str] | None = None) -> None:
    """Run a program that must succeed; what it prints is shown only when it does not."""
    done = subprocess.run(
        arguments, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        fail(f"{done.stdout.rstrip()}\n{failure}: {' '.join(arguments)}")


def say(text: str) -> None:
    """Tell the user what is being done."""
    print(text, flush=True)


def fail(text: str) -> NoReturn:
    """Stop with a message."""
    sys.exit(f"setup: {text}")


if __name__ == "__main__":
    main()
