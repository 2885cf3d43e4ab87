"""Freezing a container's processes to files, by the OCI runtime and CRIU; see runc-checkpoint(8), criu(8).

Restoring them is a launch (`darse.runtime.monitor.launch`): conmon runs the runtime's `restore` instead of its
`create`.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

from darse.core import trace
from darse.core.errors import SystemFault, Unavailable
from darse.linux.fs.mounts import MS_BIND, mount
from darse.runtime.oci.program import OCIRuntime

_NSENTER: Final = "/usr/bin/nsenter"
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Memory goes to the disk page by page; a container of some gigabytes takes minutes on a slow one.
_SECONDS: Final = 600
_LOG: Final = "dump.log"


def require_support(runtime: OCIRuntime) -> None:
    """Raise Unavailable, saying what is missing, when containers of `runtime` cannot be checkpointed. Blocks."""
    if runtime.is_crun:
        printed = subprocess.run(
            [runtime.program, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
        if "+CRIU" not in printed:
            raise Unavailable(
                f"checkpoints: the container's runtime {runtime.name} is built without CRIU (hint: create the "
                "container with --runtime runc)"
            )
    elif shutil.which("criu", path=_PATH) is None:
        raise Unavailable("checkpoints need the program criu: install the package criu")


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
                command, capture_output=True, env={"PATH": _PATH}, timeout=_SECONDS, cwd="/", check=False
            )
        except subprocess.TimeoutExpired as error:
            raise SystemFault(f"{runtime.name} checkpoint did not end within {_SECONDS} s") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        reasons = _reasons(directory / _LOG) or said[-1:] or ["it does not say why"]
        raise SystemFault(f"{runtime.name} did not checkpoint: {'; '.join(reasons)}")


def is_complete(directory: Path) -> bool:
    """Whether a dump got to its end: CRIU writes its statistics last."""
    return (directory / "stats-dump").exists()


def _reasons(log: Path) -> list[str]:
    """The errors of a log of CRIU's, the last few of them."""
    try:
        text = log.read_text(errors="replace")
    except FileNotFoundError:
        return []
    return [line.partition("Error ")[2] for line in text.splitlines() if "Error (" in line][-3:]


def pin_network(path: str, directory: Path) -> str:
    """Bind a network namespace to a name below `directory` that lasts as long as the container; return it.

    CRIU must find the namespace where the spec has it, and the engine's descriptor, by which new ones are named, is
    closed by then. Call it in the launch's mount namespace. Raises OSError.
    """
    target = directory / "netns"
    target.touch()
    with trace.step("mount", "name the network namespace", "mount", "--bind", path, str(target)):
        mount(path, str(target), "", MS_BIND)
    return str(target)
