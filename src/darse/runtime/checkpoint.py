"""Freezing a container's processes to files, by the OCI runtime and CRIU; see runc-checkpoint(8), criu(8).

Restoring them is a launch (`darse.runtime.monitor.launch`): conmon runs the runtime's `restore` instead of its
`create`.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from darse.core import trace
from darse.core.errors import SystemFault
from darse.linux.fs.files import read_regular
from darse.runtime.oci import OCIRuntime
from darse.runtime.oci.program import PATH

_NSENTER: Final = "/usr/bin/nsenter"
# Memory goes to the disk page by page; a container of some gigabytes takes minutes on a slow one.
_SECONDS: Final = 600
_LOG: Final = "dump.log"


def dump(runtime: OCIRuntime, container_id: str, monitor_pid: int, directory: Path, *, leave_running: bool) -> None:
    """Write the state of a container's processes into `directory`, which is there and empty; then end them, or not.

    The runtime works in the mount namespace of the container's monitor, where the container's root and network
    namespace have their names. Blocks. Raises SystemFault with the reason that CRIU gives.
    """
    command = [
        *(_NSENTER, f"--mount=/proc/{monitor_pid}/ns/mnt", "--"),
        *runtime.command("checkpoint"),
        *("--image-path", str(directory), "--work-path", str(directory), "--file-locks"),
        *(["--leave-running"] if leave_running else []),
        container_id,
    ]
    with trace.step("process", "freeze the processes to files", *command):
        try:
            done = subprocess.run(
                command, capture_output=True, env={"PATH": PATH}, timeout=_SECONDS, cwd="/", check=False
            )
        except subprocess.TimeoutExpired as error:
            raise SystemFault(f"{runtime.name} checkpoint did not end within {_SECONDS} s") from error
    if done.returncode != 0:
        output = done.stderr.decode(errors="replace").strip().splitlines()
        reasons = _reasons(directory / _LOG) or output[-1:] or ["it does not say why"]
        raise SystemFault(f"{runtime.name} did not checkpoint: {'; '.join(reasons)}")


def is_complete(directory: Path) -> bool:
    """Whether a dump got to its end: CRIU writes its statistics last."""
    return (directory / "stats-dump").exists()


def _reasons(log: Path) -> list[str]:
    """The errors of a log of CRIU's, the last few of them."""
    try:
        text = read_regular(log).decode(errors="replace")
    except FileNotFoundError:
        return []
    return [line.partition("Error ")[2] for line in text.splitlines() if "Error (" in line][-3:]
