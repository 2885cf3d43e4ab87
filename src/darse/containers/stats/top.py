"""`top`: the processes in a container, as ps shows them."""

from __future__ import annotations

import time

from darse.containers.dependencies import Dependencies
from darse.containers.model import Container, refuse_restarting
from darse.core import executors
from darse.core.errors import Conflict, InvalidParameter, SystemFault
from darse.linux.proc.procinfo import read_process
from darse.runtime.processes import ps_columns
from darse.runtime.processes.ps_columns import Column, Moment
from darse.runtime.processes.ps_program import run_ps
from darse.wire.observation import TopResponse

_DEFAULT = "-ef"


class Top:
    """Lists processes."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies

    async def top(self, container: Container, arguments: str) -> TopResponse:
        """The table that `ps ARGUMENTS` would print of the container's processes, pids being the host's.

        Raises Conflict when it does not run, InvalidParameter for arguments that ps refuses, and SystemFault when they
        leave out the pid.
        """
        refuse_restarting(container)
        if not container.state.alive:
            raise Conflict(f"container {container.id} is not running")
        arguments = arguments or _DEFAULT
        if len(arguments) > 4096:
            raise InvalidParameter("invalid ps_args: too long")
        columns = ps_columns.choose(arguments)
        if columns is not None and all(column.title != "PID" for column in columns):
            raise SystemFault("Couldn't find PID field in ps output")
        # A container may have many thousands of processes.
        titles, rows = await executors.kernel.run(self._table, container, arguments, columns)
        self._dependencies.publish(container, "top")
        return TopResponse(titles, rows)

    def _table(
        self, container: Container, arguments: str, columns: list[Column] | None
    ) -> tuple[list[str], list[list[str]]]:
        pids = sorted(self._dependencies.cgroups.processes(self._dependencies.cgroup_path(container)))
        if columns is None:
            return run_ps(arguments, pids)
        ps_columns.clear_name_cache()
        moment = Moment(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), self._dependencies.facts.memory)
        rows = [ps_columns.row(columns, process, moment) for pid in pids if (process := read_process(pid)) is not None]
        return [column.title for column in columns], rows
