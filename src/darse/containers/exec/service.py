"""Execs: further processes in a running container, each with a conmon of its own.

An exec lives as long as its container runs, so its record is a file under the exec root, beside conmon's files: it
survives the engine and needs no fsync. A finished exec stays for inspection until `_KEPT_FINISHED` newer ones have
finished, because clients ask for the exit code after the stream has ended. One that is not started goes after five
minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import socket
from collections import deque
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from darse.containers.dependencies import Dependencies
from darse.containers.exec.pool import ExecKey, ExecPool, clear, monitor_directory_of
from darse.containers.exec.records import Exec, ExecRecord, read_record
from darse.containers.model import Container, Purpose, Status, refuse_restarting
from darse.containers.networking.links import Links
from darse.containers.streams.console import Attachment, ConsoleHub
from darse.containers.streams.options import detach_keys
from darse.containers.streams.output import STDERR, STDOUT
from darse.core import executors, trace
from darse.core.documents import NewerDocument
from darse.core.errors import Conflict, EngineError, NotFound, SystemFault
from darse.core.exhaustion import in_words, reason
from darse.core.ids import new_id, short_id
from darse.linux.fs.contained import discard_tree
from darse.linux.proc.process import kill_with_descendants, runs
from darse.runtime.monitor import HeldProcess, conmon
from darse.runtime.monitor.conmon import CreateFailed, CreateResult, MonitorExited, StdioPlan
from darse.runtime.monitor.launch import ExecLaunch
from darse.runtime.oci import validate
from darse.runtime.oci.errors import LaunchFailure, check_launchable, failure
from darse.runtime.oci.spec import exec_process
from darse.runtime.oci.user import ResolvedUser, lookup_user
from darse.wire.execs import ExecConfig, ExecInspect, ExecProcess, ExecStartRequest

_KEPT_FINISHED = 256
# How long an exec waits for a pause that has begun, or for a commit that holds its container still.
_FREEZE_SECONDS = 60.0
# How long an exec's monitor may take to write the last output of a container that has ended.
_MONITOR_SECONDS = 5.0
# How long an exec may wait for its start.
_UNSTARTED_SECONDS = 300.0
# How long a resize waits for the start: clients send both at once.
_RESIZE_SECONDS = 10.0


class ExecService:
    """Creates, starts, inspects and resizes execs."""

    def __init__(self, dependencies: Dependencies, links: Links) -> None:
        self._dependencies = dependencies
        self._links = links
        self._store = dependencies.store
        self._directory = dependencies.files.execs
        self._execs: dict[str, Exec] = {}
        self._finished: deque[str] = deque()
        self._pool = ExecPool(self._directory, dependencies.null)
        self._endings: set[asyncio.Task[bool]] = set()
        dependencies.listeners.add(self._pool)
        dependencies.listeners.add(self)

    async def create(self, reference: str, config: ExecConfig, *, probe: bool = False) -> str:
        """Prepare an exec and return its id; `probe` marks a health check's.

        Raises NotFound, Conflict when the container does not run or is paused, and InvalidParameter, also for a user
        or group that the container does not have.
        """
        container = self._running(reference)
        validate.check_exec(config)
        if config.DetachKeys:
            detach_keys(config.DetachKeys)
        if config.User:
            await executors.foreign.run(f"/etc of container {container.id[:12]}", self._user, container, config)
            container = self._running(container.id)
        shape = _shape(container, config, attached=_attaches(config))
        spare = None if probe else self._pool.adopt(shape)
        record = ExecRecord(spare or new_id(), container.id, config, probe=probe)
        one = self._open(record)
        try:
            with in_words():
                if spare is None:
                    one.bundle.exits.mkdir(mode=0o700, parents=True)
                one.save()
        except EngineError:
            discard_tree(one.bundle.directory)
            raise
        self._execs[record.id] = one
        self._await_start(one)
        if spare is None:
            self._pool.begin(record.id, shape, self._dependencies.runtime_of(container))
        self._publish(one, f"exec_create: {' '.join(config.Cmd or ())}")
        return record.id

    def of_container(self, container_id: str) -> list[str]:
        """The ids of a container's execs that have not finished."""
        return [
            one.record.id
            for one in self._execs.values()
            if one.record.container_id == container_id and one.record.exit_code is None
        ]

    def probes(self, container_id: str) -> list[str]:
        """The ids of a container's execs that are probes of its health."""
        return [
            one.record.id
            for one in self._execs.values()
            if one.record.container_id == container_id and one.record.probe
        ]

    async def kill(self, exec_id: str) -> None:
        """End an exec with its session and all that came from its process. Raises NotFound."""
        one = self._get(exec_id)
        if one.launch is not None:
            await asyncio.wait((one.launch,))
        container = self._store.find(one.record.container_id)
        if one.watcher is None or not one.running or container is None:
            return
        await self._kill(one, container)
        await asyncio.wait((one.watcher,))

    async def _kill(self, one: Exec, container: Container) -> None:
        members = functools.partial(self._dependencies.cgroups.processes, self._dependencies.cgroup_path(container))
        await executors.kernel.run(kill_with_descendants, one.record.pid, members)

    def discard_exec(self, exec_id: str) -> None:
        """Delete an exec that has ended, or that was not started."""
        one = self._execs.get(exec_id)
        if one is None:
            return
        if exec_id in self._finished:
            self._finished.remove(exec_id)
        self._delete_exec(one)

    async def start(self, exec_id: str, request: ExecStartRequest) -> Attachment | None:
        """Run an exec; return its streams, or None when it is to be detached.

        A command that cannot be run is reported on the stream, with exit code 126 or 127, as clients expect who
        have a stream already. Raises NotFound, Conflict, InvalidParameter when its user or group is there no more,
        and what the runtime's failure means when detached.
        """
        one = self._get(exec_id)
        container = self._startable(one)
        validate.check_console(request.ConsoleSize)
        config = one.record.config
        if config.User:
            await executors.foreign.run(f"/etc of container {container.id[:12]}", self._user, container, config)
            container = self._startable(one)
        one.record.started = True
        if one.expiry is not None:
            one.expiry.cancel()
        config.ConsoleSize = request.ConsoleSize or config.ConsoleSize
        attachment = None if request.Detach else self._attachment(one, terminal=request.Tty)
        self._publish(one, f"exec_start: {' '.join(config.Cmd or ())}")
        if attachment is None:
            await self._run(one, container, None)
        else:
            # The caller answers its client before the process can print: clients exist that read the head of the answer
            # through a buffer, and lose what has come along with it.
            one.launch = asyncio.create_task(self._run(one, container, attachment))
        return attachment

    def _startable(self, one: Exec) -> Container:
        """The running container of an exec that was not started yet. Raises NotFound, Conflict."""
        if one.over:
            raise NotFound(f"No such exec instance: {one.record.id}")
        if one.record.started:
            raise Conflict(f"Error: Exec command {one.record.id} is already running")
        return self._running(one.record.container_id)

    async def _run(self, one: Exec, container: Container, attachment: Attachment | None) -> None:
        """Launch; say on the stream, where there is one, why that was impossible."""
        try:
            with in_words():
                await self._launch(one, container, attached=attachment is not None)
        except Exception as error:
            if attachment is not None:
                attachment.take((STDOUT, f"{error}\r\n".encode()))
            self._finish(one, error.exit_code if isinstance(error, LaunchFailure) else 126)
            if attachment is None:
                raise
            if not isinstance(error, EngineError):
                self._dependencies.log.exception("exec %s failed", one.record.id)

    async def _launch(self, one: Exec, container: Container, *, attached: bool) -> None:
        runtime = self._dependencies.runtime_of(container)
        # The runtime brings nothing into a container that stands still.
        await container.wait_until_over(Purpose.FREEZE, _FREEZE_SECONDS)
        with container.under_way(Purpose.EXEC), self._dependencies.traces.record("exec", container.id):
            # It may have been paused since this was asked for.
            self._running(container.id)
            shape = _shape(container, one.record.config, attached=attached)
            prestarted = await self._pool.take(one.record.id, shape)
            run = functools.partial(self._launch_blocking, one, container, shape, prestarted)
            try:
                launched, connection = await executors.launch.run(run)
            except (CreateFailed, MonitorExited, OSError) as error:
                if not runs(shape.container_pid, container.state.monitor_pid):
                    raise Conflict(f"container {container.id} is not running") from error
                if not isinstance(error, CreateFailed):
                    raise
                command = (one.record.config.Cmd or [""])[0]
                raise failure(runtime.name, str(error), command, during="exec") from error
        one.record.pid = launched.pid
        one.begun.set()
        # It runs, so it is watched, whatever befalls what follows.
        monitor = self._dependencies.monitor.hold(launched.monitor_pid)
        one.watcher = asyncio.create_task(self._watch(one, monitor, launched.exit_pipe, shape))
        if connection is not None:
            one.hub.connect(connection)
        self._save(one)

    def _launch_blocking(
        self, one: Exec, container: Container, shape: ExecKey, prestarted: ExecLaunch | None
    ) -> tuple[CreateResult, socket.socket | None]:
        runtime = self._dependencies.runtime_of(container)
        null = self._dependencies.null
        launch = prestarted or ExecLaunch(runtime, one.bundle, shape.stdio, attach=shape.attach, null=null)
        try:
            check_launchable((one.record.config.Cmd or [""])[0], one.record.config.WorkingDir)
            process = msgspec.json.encode(self._process(container, one.record.config))
            # For an engine that comes after this one: the exec does not wait any more.
            with trace.step("file", f"the exec's process, for the OCI runtime: {one.bundle.config}"):
                one.bundle.config.write_bytes(process)
        except BaseException:
            launch.abandon()
            raise
        return launch.run(process)

    def inspect(self, exec_id: str) -> ExecInspect:
        """The state of an exec. Raises NotFound."""
        one = self._get(exec_id)
        config = one.record.config
        command, *arguments = config.Cmd or [""]
        return ExecInspect(
            ID=exec_id,
            Running=one.running,
            ExitCode=one.record.exit_code,
            ProcessConfig=ExecProcess(config.Tty, command, arguments, config.Privileged, config.User),
            OpenStdin=config.AttachStdin,
            OpenStderr=config.AttachStderr,
            OpenStdout=config.AttachStdout,
            ContainerID=one.record.container_id,
            DetachKeys=config.DetachKeys,
            Pid=one.record.pid,
        )

    async def resize(self, exec_id: str, height: int, width: int) -> None:
        """Set the size of an exec's terminal, once it runs. Raises NotFound, Conflict when it has ended, and
        SystemFault when it does not begin in time.
        """
        one = self._get(exec_id)
        try:
            async with asyncio.timeout(_RESIZE_SECONDS):
                await one.begun.wait()
        except TimeoutError:
            raise SystemFault("timeout waiting for exec session ready") from None
        if not one.running:
            raise Conflict(f"exec {exec_id} is not running")
        conmon.resize(one.bundle, height, width)

    def recover(self, monitors: Mapping[Path, int], untouched: Collection[str] = ()) -> None:
        """Take over the execs that an engine before this one left; `monitors` are the conmons that run.

        Those in the containers `untouched`, which run and have no record, go on.
        """
        for directory in sorted(self._directory.iterdir()):
            monitor = self._dependencies.hold_monitor(monitors.get(directory))
            try:
                record = read_record(directory)
            except NewerDocument as error:
                self._dependencies.log.warning("the exec of %s %s: it is left alone", directory, error)
                continue
            if record is not None and record.container_id in untouched:
                continue
            if record is None or self._store.find(record.container_id) is None:
                _dismiss(monitor)
                discard_tree(directory)
                continue
            one = self._open(record)
            self._execs[record.id] = one
            if record.exit_code is not None:
                one.begun.set()
                self._keep_finished(record.id)
            elif not record.started and not one.bundle.config.exists():
                # It waited for a start that the engine before us was not asked for.
                _dismiss(monitor)
                clear(one.bundle)
                self._await_start(one)
            elif monitor is not None:
                record.started = True
                one.begun.set()
                one.watcher = asyncio.create_task(self._watch(one, monitor))
            else:
                exit_ = conmon.read_exit(one.bundle)
                self._finish(one, exit_.code if exit_ else 255)

    def delete_execs_of(self, container_id: str) -> None:
        """The container is removed, and its execs with it."""
        for one in [one for one in self._execs.values() if one.record.container_id == container_id]:
            self._delete_exec(one)

    def _await_start(self, one: Exec) -> None:
        one.expiry = asyncio.get_running_loop().call_later(_UNSTARTED_SECONDS, self._expire, one)

    def _expire(self, one: Exec) -> None:
        """Nobody has started an exec in time."""
        if not one.record.started and self._execs.get(one.record.id) is one:
            self._delete_exec(one)

    def _delete_exec(self, one: Exec) -> None:
        del self._execs[one.record.id]
        if one.expiry is not None:
            one.expiry.cancel()
        self._pool.give_up(one.record.id)
        discard_tree(one.bundle.directory)

    async def close(self) -> None:
        """Stop watching; the execs go on."""
        await self._pool.close()
        for ending in self._endings:
            ending.cancel()
        launches = [one.launch for one in self._execs.values() if one.launch is not None]
        await asyncio.gather(*launches, return_exceptions=True)
        watchers = [one.watcher for one in self._execs.values() if one.watcher is not None]
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)

    def _open(self, record: ExecRecord) -> Exec:
        bundle = monitor_directory_of(self._directory, record.id, record.container_id)
        hub = ConsoleHub(
            lambda: conmon.connect(bundle),
            terminal=record.config.Tty,
            stdin_once=True,
            keep_connected=not record.config.Tty and record.config.AttachStdin,
            on_detach=lambda: self._publish(self._execs[record.id], "exec_detach"),
        )
        return Exec(record, bundle, hub)

    def _attachment(self, one: Exec, *, terminal: bool) -> Attachment:
        """`terminal` is what the client takes its stream for; frames go by that, whatever the exec has."""
        config = one.record.config
        outputs = {STDOUT} if config.AttachStdout or config.Tty else set()
        if config.AttachStderr:
            outputs.add(STDERR)
        keys = detach_keys(config.DetachKeys) if config.Tty else None
        attachment = Attachment(
            one.hub, terminal=terminal, stdin=config.AttachStdin, outputs=frozenset(outputs), detach_keys=keys
        )
        one.hub.add(attachment, running=False)
        return attachment

    def started(self, container: Container) -> None:
        """No exec is there before the container runs."""

    def ended(self, container: Container) -> None:
        """The execs have ended with their container: a monitor of theirs that stands still keeps nobody waiting."""
        for one in [one for one in self._execs.values() if one.record.container_id == container.id]:
            one.over = True
            if not one.record.started:
                self._delete_exec(one)
            elif one.running and one.monitor is not None:
                task = asyncio.create_task(conmon.end_monitor(one.monitor, _MONITOR_SECONDS))
                self._endings.add(task)
                task.add_done_callback(self._endings.discard)

    def removed(self, container: Container) -> None:
        """`delete_execs_of` is called for that."""

    async def _watch(self, one: Exec, monitor: HeldProcess, exit_pipe: int = -1, shape: ExecKey | None = None) -> None:
        one.monitor = monitor
        if exit_pipe >= 0:
            await conmon.wait_exit_notification(exit_pipe)
            exit_ = conmon.read_exit(one.bundle)
            if exit_ is not None:
                self._finish(one, exit_.code)
        exit_ = await conmon.ended(monitor, one.bundle)
        container = self._store.find(one.record.container_id)
        if one.record.exit_code is None:
            if exit_ is None and container is not None and container.state.alive:
                # Its monitor was killed, and nobody would hear of its processes' end.
                await self._kill(one, container)
            self._finish(one, (exit_ or conmon.unrecorded_exit(one.bundle, killed=True)).code)
        if shape is None or one.record.probe or container is None or container.state.status is not Status.RUNNING:
            return
        # While others are on their way, processors have better to do.
        others = (other for other in self._execs.values() if other.record.container_id == container.id)
        if container.state.pid == shape.container_pid and not any(other.starting for other in others):
            self._pool.begin(new_id(), shape, self._dependencies.runtime_of(container), spare=True)

    def _finish(self, one: Exec, code: int) -> None:
        one.record.exit_code = code
        one.begun.set()
        self._save(one)
        self._publish(one, "exec_die", exitCode=code)
        one.hub.process_exited()
        self._keep_finished(one.record.id)

    def _save(self, one: Exec) -> None:
        """Write the record; what cannot be written is lost with this engine, and keeps nobody waiting."""
        try:
            one.save()
        except FileNotFoundError:
            pass  # its container is removed just now
        except OSError as error:
            self._dependencies.log.warning(
                "the record of exec %s is not written: %s", one.record.id[:12], reason(error)
            )

    def _keep_finished(self, exec_id: str) -> None:
        self._finished.append(exec_id)
        while len(self._finished) > _KEPT_FINISHED:
            old = self._execs.pop(self._finished.popleft(), None)
            if old is not None:
                discard_tree(old.bundle.directory)

    def _get(self, exec_id: str) -> Exec:
        one = self._execs.get(exec_id)
        if one is None:
            raise NotFound(f"No such exec instance: {exec_id}")
        return one

    def _running(self, reference: str) -> Container:
        container = self._store.get(reference)
        if container.state.status is Status.PAUSED:
            raise Conflict(f"Container {reference} is paused, unpause the container before exec")
        refuse_restarting(container)
        if container.state.status is not Status.RUNNING:
            raise Conflict(f"container {container.id} is not running")
        return container

    def _publish(self, one: Exec, action: str, **more: object) -> None:
        container = self._store.find(one.record.container_id)
        attributes = self._dependencies.event_attributes(container) if container is not None else {}
        self._dependencies.events.publish(
            "container", action, one.record.container_id, attributes | {"execID": one.record.id} | more
        )

    @staticmethod
    def _user(container: Container, config: ExecConfig) -> ResolvedUser:
        """The user of an exec, looked up in the container's own root, as it is mounted now."""
        record = container.record
        try:
            root_fd = os.open(f"/proc/{container.state.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError as error:  # it is ending: a process gives up its root before it is a zombie
            raise Conflict(f"container {container.id} is not running") from error
        try:
            return lookup_user(root_fd, config.User or record.config.User, record.host.GroupAdd or ())
        finally:
            os.close(root_fd)

    def _process(self, container: Container, config: ExecConfig) -> dict[str, object]:
        """The OCI process of an exec."""
        record = container.record
        hostname = record.config.Hostname or short_id(record.id)
        return exec_process(
            config,
            record.config,
            record.host,
            self._user(container, config),
            facts=self._dependencies.facts,
            hostname=hostname,
            no_new_privileges=self._dependencies.config.no_new_privileges,
            default_ulimits=self._dependencies.config.default_ulimits,
            link_variables=self._links.environment(container),
        )


def _shape(container: Container, config: ExecConfig, *, attached: bool) -> ExecKey:
    stdio = StdioPlan(terminal=config.Tty, stdin=config.AttachStdin and attached, keep_stdin_open=False)
    return ExecKey(container.id, container.state.pid, stdio, attached)


def _attaches(config: ExecConfig) -> bool:
    """Whether a client most likely attaches to it."""
    return config.AttachStdin or config.AttachStdout or config.AttachStderr


def _dismiss(monitor: HeldProcess | None) -> None:
    if monitor is not None:
        with contextlib.suppress(ProcessLookupError):
            monitor.send(signal.SIGKILL)
        monitor.close()
