"""Which process a container's signals go to."""

from __future__ import annotations

import os
import signal
import subprocess

from darse.containers.lifecycle.control import _signal
from darse.linux.fs.mounts import NamespaceThreads
from darse.runtime.monitor.launch import Conmon


def test_a_process_that_has_ended_is_not_held() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
        assert Conmon(NamespaceThreads(1)).hold_child(process.pid, os.getpid()) is None


def test_a_process_of_another_parent_is_not_held() -> None:
    with subprocess.Popen(["sleep", "100"]) as process:
        assert Conmon(NamespaceThreads(1)).hold_child(process.pid, os.getpid() + 1) is None
        process.kill()


def test_a_signal_goes_to_the_process_that_was_held_and_to_no_later_run() -> None:
    with subprocess.Popen(["sleep", "100"]) as first, subprocess.Popen(["sleep", "100"]) as second:
        process = Conmon(NamespaceThreads(1)).hold_child(first.pid, os.getpid())
        assert process is not None
        first.kill()
        first.wait()
        _signal(process, signal.SIGKILL)
        process.close()
        assert second.poll() is None
        second.kill()
