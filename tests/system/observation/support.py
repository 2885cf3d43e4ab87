"""What these tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.engine import BUSYBOX, Engine
from tests.support.waiting import wait_until


def run(engine: Engine, name: str, *arguments: str, command: tuple[str, ...] = ("sleep", "1000")) -> dict[str, Any]:
    """Start a container; its inspect."""
    engine.darse("run", "-d", "--name", name, *arguments, BUSYBOX, *command).ok()
    found: dict[str, Any] = engine.api("GET", f"/containers/{name}/json").json()
    wait_until(lambda: begun(found["State"]["Pid"], command), what="the command in place of the runtime")
    return found


def begun(pid: int, command: tuple[str, ...]) -> bool:
    """Whether a process has become its command: a start returns when the runtime is about to execute it."""
    try:
        return tuple(Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")) == command
    except (FileNotFoundError, ProcessLookupError):
        return True  # it has ended already


def limit(container: dict[str, Any], v1: str, v2: str) -> str:
    """A limit as the kernel has it: `controller/file` on cgroup version 1, a file on version 2."""
    controller, _, file = v1.partition("/")
    for line in Path(f"/proc/{container['State']['Pid']}/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return Path(f"/sys/fs/cgroup/{controller}{path}/{file}").read_text().strip()
        if number == "0" and v2 and (unified := Path(f"/sys/fs/cgroup{path}/{v2}")).exists():
            return unified.read_text().strip()
    raise AssertionError(f"neither {v1} nor {v2}")
