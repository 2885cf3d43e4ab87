"""`make test`: all tests but the heavy ones, in parallel; `make coverage`: the same, and what of darse they run.

Measured for coverage, an engine takes twice the time. Engines are processes of their own: they write their coverage
when they stop in order (not when a test kills them), and it is combined here with that of the tests' processes.

A few tests that fail beside others are run again, alone. What passes then is named as such: it is a fault in the test,
or one that needs luck to be seen, and somebody should look at it; it says nothing against the rest. A blocked event
loop is one of them, up to a bound: the disk of a busy machine stands still at times. What a test leaves behind is not.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
# More than these are no accidents of a busy machine.
SECOND_ATTEMPTS = 8
# Milliseconds. Who blocks the event loop for longer has no second attempt.
LONGEST_STALL = 200
_STALL = re.compile(r"the event loop was blocked for (\d+) ms")


def main() -> int:
    """Run pytest with the arguments given (`--coverage`: with coverage), return the status of the last attempt."""
    arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="darse-coverage-") as directory:
        results = Path(directory) / "results.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "not heavy", f"--junitxml={results}", *arguments]
        if "--coverage" in arguments:
            command.remove("--coverage")
            status = with_coverage(command, Path(directory))
        else:
            status = subprocess.run(command, cwd=REPOSITORY, check=False).returncode
        if results.exists():
            print(summary(results))
            failed = failed_tests(results)
            if status == pytest.ExitCode.TESTS_FAILED and 0 < len(failed) <= SECOND_ATTEMPTS:
                status = second_attempt(failed)
    return status


def with_coverage(command: list[str], directory: Path) -> int:
    """Run pytest, print what it and the engines that it started have covered, and return its exit status."""
    environment = {
        **os.environ,
        "DARSE_COVERAGE": str(directory),
        "COVERAGE_FILE": str(directory / "all"),
        "PYTHONPATH": str(REPOSITORY),
    }
    command = [*command, "--cov", "--cov-report="]
    status = subprocess.run(command, cwd=REPOSITORY, env=environment, check=False).returncode
    coverage = [sys.executable, "-m", "coverage"]
    engines = [str(path) for path in directory.glob("engine-*")]
    if engines:
        combine = [*coverage, "combine", "--quiet", "--append", *engines]
        subprocess.run(combine, cwd=REPOSITORY, env=environment, check=False)
    subprocess.run([*coverage, "report", "--skip-covered"], cwd=REPOSITORY, env=environment, check=False)
    print(f"coverage includes {len(engines)} engine processes")
    return status


def summary(results: Path) -> str:
    """How many tests passed, failed and were skipped, in a line."""
    suite = _suite(results)
    total, failures, errors, skipped = (
        int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")
    )
    return f"{total - failures - errors - skipped} passed, {failures + errors} failed, {skipped} skipped"


def failed_tests(results: Path) -> list[str]:
    """The names of the tests that failed; none when something was left behind, which no second attempt excuses."""
    failed = []
    for case in _suite(results).iter("testcase"):
        for element in (*case.iterfind("failure"), *case.iterfind("error")):
            if "teardown" in element.get("message", "") and not _is_a_short_stall(element):
                return []
            failed.append(f"{case.get('classname')}::{case.get('name')}")
    return failed


def _is_a_short_stall(element: ElementTree.Element) -> bool:
    stalls = [int(milliseconds) for milliseconds in _STALL.findall(element.text or "")]
    return (
        "AssertionError: the engine left behind" not in element.get("message", "")
        and 0 < max(stalls, default=0) <= LONGEST_STALL
    )


def second_attempt(failed: list[str]) -> int:
    """Run what failed last again, one after the other; say how it went, and return pytest's exit status."""
    print(f"failed beside others, and run again alone: {', '.join(failed)}", flush=True)
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not heavy"]
    command += ["--last-failed", "--last-failed-no-failures=none"]
    status = subprocess.run(command, cwd=REPOSITORY, check=False).returncode
    if status == pytest.ExitCode.OK:
        print(f"{len(failed)} passed at the second attempt only: see the first one's output above for what they met")
    return status


def _suite(results: Path) -> ElementTree.Element:
    suite = ElementTree.parse(results).getroot().find("testsuite")
    assert suite is not None
    return suite


if __name__ == "__main__":
    sys.exit(main())
