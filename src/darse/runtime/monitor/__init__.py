"""The monitor: the parent of a container's process, which outlives the engine.

A monitor owns the stdio of one container or one exec, writes its log, and records how its process ended. The engine
*launches* a container: the monitor starts, has the OCI runtime *create* the container, and reports its first process,
which waits until the runtime is asked to *start* it. When that process ends, the monitor writes the *exit file*, and
ends itself. A monitor that ends without an exit file was killed: nobody knows how the process ends, or that it has.

`Monitor` is what the engine asks; `darse.runtime.monitor.launch.Conmon` is conmon(8), `darse.testing` has one without
processes. Files of a monitor (`conmon.MonitorDirectory`) are read by both in the same way.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from darse.runtime.monitor.conmon import CreateResult
    from darse.runtime.monitor.launch import ContainerLaunch


class HeldProcess(Protocol):
    """A process that is held: its pid cannot become another's unnoticed."""

    pid: int

    def send(self, number: int) -> None:
        """Send a signal. Raises ProcessLookupError when the process has ended, or was let go of."""

    async def wait(self) -> None:
        """Return when the process has ended; any number may wait. Raises DescriptorClosed."""

    async def ends_within(self, seconds: float) -> bool:
        """Whether the process has ended, or does within `seconds`. Raises DescriptorClosed."""

    def reap(self) -> None:
        """Collect the ended process where it is our child."""

    def close(self) -> None:
        """Let go of the process; who still waits gets DescriptorClosed."""


class Monitor(Protocol):
    """Launches containers, and finds what was launched by an engine before this one."""

    async def launch_container(self, launch: ContainerLaunch) -> CreateResult:
        """Create a container whose process waits.

        When this is cancelled, the monitor and the runtime have ended when it returns: the runtime opens what the
        spec names, the namespaces that the engine holds open among it, and these are closed next.
        Raises what `launch.prepare` and `launch.write_spec` raise, CreateFailed with what the runtime printed,
        MonitorExited, and OSError.
        """

    def hold(self, pid: int) -> HeldProcess:
        """Hold a monitor. Raises ProcessLookupError when there is none, and OSError."""

    def hold_child(self, pid: int, monitor_pid: int) -> HeldProcess | None:
        """Hold the process `pid` of a monitor; None when it has ended, or the pid has become another's."""

    def running(self) -> dict[Path, int]:
        """The monitors on this host: the pid of each by its directory."""
