"""Which process a container's signals go to."""

from __future__ import annotations

import os
import signal
import subprocess

from darse.containers.lifecycle.control import _process_of, _signal
from darse.containers.model import Container, Record, State, Status
from darse.wire.containers import ContainerConfig
from darse.wire.host_config import HostConfig


def _container(state: State) -> Container:
    record = Record(
        id="1" * 64,
        name="one",
        created_ns=0,
        image_id="",
        image_reference="",
        config=ContainerConfig(),
        host=HostConfig(),
        endpoints={},
        mounts=[],
    )
    return Container(record, state)


def test_a_container_that_has_just_ended_has_no_process() -> None:
    assert _process_of(_container(State(Status.EXITED))) is None


def test_a_signal_goes_to_the_process_that_was_held_and_to_no_later_run() -> None:
    with subprocess.Popen(["sleep", "100"]) as first, subprocess.Popen(["sleep", "100"]) as second:
        container = _container(State(Status.RUNNING, pid=first.pid, monitor_pid=os.getpid()))
        process = _process_of(container)
        assert process is not None
        first.kill()
        first.wait()
        container.state.pid = second.pid  # started again
        _signal(process, signal.SIGKILL)
        process.close()
        assert second.poll() is None
        second.kill()
