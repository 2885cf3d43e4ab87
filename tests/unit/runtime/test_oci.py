"""What runtimes print, in the words that clients read."""

import pytest

from darse.engine.errors import SystemFault
from darse.runtime.oci import CommandNotExecutable, CommandNotFound, failure


@pytest.mark.parametrize(
    ("message", "kind", "phrase"),
    [
        ("executable file `nosuch` not found in $PATH: No such file or directory", CommandNotFound, "executable file"),
        ("open executable: Operation not permitted", CommandNotExecutable, "permission denied"),
        ("open executable: Permission denied", CommandNotExecutable, "permission denied"),
        ("exec: `nosuch`: No such file or directory", CommandNotFound, "no such file or directory"),
        ("cgroups in hybrid mode not supported", SystemFault, "hybrid mode"),
        ('{"msg":"mount `proc`: Permission denied"}\n', SystemFault, "mount `proc`"),
    ],
)
def test_the_docker_cli_finds_its_phrase(message, kind, phrase):
    error = failure("crun", message, "nosuch")
    assert type(error) is kind
    assert phrase in str(error)


def test_a_failed_exec_says_so():
    assert str(failure("crun", "executable file `x` not found in $PATH", "x", during="exec")).startswith(
        "OCI runtime exec failed: exec failed: crun: unable to start container process: exec: "
    )
