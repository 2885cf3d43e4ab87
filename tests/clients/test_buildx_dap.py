"""`docker buildx dap build`: a debugger (Debug Adapter Protocol) stops a build at lines of its Dockerfile.

https://microsoft.github.io/debug-adapter-protocol/specification: JSON after a header with its length, both ways, on the
standard input and output of the adapter.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pexpect
import pytest
from tests.clients.test_buildx_build import BASE, BUILDX, Project, project

__all__ = ["project"]

pytestmark = pytest.mark.skipif(BUILDX is None, reason="docker buildx is not installed (make clients)")
_SECONDS = 60


class Debugger:
    """The client of one adapter."""

    def __init__(self, command: list[str], environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
        self._messages: queue.Queue[dict[str, Any]] = queue.Queue()
        self._kept: list[dict[str, Any]] = []
        self._sent = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        out = self._process.stdout
        assert out is not None
        while (line := out.readline()).strip():
            length = int(line.partition(b":")[2])
            while out.readline().strip():
                pass
            self._messages.put(json.loads(out.read(length)))
        self._messages.put({"type": "end"})

    def send(self, message: dict[str, Any]) -> None:
        """Send a message, numbered."""
        self._sent += 1
        content = json.dumps({"seq": self._sent, **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(content), content))
        self._process.stdin.flush()

    def start(self, command: str, **arguments: Any) -> int:
        """Ask for something; return the request's number."""
        self.send({"type": "request", "command": command, "arguments": arguments})
        return self._sent

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Ask for something; return the body of the answer."""
        number = self.start(command, **arguments)
        answer = self.wait(lambda one: one["type"] == "response" and one["request_seq"] == number)
        assert answer["success"], answer
        return dict(answer.get("body") or {})

    def event(self, name: str) -> dict[str, Any]:
        """The next event of a name."""
        return dict(self.wait(lambda one: one.get("event") == name).get("body") or {})

    def wait(self, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next message that fits; those before it are kept."""
        for one in self._kept:
            if fits(one):
                self._kept.remove(one)
                return one
        while True:
            try:
                message = self._messages.get(timeout=_SECONDS)
            except queue.Empty:
                raise AssertionError(f"no such message; there were {self._kept}\n{self._log.read_text()}") from None
            if fits(message):
                return message
            assert message["type"] != "end", f"it ended after {self._kept}\n{self._log.read_text()}"
            self._kept.append(message)

    def end(self) -> int:
        """Say that nothing more is asked; return the adapter's status."""
        self.start("disconnect")
        self.wait(lambda one: one["type"] == "end")
        return self._process.wait(_SECONDS)

    def close(self) -> None:
        """End the adapter."""
        self._process.kill()
        self._process.wait()
        self._reader.join()


def environment_of(project: Project) -> dict[str, str]:
    return {**os.environ, **project.engine.docker.environment, **project.environment}


@pytest.fixture
def debugger(project: Project) -> Iterator[Debugger]:
    project.environment["BUILDX_EXPERIMENTAL"] = "1"
    project.needs("dap")
    command = [project.engine.docker.program, "buildx", "dap", "build", str(project.context)]
    made = Debugger(command, environment_of(project), project.root / "adapter.log")
    yield made
    made.close()


def launched(debugger: Debugger, project: Project, *lines: int) -> None:
    """A build that stops at lines."""
    debugger.ask("initialize", adapterID="test", supportsRunInTerminalRequest=True)
    debugger.start("launch", dockerfile=str(project.context / "Dockerfile"), contextPath=str(project.context))
    debugger.event("initialized")
    source = {"path": str(project.context / "Dockerfile")}
    debugger.ask("setBreakpoints", source=source, breakpoints=[{"line": line} for line in lines])
    debugger.ask("configurationDone")


def stopped(debugger: Debugger) -> tuple[str, dict[str, Any], int]:
    """Why the build stops, in which frame, and in which thread."""
    event = debugger.event("stopped")
    frames = debugger.ask("stackTrace", threadId=event["threadId"])["stackFrames"]
    return event["reason"], frames[0], event["threadId"]


def shell(debugger: Debugger, project: Project) -> tuple[pexpect.spawn, bool]:
    """The shell that the debugger opens in the step, and whether it runs."""
    number = debugger.start("evaluate", expression="exec", context="repl")
    request = debugger.wait(lambda one: one.get("command") == "runInTerminal" and one["type"] == "request")
    command, *arguments = request["arguments"]["args"]
    terminal = pexpect.spawn(command, arguments, env=environment_of(project), timeout=_SECONDS, encoding="utf-8")
    body = {"processId": terminal.pid}
    answer = {
        "type": "response",
        "request_seq": request["seq"],
        "command": "runInTerminal",
        "success": True,
        "body": body,
    }
    debugger.send(answer)
    assert debugger.wait(lambda one: one["type"] == "response" and one["request_seq"] == number)["success"]
    return terminal, terminal.expect(["# ", "file does not exist[)]"]) == 0


def test_a_build_stops_at_lines_and_where_it_fails(debugger: Debugger, project: Project) -> None:
    project.write(
        f"FROM {BASE}\nRUN echo one > /made\nRUN echo two >> /made\nENV WHO=me\nRUN echo left > /left && exit 6\n"
    )
    launched(debugger, project, 3)
    reason, frame, thread = stopped(debugger)
    assert (reason, frame["line"]) == ("breakpoint", 3)
    assert frame["source"]["path"] == str(project.context / "Dockerfile")
    scopes = {one["name"]: one["variablesReference"] for one in debugger.ask("scopes", frameId=frame["id"])["scopes"]}
    arguments = debugger.ask("variables", variablesReference=scopes["Arguments"])["variables"]
    assert "echo two >> /made" in next(one["value"] for one in arguments if one["name"] == "exec")
    # It stops before the line.
    terminal, is_executable = shell(debugger, project)
    assert is_executable
    terminal.sendline("cat /made; echo $((6*7))")
    terminal.expect("one\r+\n42\r+\n")
    terminal.sendline("exit")
    terminal.expect(pexpect.EOF)
    debugger.ask("next", threadId=thread)
    reason, frame, thread = stopped(debugger)
    assert (reason, frame["line"]) == ("step", 5)
    debugger.ask("continue", threadId=thread)
    reason, frame, thread = stopped(debugger)
    assert (reason, frame["line"]) == ("exception", 5)
    debugger.ask("continue", threadId=thread)
    debugger.event("terminated")
    assert debugger.end() != 0


def test_a_shell_runs_in_the_step_that_failed(debugger: Debugger, project: Project) -> None:
    project.write(f"FROM {BASE}\nENV WHO=me\nRUN echo left > /left && exit 6\n")
    launched(debugger, project)
    reason, frame, thread = stopped(debugger)
    assert (reason, frame["line"]) == ("exception", 3)
    terminal, is_executable = shell(debugger, project)
    # Older ones look for the shell in the results that the step is made from, of which a failed one has none.
    if is_executable:
        terminal.sendline("cat /left; echo $WHO-$((6*7))")
        terminal.expect("left\r+\nme-42\r+\n")
        terminal.sendline("exit")
        terminal.expect(pexpect.EOF)
    debugger.ask("continue", threadId=thread)
    debugger.event("terminated")
    assert debugger.end() != 0


def test_a_build_that_succeeds_runs_to_its_end(debugger: Debugger, project: Project) -> None:
    project.write(f"FROM {BASE}\nRUN true\nRUN echo 1 > /file\n")
    launched(debugger, project)
    debugger.event("terminated")
    assert debugger.end() == 0
