"""`make test-guest`: system tests in a throw-away virtual machine with systemd, cgroup v2 and AppArmor.

Most users' hosts are like that; build machines often are not. The machine is made by a program outside of this
repository: the environment's DARSE_GUEST_VM names it (the default is beside the checkout). The repository is shown to
it read-only, with its virtual environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DEFAULT = REPOSITORY.parent / "shared" / "guest-vm"
PACKAGES = "golang-github-containers-common,catatonit,curl,criu"
TESTS = (
    "tests/system/lifecycle/test_run.py",
    "tests/system/lifecycle/test_states.py",
    "tests/system/lifecycle/test_options.py",
    "tests/system/lifecycle/test_networking.py",
    "tests/system/observation/test_limits.py",
    "tests/system/observation/test_observation.py",
)
# The guest has no docker client: of the tests for both commands, those with ours.
CHOICE = "darse or (observation and not docker)"
SECONDS = 1500
# The programs of a virtual environment name their interpreter by its path, so the repository is shown at its own.
SCRIPT = f"""
export PYTHONDONTWRITEBYTECODE=1
mkdir -p {REPOSITORY} && mount --bind /mnt/share {REPOSITORY} && cd {REPOSITORY}
exec .venv/bin/python -m pytest -q -p no:cacheprovider --timeout 120 "$@"
"""


def main() -> int:
    """Run the tests given as arguments, or the usual ones; the status is pytest's."""
    program = Path(os.environ.get("DARSE_GUEST_VM", DEFAULT))
    if not program.exists():
        sys.stderr.write(
            f"there is no virtual machine to test in: {program} is missing. Set DARSE_GUEST_VM to a program that runs "
            "a command in a Debian guest with systemd (guest-vm run --share DIR -- COMMAND).\n"
        )
        return 0
    status = subprocess.run([sys.executable, program, "status"], capture_output=True, text=True, check=False)
    if "absent" in status.stdout:
        subprocess.run([sys.executable, program, "build", "--include", PACKAGES], check=True)
    arguments = sys.argv[1:] or [*TESTS, "-k", CHOICE]
    command = ["run", "--share", str(REPOSITORY), "--timeout", str(SECONDS), "--", "sh", "-c", SCRIPT, "sh", *arguments]
    return subprocess.run([sys.executable, program, *command], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
