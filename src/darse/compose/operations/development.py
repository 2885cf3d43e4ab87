"""`watch`: files that are changed while they are developed are brought to the containers of their services.

Which files have changed is found elsewhere, and given to `DevelopmentWatch.changed`. For each entry of `develop.watch`
its files are put into the containers, the containers are restarted, or the image is built anew.
"""

from __future__ import annotations

import io
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from darse.client.requests import archives as archive_requests
from darse.client.requests import containers as container_requests
from darse.client.requests import execs as exec_requests
from darse.compose.errors import ComposeError
from darse.compose.model.build import Watch
from darse.compose.model.project import Project
from darse.compose.operations.hooks import run_hooks
from darse.compose.operations.lifecycle import pre_stop
from darse.compose.operations.session import ProjectSession, together
from darse.compose.plan.actual import ActualContainer
from darse.wire.execs import ExecConfig

REBUILD, RESTART, SYNC, SYNC_RESTART, SYNC_EXEC = "rebuild", "restart", "sync", "sync+restart", "sync+exec"
_SYNCS = (SYNC, SYNC_RESTART, SYNC_EXEC)
# Files of editors that are gone in a moment.
_PASSING = (".swp", ".swx", ".swo", "~", ".tmp", "___jb_tmp___", "___jb_old___")


@dataclass(frozen=True)
class WatchTrigger:
    """One entry of `develop.watch` of a service; `ignores` says of a path below the entry's that it is not meant."""

    service: str
    watch: Watch
    ignores: Callable[[str], bool]

    def holds(self, path: str) -> bool:
        """Whether a change of a file is meant."""
        root = self.watch.path
        if path != root and not path.startswith(root.rstrip("/") + "/"):
            return False
        name = os.path.basename(path)
        if name.endswith(_PASSING) or name.startswith(".#") or name == "4913":
            return False
        return not self.ignores(path)

    def target(self, path: str) -> str:
        """Where a file is in containers."""
        inside = os.path.relpath(path, self.watch.path)
        return self.watch.target if inside == "." else os.path.join(self.watch.target, inside)


@dataclass
class _Work:
    """What is to be done for a service."""

    synced: dict[str, str] = field(default_factory=dict)
    hooks: list[Watch] = field(default_factory=list)
    restarts: bool = False
    rebuilds: bool = False
    count: int = 0


def check_triggers(project: Project, services: Iterable[str]) -> list[tuple[str, Watch]]:
    """The entries of services. Raises ComposeError for one that cannot be, and where there is none."""
    found = []
    for name in services:
        service = project.services[name]
        for number, watch in enumerate(service.develop.watch if service.develop is not None else ()):
            path = ("services", name, "develop", "watch", number)
            if watch.action not in (*_SYNCS, REBUILD, RESTART):
                raise ComposeError(f"services.{name}: unknown action {watch.action!r} of develop.watch", path)
            if watch.action == REBUILD and service.build is None:
                raise ComposeError(f"can't watch service {name!r} with action {REBUILD} without a build context", path)
            if watch.action == SYNC_EXEC and not watch.exec.command:
                raise ComposeError(f"can't watch with action {SYNC_EXEC!r} on service {name!r} without a command", path)
            mounted = [
                one.source
                for one in service.volumes
                if one.type == "bind" and (watch.path + "/").startswith(one.source.rstrip("/") + "/")
            ]
            if mounted:
                continue
            found.append((name, watch))
    if not found:
        raise ComposeError(
            "none of the selected services is configured for watch, consider setting a 'develop' section"
        )
    return found


class DevelopmentWatch:
    """Brings changes to containers."""

    def __init__(
        self,
        session: ProjectSession,
        triggers: Sequence[WatchTrigger],
        rebuild: Callable[[list[str]], Awaitable[None]],
        say: Callable[[str], None],
    ) -> None:
        """`rebuild` builds services and makes their containers anew; `say` prints a line."""
        self._session = session
        self._triggers = triggers
        self._rebuild = rebuild
        self._say = say

    async def changed(self, paths: Iterable[str], *, only_first: bool = False) -> None:
        """Act on changed files: absolute paths, of which some may be gone.

        `only_first`: of the triggers only those that have an initial sync.
        """
        work: dict[str, _Work] = {}
        for path in paths:
            for trigger in self._triggers:
                if trigger.holds(path) and (trigger.watch.initial_sync or not only_first):
                    _add(work.setdefault(trigger.service, _Work()), trigger, path)
        rebuilt = sorted(name for name, one in work.items() if one.rebuilds)
        await together(self._serve(name, one) for name, one in work.items() if not one.rebuilds)
        if rebuilt:
            shown = " ".join(f'"{name}"' for name in rebuilt)
            self._say(f"Rebuilding service(s) [{shown}] after changes were detected...")
            await self._rebuild(rebuilt)
            self._say(f"service(s) [{shown}] successfully built")

    async def _serve(self, name: str, work: _Work) -> None:
        containers = [
            one for one in await self._session.containers(one_off=False) if one.service == name and one.is_running
        ]
        if work.synced:
            self._say(f'Syncing service "{name}" after {work.count} changes were detected')
            await together(self._sync(one, work.synced) for one in containers)
        if work.restarts:
            await together(self._restart(one) for one in containers)
            self._say(f'service(s) ["{name}"] restarted')
        for watch in work.hooks:
            await together(run_hooks(self._session, one.id, name, [watch.exec]) for one in containers)

    async def _sync(self, container: ActualContainer, synced: dict[str, str]) -> None:
        """Put files into a container; those that are gone here are removed there."""
        there = {target: path for path, target in synced.items() if os.path.lexists(path)}
        gone = sorted(target for path, target in synced.items() if target not in there)
        if gone:
            config = ExecConfig(Cmd=["rm", "-rf", "--", *gone], AttachStdout=True, AttachStderr=True, User="0")
            identifier = (await self._session.client.do(exec_requests.create(container.id, config)))["Id"]
            async with self._session.client.attach(exec_requests.start(identifier)) as streams:
                async for _ in streams.output():
                    continue
        if there:
            await self._session.client.do(archive_requests.put_archive(container.id, "/", archive(there)))

    async def _restart(self, container: ActualContainer) -> None:
        await run_hooks(self._session, container.id, container.service, pre_stop(self._session, container.service))  # type: ignore[arg-type]
        await self._session.client.do(container_requests.restart(container.id))


def _add(work: _Work, trigger: WatchTrigger, path: str) -> None:
    action = trigger.watch.action
    work.count += 1
    if action == REBUILD:
        work.rebuilds = True
    if action in _SYNCS:
        work.synced[path] = trigger.target(path)
    if action in (RESTART, SYNC_RESTART):
        work.restarts = True
    if action == SYNC_EXEC and trigger.watch not in work.hooks:
        work.hooks.append(trigger.watch)


def archive(files: dict[str, str]) -> bytes:
    """Files of this machine, by where they are in containers, as an archive: theirs are the mode and the time, not the
    owner.
    """
    import tarfile  # noqa: PLC0415 - a command that packs nothing starts without it

    buffer = io.BytesIO()

    def anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return entry

    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as packed:
        for target, path in sorted(files.items()):
            try:
                packed.add(path, target.lstrip("/"), recursive=False, filter=anonymous)
            except FileNotFoundError:
                continue  # gone meanwhile: another change reports it
    return buffer.getvalue()
