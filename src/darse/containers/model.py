"""What a container is: the record that its creation fixed, the state that its life changes, and both in memory.

Record and state are stored apart, because a start or an exit rewrites only the small one.

Life cycle (each arrow is one transaction):

    creating → created → running ⇄ paused
                         ↑     ↓
               restarting ⇄ exited       any of them → removing → (gone)

A `creating` container was never acknowledged: after a crash, recovery undoes it. `removing` is in memory only: a
removal deletes the row first and leaves a note (`darse.core.unfinished`), after which recovery deletes the files.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, StrEnum, auto

import msgspec

from darse.core.documents import DocumentCodec
from darse.core.errors import Conflict
from darse.core.object_references import ObjectKind, ObjectReference
from darse.durations import human_duration
from darse.runtime.monitor import HeldProcess
from darse.volumes.mounts import MountPlan
from darse.wire.containers import ContainerConfig, Health, WaitResponse
from darse.wire.host_config import HostConfig
from darse.wire.networks import EndpointSettings

# A monitor takes some milliseconds to say that its container has ended.
_SEEN_SECONDS = 10


class Status(StrEnum):
    """A container's place in its life cycle; the API's words where it has them."""

    CREATING = "creating"
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    EXITED = "exited"
    REMOVING = "removing"


class ContainerLink(msgspec.Struct, frozen=True):
    """Another container, by its id, under a name of one's own."""

    target: str
    alias: str


class Record(msgspec.Struct, kw_only=True):
    """What creation fixed; only rename, update and network connections change it."""

    id: str
    name: str
    created_ns: int
    image_id: str
    image_reference: str
    config: ContainerConfig
    host: HostConfig
    endpoints: dict[str, EndpointSettings]
    mounts: list[MountPlan]
    links: list[ContainerLink] = msgspec.field(default_factory=list)
    # The id of the managed plugin that it runs: a container of the engine's own, which no list and no name shows.
    plugin: str = ""

    @property
    def command(self) -> list[str]:
        """The argument vector: entrypoint, then command."""
        return [*(self.config.Entrypoint or ()), *(self.config.Cmd or ())]

    @property
    def runtime(self) -> str:
        """The OCI runtime's name."""
        return self.host.Runtime


def references_of(record: Record) -> set[ObjectReference]:
    """The images, networks and volumes that a container uses."""
    used = {ObjectReference(ObjectKind.IMAGE, record.image_id)}
    used |= {ObjectReference(ObjectKind.NETWORK, name) for name in record.endpoints}
    used |= {ObjectReference(ObjectKind.VOLUME, plan.name) for plan in record.mounts if plan.type == "volume"}
    used |= {ObjectReference(ObjectKind.MOUNTED_IMAGE, plan.source) for plan in record.mounts if plan.type == "image"}
    return {one for one in used if one.object}


class RunState(msgspec.Struct):
    """What the container's life changes."""

    status: Status = Status.CREATING
    pid: int = 0
    monitor_pid: int = 0
    exit_code: int = 0
    error: str = ""
    started_ns: int = 0
    finished_ns: int = 0
    oom_killed: bool = False
    restart_count: int = 0
    # Somebody asked for its end: only `always` brings it back, and that with the engine's next start.
    manually_stopped: bool = False
    health: Health | None = None

    @property
    def alive(self) -> bool:
        """Whether there is a process."""
        return self.status in (Status.RUNNING, Status.PAUSED)

    @property
    def active(self) -> bool:
        """Whether there is a process, or its restart policy is about to start one; the API calls both running."""
        return self.alive or self.status is Status.RESTARTING

    def started(self, pid: int, monitor_pid: int, started_ns: int, health: Health | None) -> RunState:
        """The state of a container whose process has just been started; what is on record of its last end stays."""
        return RunState(
            Status.RUNNING,
            pid=pid,
            monitor_pid=monitor_pid,
            started_ns=started_ns,
            finished_ns=self.finished_ns,
            restart_count=self.restart_count,
            health=health,
        )

    def describe(self) -> str:
        """The status column of a list."""
        now = time.time_ns()
        if self.alive:
            return f"Up {human_duration((now - self.started_ns) / 1e9)}{self._remark()}"
        if self.status is Status.REMOVING:
            return "Removal In Progress"
        if self.status is Status.CREATED:
            return "Created"
        ended = human_duration((now - self.finished_ns) / 1e9)
        if self.status is Status.RESTARTING:
            return f"Restarting ({self.exit_code}) {ended} ago"
        return f"Exited ({self.exit_code}) {ended} ago"

    def _remark(self) -> str:
        if self.status is Status.PAUSED:
            return " (Paused)"
        if self.health is None:
            return ""
        return " (health: starting)" if self.health.Status == "starting" else f" ({self.health.Status})"


RECORD_DOCUMENTS = DocumentCodec(Record)
STATE_DOCUMENTS = DocumentCodec(RunState)


class Purpose(Enum):
    """What may be under way with a container, beside its state: not on record, for it ends with the engine."""

    #: It is to stop, or is killed: nothing may freeze it.
    ENDING = auto()
    #: It is stopped to be started again: its end is no reason for an automatic removal.
    RESTART = auto()
    #: It is to be removed, by force or because it has ended: nothing starts it again.
    REMOVAL = auto()
    #: It is frozen by a pause, or by a commit while that reads its files: the runtime brings nothing into it.
    FREEZE = auto()
    #: A further process is brought into it: a freeze would keep the runtime, and the client, in the middle of that.
    EXEC = auto()


class Container:
    """A container in memory: its record and state, its monitor while it runs, and who waits for its end."""

    __slots__ = (
        "_exits",
        "_overs",
        "_removals",
        "_under_way",
        "begun",
        "monitor",
        "oom_kills",
        "record",
        "restart_delay",
        "state",
    )

    def __init__(self, record: Record, state: RunState) -> None:
        self.record = record
        self.state = state
        self.monitor: HeldProcess | None = None
        self._under_way: Counter[Purpose] = Counter()
        self._overs: dict[Purpose, list[asyncio.Future[None]]] = {}
        # The event loop's time when this engine started it last; 0 where it has not.
        self.begun = 0.0
        # Seconds between the last end and the start that followed by the restart policy; 0 before the first.
        self.restart_delay = 0.0
        # OOM kills that were published as events, with cgroup version 2 only.
        self.oom_kills = 0
        self._exits: list[asyncio.Future[WaitResponse]] = []
        self._removals: list[asyncio.Future[WaitResponse]] = []

    @property
    def id(self) -> str:
        """The full id."""
        return self.record.id

    @property
    def name(self) -> str:
        """The name, without the API's slash."""
        return self.record.name

    def lasted(self) -> float:
        """Seconds that the run took that has just ended; the wall clock may have been set meanwhile."""
        if self.begun:
            return asyncio.get_running_loop().time() - self.begun
        return (self.state.finished_ns - self.state.started_ns) / 1e9

    @contextmanager
    def under_way(self, purpose: Purpose) -> Iterator[None]:
        """Something is being done to the container for the duration of the block, by this request among others."""
        self._under_way[purpose] += 1
        try:
            yield
        finally:
            self._under_way[purpose] -= 1
            if not self._under_way[purpose]:
                for future in self._overs.pop(purpose, ()):
                    if not future.done():
                        future.set_result(None)

    def undergoes(self, purpose: Purpose) -> bool:
        """Whether this is being done to the container now."""
        return self._under_way[purpose] > 0

    async def wait_until_over(self, purpose: Purpose, seconds: float) -> None:
        """Return as soon as this is not being done to the container, or after `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.undergoes(purpose):
                    over = asyncio.get_running_loop().create_future()
                    self._overs.setdefault(purpose, []).append(over)
                    await over

    def next_exit(self) -> asyncio.Future[WaitResponse]:
        """A future that the container's next end resolves."""
        return _future(self._exits)

    def removal(self) -> asyncio.Future[WaitResponse]:
        """A future that the container's removal resolves."""
        return _future(self._removals)

    async def wait_until_exited(self) -> None:
        """Wait until the engine has seen the end of a container whose process is gone. Raises Conflict after 10 s."""
        if not self.state.alive:
            return
        try:
            await asyncio.wait_for(self.next_exit(), _SEEN_SECONDS)
        except TimeoutError:
            raise Conflict(f"container {self.id} is ending, and does not come to its end") from None

    def resolve_exit_waits(self) -> None:
        """Answer all who wait for the container's end."""
        _resolve(self._exits, WaitResponse(self.state.exit_code))

    def resolve_removal_waits(self) -> None:
        """Answer all who wait, for its end or its removal: the container is gone."""
        response = WaitResponse(self.state.exit_code)
        _resolve(self._exits, response)
        _resolve(self._removals, response)


def refuse_restarting(container: Container) -> None:
    """Raise Conflict when the container has no process just now."""
    if container.state.status is Status.RESTARTING:
        raise Conflict(f"Container {container.id} is restarting, wait until the container is running")


def _future(waiters: list[asyncio.Future[WaitResponse]]) -> asyncio.Future[WaitResponse]:
    future: asyncio.Future[WaitResponse] = asyncio.get_running_loop().create_future()
    waiters.append(future)
    future.add_done_callback(lambda done: waiters.remove(done) if done in waiters else None)
    return future


def _resolve(waiters: list[asyncio.Future[WaitResponse]], response: WaitResponse) -> None:
    for future in list(waiters):
        if not future.done():
            future.set_result(response)
