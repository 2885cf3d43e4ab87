"""`make test-pythons`: the unit tests on every supported Python that this machine has, but the one of `.venv`.

Each has a virtual environment in a cache, with the versions of constraints.txt; the sources are this directory's.
A Python that is not there is named.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from tests.support.pythons import SUPPORTED, find_python  # noqa: E402

CACHE = Path(os.environ.get("DARSE_PYTHONS_CACHE", "~/.cache/darse-pythons")).expanduser()


def main() -> int:
    """Run the tests on each Python, with pytest's arguments; return 1 if any failed."""
    failed = 0
    for version in SUPPORTED:
        if version == "{}.{}".format(*sys.version_info):
            continue
        python = find_python(version)
        if python is None:
            print(f"Python {version} is not installed: left out", flush=True)
            continue
        print(f"the unit tests on Python {version}", flush=True)
        environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'src'}"}
        tests = [
            str(install(version, python)),
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            *sys.argv[1:],
            "tests/unit",
        ]
        failed += subprocess.run(tests, cwd=REPOSITORY, env=environment, check=False).returncode != 0
    return int(failed > 0)


def install(version: str, python: str) -> Path:
    """Bring an environment's packages up to the tested versions, and return its interpreter."""
    environment = CACHE / version
    interpreter = environment / "bin" / "python"
    if not interpreter.exists():
        subprocess.run([python, "-m", "venv", "--clear", str(environment)], check=True)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    packages = project["dependencies"] + project["optional-dependencies"]["dev"]
    pip = [str(interpreter), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "-c", str(REPOSITORY / "constraints.txt"), *packages], check=True)
    # darse itself for its version and entry points; the sources are found by PYTHONPATH.
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "-e", str(REPOSITORY)], check=True)
    return interpreter


if __name__ == "__main__":
    sys.exit(main())
