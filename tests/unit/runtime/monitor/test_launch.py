"""An exec that waits, with a real conmon and a runtime that is late: what it reads is its own pipe, and no other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from darse.linux.fs.mounts import NamespaceThreads
from darse.runtime.monitor import conmon
from darse.runtime.monitor.conmon import ConmonProcess, MonitorDirectory, MonitorExited, StdioPlan
from darse.runtime.monitor.launch import ExecLaunch
from darse.runtime.monitor.null_device import NullDevice
from darse.runtime.oci.program import Runc

_LATE = """\
#!/bin/sh
while [ "$1" != --process ]; do shift; done
while [ ! -e {directory}/go ]; do sleep 0.01; done
cat "$2" > {directory}/read
exit 1
"""


def test_the_runtime_of_an_abandoned_exec_does_not_read_from_what_is_opened_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "late"
    program.write_text(_LATE.format(directory=tmp_path))
    program.chmod(0o700)
    bundle = MonitorDirectory(tmp_path / "exec", tmp_path / "exec" / "exit", "c1")
    bundle.exits.mkdir(parents=True)
    runtime = Runc("late", str(program), tmp_path / "state")
    stdio = StdioPlan(terminal=False, stdin=False, keep_stdin_open=False)
    launch = ExecLaunch(runtime, bundle, stdio, attach=False, null=NullDevice(NamespaceThreads(1)))
    opened: list[int] = []
    wait = ConmonProcess.abandon

    def release_and_wait(self: ConmonProcess, seconds: float) -> None:
        """Somebody opens a pipe, whose reading end gets the lowest number that is free; then the runtime looks."""
        opened.extend(os.pipe())
        os.write(opened[1], b"the answer of a worker")
        os.close(opened[1])
        (tmp_path / "go").touch()
        wait(self, seconds)

    monkeypatch.setattr(ConmonProcess, "abandon", release_and_wait)
    launch.abandon()
    try:
        assert (tmp_path / "read").read_bytes() == b""
        assert os.read(opened[0], 100) == b"the answer of a worker"
    finally:
        os.close(opened[0])


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 3", r"\(exit status 3\): it printed nothing"),
        ("echo why >&2; kill -9 $$", r"\(signal 9\): why"),
        ("exec 3>&- 4>&-; exec sleep 1000", r"\(it hung\): it printed nothing"),
    ],
)
def test_how_a_conmon_without_a_word_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    monkeypatch.setattr(conmon, "_DYING_SECONDS", 0.3)
    program = tmp_path / "conmon"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    bundle = MonitorDirectory(tmp_path / "exec", tmp_path / "exec" / "exit", "c1")
    bundle.exits.mkdir(parents=True)
    stdio = StdioPlan(terminal=False, stdin=False, keep_stdin_open=False)
    launched = ConmonProcess([str(program)], bundle, stdio)
    with pytest.raises(MonitorExited, match=rf"conmon ended before the container was created {said}"):
        launched.complete(10)
