"""Launches that are given up, with a real conmon and a runtime that is late: it reads what is its own, and no other."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from pathlib import Path

import pytest

from darse.linux.fs.mounts import NamespaceThreads
from darse.runtime.monitor import conmon, launch
from darse.runtime.monitor.conmon import ConmonProcess, MonitorDirectory, MonitorExited, StdioPlan
from darse.runtime.monitor.launch import Conmon, ContainerLaunch, ExecLaunch, RootMount
from darse.runtime.monitor.null_device import NullDevice
from darse.runtime.oci.program import Runc
from tests.support.waiting import wait_while

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


_NEVER = """\
#!/bin/sh
echo $$ > {directory}/runtime
exec sleep 1000
"""


@pytest.mark.parametrize("answered", [False, True])
async def test_a_launch_that_is_given_up_has_ended_before_what_it_stands_on_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answered: bool
) -> None:
    """The runtime opens the network namespace by the engine's number for it, which is free once the start is undone."""
    threads = NamespaceThreads(1)
    monkeypatch.setattr(threads, "private_mounts", contextlib.nullcontext)
    monkeypatch.setattr(launch, "mount_overlay", lambda *_, **__: None)
    program = tmp_path / "late"
    program.write_text(_NEVER.format(directory=tmp_path))
    program.chmod(0o700)
    bundle = MonitorDirectory(tmp_path / "c1", tmp_path / "exits", "c1")
    bundle.rootfs.mkdir(parents=True)
    bundle.exits.mkdir()
    monitors: list[int] = []
    cancelled = threading.Event()
    complete = ConmonProcess.complete

    def note(self: ConmonProcess, *arguments: float, **options: int) -> conmon.CreateResult:
        monitors.append(self._monitor)
        if answered:
            cancelled.wait(10)
            return conmon.CreateResult(0, self._monitor)
        return complete(self, *arguments, **options)

    monkeypatch.setattr(ConmonProcess, "complete", note)
    wanted = ContainerLaunch(
        Runc("late", str(program), tmp_path / "state"),
        bundle,
        "c1",
        RootMount((), "", ""),
        StdioPlan(terminal=False, stdin=False, keep_stdin_open=False),
        lambda: None,
        lambda _: None,
        log_path=None,
    )
    begun = asyncio.ensure_future(Conmon(threads).launch_container(wanted))
    pid = tmp_path / "runtime"
    while not (monitors and pid.exists() and pid.read_text()):
        await asyncio.sleep(0.01)
    begun.cancel()
    asyncio.get_running_loop().call_later(0.05, cancelled.set)
    with pytest.raises(asyncio.CancelledError):
        await begun
    assert not Path(f"/proc/{monitors[0]}").exists(), "the monitor is killed and reaped"
    runtime = Path(f"/proc/{int(pid.read_text())}/exe")
    wait_while(runtime.exists, what="the runtime, after its monitor")
    threads.close()
