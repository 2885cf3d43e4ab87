"""What runtimes print, in the words that clients read."""

import pytest

from darse.core.errors import InvalidParameter, SystemFault
from darse.runtime.oci.errors import CommandNotExecutable, CommandNotFound, MountMismatch, failure


@pytest.mark.parametrize(
    ("message", "kind", "phrase"),
    [
        ("executable file `nosuch` not found in $PATH: No such file or directory", CommandNotFound, "executable file"),
        ("open executable: Operation not permitted", CommandNotExecutable, "permission denied"),
        ("open executable: Permission denied", CommandNotExecutable, "permission denied"),
        ("exec: `nosuch`: No such file or directory", CommandNotFound, "no such file or directory"),
        ("cgroups in hybrid mode not supported", SystemFault, "hybrid mode"),
        ("write file `/proc/thread-self/attr/exec`: No such file or directory", InvalidParameter, "apparmor profile"),
        ("mount `/etc/hostname` to `data`: Not a directory", MountMismatch, "Are you trying to mount a directory onto"),
        ("mkdir `/data/seed/x`: Not a directory", MountMismatch, "Are you trying to mount a directory onto a file"),
        (
            'error mounting "/h" to rootfs at "/f": mount /h:/f (via /proc/self/fd/6), flags: 0x5000: not a directory',
            MountMismatch,
            "Are you trying to mount a directory onto a file (or vice-versa)?",
        ),
        ('{"msg":"mount `proc`: Permission denied"}\n', SystemFault, "mount `proc`"),
    ],
)
def test_the_docker_cli_finds_its_phrase(message, kind, phrase):
    error = failure("crun", message, "nosuch")
    assert type(error) is kind
    assert phrase in str(error)
    # This engine has neither tasks nor shims.
    assert "task" not in str(error)
    assert "shim" not in str(error)


RUNC = 'time="2026-01-02T03:04:05Z" level=error msg="exec failed: unable to start container process: {}"'
NO_DIRECTORY = 'chdir to cwd ("/none") set in config.json failed: '


@pytest.mark.parametrize(
    ("message", "kind", "said"),
    [
        (
            RUNC.format(r"exec: \"x\": executable file not found in $PATH"),
            CommandNotFound,
            'exec: "x": executable file',
        ),
        ("chdir `/none`: No such file or directory", CommandNotFound, f"{NO_DIRECTORY}no such file or directory"),
        ("chdir `/none`: Permission denied", CommandNotExecutable, f"{NO_DIRECTORY}permission denied"),
        (
            RUNC.format(NO_DIRECTORY.replace('"', '\\"') + "no such file or directory"),
            CommandNotFound,
            f"{NO_DIRECTORY}no such file or directory",
        ),
        (
            RUNC.format(r"a \"word\" in quotes"),
            SystemFault,
            'exec failed: unable to start container process: a "word" in',
        ),
    ],
)
def test_both_runtimes_give_the_reason(message, kind, said):
    error = failure("any", message, "x", during="exec")
    assert type(error) is kind
    assert said in str(error)
    assert "level=" not in str(error)


def test_a_failed_exec_says_so():
    assert str(failure("crun", "executable file `x` not found in $PATH", "x", during="exec")).startswith(
        "OCI runtime exec failed: exec failed: crun: unable to start container process: exec: "
    )
