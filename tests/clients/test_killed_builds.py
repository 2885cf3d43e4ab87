"""Clients of builds that are killed at any instant: nothing of their builds runs on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.clients.test_buildx_build import BASE, BUILDX, Project, project, records_in_use
from tests.support.clients import found
from tests.support.engine import Engine

__all__ = ["project"]

pytestmark = pytest.mark.skipif(BUILDX is None, reason="docker buildx is not installed (make clients)")
_MANY = pytest.param(100, marks=[pytest.mark.heavy, pytest.mark.timeout(1800)])
# The last of them is in the middle of a step, on a machine with nothing else to do.
_SPAN_SECONDS = 2.5
_LIMIT_SECONDS = 10


class KilledClients:
    """One command that builds, killed again and again, with all of its processes."""

    def __init__(self, project: Project, command: Sequence[str]) -> None:
        self._project = project
        self._command = [project.engine.docker.program, *command]
        self._environment = {**project.engine.docker.environment, **project.environment}
        self._mark = f"10{time.time_ns() % 1_000_000:06}"
        dockerfile = f"FROM {BASE}\nCOPY . /all\nRUN sleep 0.2\nRUN echo begun; sleep {self._mark}\n"
        project.write(dockerfile, file="x" * 1_000_000)
        self.begun = 0
        """How many of the builds had come to their last step."""

    def kill_at(self, seconds: float) -> float:
        """Kill it so long after it has begun; return after how many seconds nothing was left of its build."""
        with (self._project.root / "log").open("w") as log:
            client = subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=self._project.root,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        with contextlib.suppress(subprocess.TimeoutExpired):
            client.wait(seconds)
        self.begun += self._runs()
        os.killpg(client.pid, signal.SIGKILL)
        client.wait()
        killed = time.monotonic()
        while self._runs() or records_in_use(self._project.engine):
            assert time.monotonic() < killed + _LIMIT_SECONDS, (self._project.root / "log").read_text()
            time.sleep(0.05)
        return time.monotonic() - killed

    def _runs(self) -> bool:
        """Whether the last step's process is there: a process that has ended, and nobody has waited for, is not."""
        wanted = f"sleep\0{self._mark}\0".encode()
        for one in Path("/proc").iterdir():
            if one.name.isdecimal():
                with contextlib.suppress(OSError):
                    if wanted in (one / "cmdline").read_bytes():
                        return True
        return False

    def kill(self, instants: int, tell: Callable[[str], None]) -> None:
        """Kill it at so many instants, from before it connects to the middle of a step."""
        took = sorted((self.kill_at(0.05 + _SPAN_SECONDS * n / instants), n) for n in range(instants))
        (longest, number), median = took[-1], took[len(took) // 2][0]
        tell(
            f"{' '.join(self._command[1:3])} killed at {instants} instants, {self.begun} of them in the last step: "
            f"nothing ran {longest:.1f} s later (median {median:.1f} s; the longest was number {number})"
        )


@pytest.mark.parametrize("instants", [8, _MANY])
def test_a_client_that_is_killed_leaves_nothing_running(
    project: Project, instants: int, tell: Callable[[str], None]
) -> None:
    command = ("build", "--no-cache", "--progress", "plain", str(project.context))
    KilledClients(project, command).kill(instants, tell)


@pytest.mark.parametrize("instants", [_MANY])
@pytest.mark.parametrize("plugin", ["docker-compose", "docker-compose-newest"])
def test_compose_that_is_killed_leaves_nothing_running(
    engine: Engine, tmp_path: Path, plugin: str, instants: int, tell: Callable[[str], None]
) -> None:
    """The newest builds by `buildx bake`."""
    compose, buildx = found(plugin), found("docker-buildx-newest") or BUILDX
    if compose is None:
        pytest.skip(f"{plugin} is not there (make clients)")
    project = Project(engine, tmp_path, buildx)
    (project.root / "config" / "cli-plugins" / "docker-compose").symlink_to(compose)
    (project.root / "compose.yaml").write_text("name: killed\nservices: {app: {build: {context: context}}}\n")
    KilledClients(project, ("compose", "build", "--no-cache")).kill(instants, tell)
