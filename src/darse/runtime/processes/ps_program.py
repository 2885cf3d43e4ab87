"""ps(1) itself, for the options that `process_table` does not know; procps need not be installed for the others."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence

from darse.core.errors import InvalidParameter, SystemFault

_PATH = "/usr/bin:/bin"
_SECONDS = 30
# Without COLUMNS ps cuts nothing off.
_ENVIRONMENT = {"PATH": _PATH, "LC_ALL": "C.UTF-8"}
# A title of PID over another column would have other processes shown.
_RENAMED = re.compile(r"\s+(\S*)=\s*(PID\S*)", re.ASCII)


def run_ps(arguments: str, pids: Sequence[int]) -> tuple[list[str], list[list[str]]]:
    """Run ps with `arguments`; return its titles and the rows of `pids`. Blocks: call it in a thread.

    Raises InvalidParameter with ps's own words for arguments that it refuses, and when there is no ps; SystemFault when
    its output has no column for the pid.
    """
    for name, title in _RENAMED.findall(f" {arguments}"):
        if name != "pid":
            raise InvalidParameter(f'specifying "{name}={title}" is not allowed')
    program = shutil.which("ps", path=_PATH)
    if program is None:
        raise InvalidParameter(f"ps {arguments}: these options need the program ps: install the package procps")
    words = arguments.split()
    done = _run([program, *words, f"-q{','.join(map(str, pids))}"])
    if done.returncode != 0:
        # Some options, such as f, exclude -q.
        done = _run([program, *words])
    if done.returncode != 0:
        output = done.stderr.strip().splitlines()
        raise InvalidParameter(output[0] if output else f"ps {arguments} ended with {done.returncode}")
    return _parse(done.stdout, set(pids))


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=_ENVIRONMENT, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SystemFault(f"ps: no answer within {_SECONDS} s") from error


def _parse(output: str, pids: set[int]) -> tuple[list[str], list[list[str]]]:
    lines = output.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise SystemFault("Couldn't find PID field in ps output")
    at = titles.index("PID")
    rows: list[list[str]] = []
    belongs = False
    for line in lines[1:]:
        # The last column is the rest of the line.
        cells = line.split(None, len(titles) - 1)
        if len(cells) <= at:
            continue
        # Of threads only the first line of a process may name it.
        if cells[at] != "-":
            belongs = cells[at].isdecimal() and int(cells[at]) in pids
        if belongs:
            rows.append(cells)
    return titles, rows
