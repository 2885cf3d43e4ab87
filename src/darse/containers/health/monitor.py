"""Probing: the health checks of the containers that run.

At most one probe of a container runs at a time. One that takes too long is killed with all the processes of its session
and all that came from them, before the next.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator

from darse.containers.dependencies import Dependencies
from darse.containers.exec.service import ExecService
from darse.containers.health.policy import NANOSECONDS, HealthPlan, health_plan
from darse.containers.model import Container, Status
from darse.containers.streams.output import Batch
from darse.core.errors import Conflict, NotFound
from darse.core.times import rfc3339
from darse.durations import go_duration
from darse.wire.containers import HealthResult
from darse.wire.execs import ExecConfig, ExecStartRequest

_OUTPUT_KEPT = 4096


class HealthMonitor:
    """Probes every running container that has a health check."""

    def __init__(self, dependencies: Dependencies, execs: ExecService) -> None:
        self._dependencies = dependencies
        self._execs = execs
        self._monitors: dict[str, asyncio.Task[None]] = {}
        #: Since the start.
        self.probes = self.failed_probes = 0

    def started(self, container: Container) -> None:
        """Begin to probe; a probe that an engine before this one has begun ends first."""
        plan = health_plan(container.record.config)
        if plan is None:
            return
        task = asyncio.create_task(self._monitor(container, plan), name=f"health of {container.id[:12]}")
        self._monitors[container.id] = task
        task.add_done_callback(functools.partial(self._ended, container))

    def _ended(self, container: Container, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._dependencies.log.error("health check of %s failed", container.id[:12], exc_info=error)

    def ended(self, container: Container) -> None:
        """Stop probing."""
        monitor = self._monitors.pop(container.id, None)
        if monitor is not None:
            monitor.cancel()

    def removed(self, container: Container) -> None:
        """Nothing is left to do: it had ended before."""

    async def close(self) -> None:
        """Stop probing; a probe under way is ended by the next engine."""
        monitors = list(self._monitors.values())
        for monitor in monitors:
            monitor.cancel()
        await asyncio.gather(*monitors, return_exceptions=True)

    async def _monitor(self, container: Container, plan: HealthPlan) -> None:
        for exec_id in self._execs.probes(container.id):
            await self._execs.kill(exec_id)
            self._execs.discard_exec(exec_id)
        health = container.state.health
        now = asyncio.get_running_loop().time
        # Read once: the clock may be set while the container runs.
        begun = now() - max(0.0, (time.time_ns() - container.state.started_ns) / NANOSECONDS)
        while health is not None:
            await asyncio.sleep(plan.pause(health, now() - begun))
            if container.state.status is Status.RUNNING:
                await self._probe(container, plan, now() - begun)
            health = container.state.health

    async def _probe(self, container: Container, plan: HealthPlan, running_for: float) -> None:
        """Run the command once and record its result; the container has run for that many seconds."""
        began_ns = time.time_ns()
        config = ExecConfig(Cmd=plan.command, AttachStdout=True, AttachStderr=True)
        try:
            exec_id = await self._execs.create(container.id, config, probe=True)
            streams = await self._execs.start(exec_id, ExecStartRequest())
        except (Conflict, NotFound):
            return  # paused, or ended just now
        assert streams is not None
        output = _Output()
        ended = asyncio.ensure_future(output.collect(streams.output()))
        in_time, _ = await asyncio.wait((ended,), timeout=plan.timeout)
        if in_time:
            code, text = self._execs.inspect(exec_id).ExitCode, output.text()
        else:
            limit = go_duration(round(plan.timeout * NANOSECONDS))
            code, text = -1, f"Health check exceeded timeout ({limit})"
            if printed := output.text():
                text += f": {printed}"
        result = HealthResult(rfc3339(began_ns), rfc3339(time.time_ns()), -1 if code is None else code, text)
        self._record(container, plan, result, running_for)
        if not in_time:
            await self._execs.kill(exec_id)
        await ended
        self._execs.discard_exec(exec_id)

    def _record(self, container: Container, plan: HealthPlan, result: HealthResult, running_for: float) -> None:
        self.probes += 1
        self.failed_probes += result.ExitCode != 0
        dependencies, health = self._dependencies, container.state.health
        if health is None or not container.state.alive:
            return
        before = health.Status
        after = plan.judge(health, result, running_for)
        if after == before and dependencies.pending_writes.waits(container.id):
            return  # what waits writes the whole state
        dependencies.pending_writes.write(
            container.id, functools.partial(self._save, container, after if after != before else "")
        )

    def _save(self, container: Container, health_status: str) -> None:
        dependencies = self._dependencies
        with dependencies.database.transaction(durable=False):
            dependencies.store.save_state(container)
            if health_status:
                dependencies.publish(container, f"health_status: {health_status}")


class _Output:
    """The beginning of what a probe printed."""

    def __init__(self) -> None:
        self._kept = b""
        self._cut = False

    async def collect(self, batches: AsyncIterator[Batch]) -> None:
        """Take all the output, so that the probe is never blocked, and keep its beginning."""
        async for batch in batches:
            for _, piece in batch:
                room = _OUTPUT_KEPT - len(self._kept)
                self._cut |= len(piece) > room
                self._kept += piece[:room]

    def text(self) -> str:
        """What was kept, with a mark where more was printed."""
        return self._kept.decode(errors="replace") + ("..." if self._cut else "")
