"""What an OCI runtime prints when it fails, as the errors and exit codes that clients know.

The docker CLI derives its exit status from phrases of runc's: "executable file not found" and "no such file or
directory" mean 127, "permission denied" means 126.
"""

from __future__ import annotations

import contextlib
import json
import re

from darse.core.errors import EngineError, InvalidParameter, SystemFault

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
# What a process has to write before execve(2) to change its profile; the kernel knows none of that name.
_NOT_CONFINED = re.compile(r"/attr/(?:apparmor/)?exec\b")
# crun: mount `/a` to `b`: Not a directory, mkdir `/a/file/b`: Not a directory. runc: error mounting "/a" to rootfs at …
_NO_DIRECTORY = re.compile(r"(?:mount `|mkdir `|error mounting ).*: not a directory", re.IGNORECASE)
_MISMATCH = (
    "Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is "
    "the expected type"
)


class LaunchFailure(InvalidParameter):
    """The container cannot run as it is configured; `exit_code` is what a shell would say (127, 126)."""

    exit_code = 127


class CommandNotFound(LaunchFailure):
    """There is no such executable in the container."""


class MountMismatch(LaunchFailure):
    """A file is to be mounted on a directory, or a directory on a file."""


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
    """Turn what a runtime printed into the error that clients know; `during` is the runtime's command."""
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
    if _NOT_CONFINED.search(text):
        return InvalidParameter(f"{prefix}: unable to apply apparmor profile: {text}: unknown")
    if during == "create" and _NO_DIRECTORY.search(text):
        return MountMismatch(f"{prefix}: {text}: unknown: {_MISMATCH}")
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
