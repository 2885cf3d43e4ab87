"""`make test`: all tests but the heavy ones, in parallel, with the coverage of the engines that they start.

The engines are processes of their own; they write their coverage when they stop in order (not when a test kills them),
and it is combined here with that of the tests' processes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

REPOSITORY = Path(__file__).resolve().parent.parent


def main() -> int:
    """Run pytest with the arguments given, print the coverage, return pytest's exit status."""
    arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="darse-coverage-") as directory:
        environment = {
            **os.environ,
            "DARSE_COVERAGE": directory,
            "COVERAGE_FILE": f"{directory}/all",
            "PYTHONPATH": str(REPOSITORY),
        }
        results = Path(directory) / "results.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "not heavy", "--cov", "--cov-report="]
        command += [f"--junitxml={results}", *arguments]
        status = subprocess.run(command, cwd=REPOSITORY, env=environment, check=False).returncode
        coverage = [sys.executable, "-m", "coverage"]
        engines = [str(path) for path in Path(directory).glob("engine-*")]
        if engines:
            combine = [*coverage, "combine", "--quiet", "--append", *engines]
            subprocess.run(combine, cwd=REPOSITORY, env=environment, check=False)
        subprocess.run([*coverage, "report", "--skip-covered"], cwd=REPOSITORY, env=environment, check=False)
        print(f"coverage includes {len(engines)} engine processes")
        if results.exists():
            print(summary(results))
    return status


def summary(results: Path) -> str:
    """How many tests passed, failed and were skipped, in a line."""
    suite = ElementTree.parse(results).getroot().find("testsuite")
    assert suite is not None
    total, failures, errors, skipped = (
        int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")
    )
    return f"{total - failures - errors - skipped} passed, {failures + errors} failed, {skipped} skipped"


if __name__ == "__main__":
    sys.exit(main())
