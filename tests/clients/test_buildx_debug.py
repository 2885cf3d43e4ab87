"""`docker buildx debug`: a shell on what a build came to, or on the step that failed, in a terminal."""

from __future__ import annotations

import pexpect
import pytest
from tests.clients.test_buildx_build import BASE, BUILDX, Project, project

__all__ = ["project"]

pytestmark = pytest.mark.skipif(BUILDX is None, reason="docker buildx is not installed (make clients)")


def debugging(project: Project, *flags: str) -> pexpect.spawn:
    environment = {**project.engine.docker.environment, **project.environment, "BUILDX_EXPERIMENTAL": "1"}
    command = ["buildx", "debug", *flags, "build", "--progress", "plain", str(project.context)]
    session = pexpect.spawn(project.engine.docker.program, command, env=environment, timeout=40, encoding="utf-8")
    if session.expect(["# ", "[(]buildx[)] "]):
        session.send("\x01c")  # older ones are in the monitor first
        session.expect("# ")
    return session


def test_a_shell_runs_in_the_result(project: Project) -> None:
    project.write(f"FROM {BASE}\nRUN echo of the build > /made\nENV WHO=me\nWORKDIR /work\n")
    session = debugging(project, "--on", "always", "--invoke", "/bin/sh")
    session.sendline("cat /made; echo ${WHO}-$((6*7))")
    session.expect("of the build\r+\n")
    session.expect("me-42\r+\n")
    session.sendline("exit")
    session.expect("[(]buildx[)] ")
    session.close(force=True)


def test_a_shell_runs_in_the_step_that_failed(project: Project) -> None:
    # Those without it (0.19) lose the shell of a failed step, with buildkitd as well.
    project.needs("history")
    project.write(f"FROM {BASE}\nRUN echo left > /left && exit 6\n")
    session = debugging(project, "--on", "error", "--invoke", "/bin/sh")
    session.sendline("cat /left; echo $((6*7))")
    session.expect("left\r+\n42\r+\n")
    session.sendline("exit")
    session.expect("[(]buildx[)] ")
    session.close(force=True)
