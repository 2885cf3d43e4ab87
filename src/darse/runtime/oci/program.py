"""OCI runtimes as programs: where they keep a container's state, how to start one, and what their errors mean.

A runtime's `create` and `exec` are run by conmon. `start` of crun is done here without a process: the container's
first process waits in `exec.fifo` of the runtime's state directory, and one byte written there lets it go (crun's
own `start` does no more). Other runtimes are asked by their command line.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from darse.core import trace
from darse.core.errors import EngineError, InvalidParameter, SystemFault
from darse.linux.fs.contained import remove_tree

_COMMAND_SECONDS = 60


class OCIRuntime:
    """One installed runtime with the directory it keeps its state in.

    `arguments` are the administrator's (`runtimeArgs`), and go before the runtime's command.
    """

    def __init__(self, name: str, program: str, root: Path, arguments: Sequence[str] = ()) -> None:
        self.name = name
        self.program = program
        self.root = root
        self.arguments = tuple(arguments)
        self.is_crun = os.path.basename(program) == "crun"

    @property
    def global_options(self) -> tuple[str, ...]:
        """What every call of the program begins with."""
        return (f"--root={self.root}", *self.arguments)

    def command(self, *arguments: str) -> tuple[str, ...]:
        """The program's whole command line."""
        return (self.program, *self.global_options, *arguments)

    def state_directory(self, container_id: str) -> Path:
        """Where the runtime remembers a container."""
        return self.root / container_id

    def is_waiting(self, container_id: str) -> bool:
        """Whether the container was created and not started."""
        return (self.state_directory(container_id) / "exec.fifo").exists()

    def start(self, container_id: str) -> None:
        """Let a created container run its process. Blocks for other runtimes than crun; raises SystemFault."""
        fifo = self.state_directory(container_id) / "exec.fifo"
        command = self.command("start", container_id)
        with trace.step("process", "start the container's process", *command):
            if not (self.is_crun and _release(fifo)):
                self._command("start", container_id)

    def forget(self, container_id: str) -> None:
        """Remove what the runtime remembers of a container that has ended."""
        directory = self.state_directory(container_id)
        if directory.exists():
            with trace.step("state", f"{self.name} forgets the container", "rm", "-r", str(directory)):
                remove_tree(directory)

    def _command(self, *arguments: str) -> None:
        try:
            subprocess.run(
                self.command(*arguments),
                check=True,
                capture_output=True,
                # Nothing of the engine's environment: runc takes NOTIFY_SOCKET for the container's.
                env={"PATH": os.defpath},
                timeout=_COMMAND_SECONDS,
            )
        except subprocess.CalledProcessError as error:
            raise SystemFault(f"{self.name} {arguments[0]}: {error.stderr.decode(errors='replace').strip()}") from error
        except subprocess.TimeoutExpired as error:
            raise SystemFault(f"{self.name} {arguments[0]} did not end within {_COMMAND_SECONDS} s") from error


def _release(fifo: Path) -> bool:
    """Write the byte that the container's first process waits for; False when nobody reads there yet."""
    try:
        descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return False
        raise
    try:
        os.write(descriptor, b"0")
    finally:
        os.close(descriptor)
    with contextlib.suppress(FileNotFoundError):
        fifo.unlink()
    return True


_NOT_FOUND = re.compile(r"executable file (?:.* )?not found")
# crun: chdir `/x`: No such file or directory. runc: chdir to cwd ("/x") set in config.json failed: no such …
_NO_WORKING_DIRECTORY = re.compile(
    r"chdir (?:`(?P<crun>.*)`: |to cwd \((?P<runc>\".*\")\) set in config.json failed: )(?P<reason>.*)"
)
# A line of runc's log as text: `time="…" level=error msg="…"`, quoted as Go does.
_LOG_LINE = re.compile(r'time="[^"]*" level=\w+ msg=(?P<quoted>".*")$')
_NO_ENTRY = re.compile(r"No such file or directory", re.IGNORECASE)
# crun says "Operation not permitted" of a directory.
_DENIED = re.compile(r"permission denied|open executable: Operation not permitted|is a directory", re.IGNORECASE)


class LaunchFailure(InvalidParameter):
    """The container's own command cannot run; `exit_code` is what a shell would say (127, 126)."""

    exit_code = 127


class CommandNotFound(LaunchFailure):
    """There is no such executable in the container."""


class CommandNotExecutable(LaunchFailure):
    """The executable exists and may not be run."""

    exit_code = 126


def check_launchable(command: str, directory: str) -> None:
    """Refuse an exec's command and working directory that no container can have, as runc does at the start.

    Raises CommandNotExecutable: clients expect the stream of such an exec, and 126 as its exit code.
    """
    if not command:
        raise CommandNotExecutable(f'{_PREFIX["exec"]}unable to start container process: exec: "": no command: unknown')
    if directory and not directory.startswith("/"):
        raise CommandNotExecutable(
            f"{_PREFIX['exec']}unable to start container process: Cwd must be an absolute path: unknown"
        )


_PREFIX = {
    "create": "OCI runtime create failed: ",
    "exec": "OCI runtime exec failed: exec failed: ",
}


def failure(runtime: str, message: str, command: str, *, during: str = "create") -> EngineError:
    """Turn what a runtime printed into the error that clients know.

    The docker CLI derives its exit status from phrases of runc's: "executable file not found" and "no such file or
    directory" mean 127, "permission denied" means 126.
    """
    text = _plain(message)
    prefix = _PREFIX[during] + runtime
    directory = _NO_WORKING_DIRECTORY.search(text)
    if directory is not None:
        shown = directory["runc"] or json.dumps(directory["crun"])
        reason = directory["reason"].lower()
        kind = CommandNotExecutable if _DENIED.search(reason) else CommandNotFound
        return kind(
            f"{prefix}: unable to start container process: chdir to cwd ({shown}) set in config.json failed: "
            f"{reason}: unknown"
        )
    name = json.dumps(command)
    if _NOT_FOUND.search(text):
        return CommandNotFound(
            f"{prefix}: unable to start container process: exec: {name}: executable file not found in $PATH: unknown"
        )
    started = f"`{command}`" in text or "exec" in text or "open executable" in text
    if started and _DENIED.search(text):
        return CommandNotExecutable(
            f"{prefix}: unable to start container process: exec: {name}: permission denied: unknown"
        )
    if started and _NO_ENTRY.search(text):
        return CommandNotFound(
            f"{prefix}: unable to start container process: exec: {name}: "
            "stat {0}: no such file or directory: unknown".format(command)
        )
    return SystemFault(f"{prefix}: {text}: unknown")


def _plain(message: str) -> str:
    """Take the text out of a runtime's log lines, of JSON or of logfmt; plain text stays as it is."""
    texts = []
    for line in message.strip().splitlines():
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict) and "msg" in entry:
                texts.append(str(entry["msg"]))
                continue
        logged = _LOG_LINE.match(line)
        if logged is not None:
            with contextlib.suppress(ValueError):
                texts.append(json.loads(logged["quoted"]))
                continue
        texts.append(re.sub(r"^\d{4}-\d\d-\d\dT[\d:.]+Z:? ?", "", line))
    return "; ".join(texts)
