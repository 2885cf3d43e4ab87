"""The way to builds: an engine that has built nothing yet loads none of what they are made of."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from darse.containers import ContainerService
from darse.containers.dependencies import Dependencies
from darse.core import executors
from darse.core.errors import InvalidParameter
from darse.core.times import rfc3339
from darse.images.transfer.service import RegistryService
from darse.wire.system import BuildCacheRecord, ObjectUsage

if TYPE_CHECKING:
    from darse.build.history import BuildHistoryService
    from darse.build.service import BuildService
    from darse.build.solver import CacheRecord
    from darse.buildkit.server import BuildKitServer


class Builds:
    """Makes the build service for the first build, and answers for it before."""

    def __init__(self, dependencies: Dependencies, containers: ContainerService, registries: RegistryService) -> None:
        self._dependencies = dependencies
        self._containers = containers
        self._registries = registries
        self._made: BuildService | None = None
        self._server: BuildKitServer | None = None

    def open(self) -> None:
        """Make the directory that processes of builds see, and remove what builds of a killed engine left."""
        (self._dependencies.config.data_root / "cache-mounts").mkdir(mode=0o700, exist_ok=True)
        left = self._dependencies.config.data_root / "build" / "contexts"
        if left.exists():
            self._dependencies.images.trash.take(left)

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._server is not None:
            await self._server.close()
        if self._made is not None:
            await self._made.close()

    async def server(self) -> BuildKitServer:
        """Where clients of BuildKit come in; loaded for the first of them."""
        service = await self.load()
        make = await executors.storage.run(_server)
        if self._server is None:
            self._server = make(service, self._dependencies)
        return self._server

    @property
    def service(self) -> BuildService:
        """Builds images; made for the first caller. Who serves others meanwhile waits for `load` before."""
        if self._made is None:
            self._made = _loaded()(self._dependencies, self._containers, self._registries)
        return self._made

    async def load(self) -> BuildService:
        """The service; what it is made of is imported in a thread, which takes a tenth of a second."""
        if self._made is None:
            await executors.storage.run(_loaded)
        return self.service

    def cancel(self, identifier: str) -> None:
        """Cancel the build that its client has named so; does nothing where there is none."""
        if self._made is not None:
            self._made.cancel(identifier)

    async def prune(
        self, conditions: Iterable[str], *, everything: bool, reserved_space: int, max_used_space: int
    ) -> list[BuildCacheRecord]:
        """Remove what of the cache fulfils all conditions; spaces are bytes. Raises InvalidParameter."""
        if not self._has_records():
            return []
        service = await self.load()
        from darse.build.errors import BuildError  # noqa: PLC0415
        from darse.build.solver import PrunePolicy  # noqa: PLC0415

        try:
            policy = PrunePolicy.parse(
                conditions, all_records=everything, keep_storage=reserved_space, max_used_space=max_used_space
            )
            removed = await service.prune(policy)
        except BuildError as error:  # of a condition that is none, or takes too long to look for
            raise InvalidParameter(str(error)) from None
        return [_build_cache_record(record, in_use=False) for record in removed]

    async def disk_usage(self) -> ObjectUsage[BuildCacheRecord]:
        """What the cache takes."""
        if not self._has_records():
            return ObjectUsage(0, 0, 0, 0, [])
        records = [
            _build_cache_record(record, in_use=in_use) for record, in_use in await (await self.load()).cache_records()
        ]
        active = [one for one in records if one.InUse]
        total = sum(one.Size for one in records)
        return ObjectUsage(len(active), len(records), total - sum(one.Size for one in active), total, records)

    async def history(self) -> BuildHistoryService | None:
        """The builds that were; None where there was none yet, and nothing is loaded to say so."""
        if self._made is None and self._dependencies.database.row("SELECT 1 FROM build_history LIMIT 1") is None:
            return None
        return (await self.load()).history

    def _has_records(self) -> bool:
        if self._dependencies.database.row("SELECT 1 FROM build_records LIMIT 1") is not None:
            return True
        root = self._dependencies.config.data_root
        return any(kept.exists() and any(kept.iterdir()) for kept in (root / "cache-mounts", root / "build" / "trees"))


def _loaded() -> Callable[[Dependencies, ContainerService, RegistryService], BuildService]:
    """Import what builds are made of; return what makes the service."""
    from darse.build.cache.database_storage import DatabaseCacheStorage  # noqa: PLC0415
    from darse.build.executor import EngineExecutor  # noqa: PLC0415
    from darse.build.history import BuildHistory  # noqa: PLC0415
    from darse.build.service import BuildService  # noqa: PLC0415

    _keep_from_collector()

    def make(dependencies: Dependencies, containers: ContainerService, registries: RegistryService) -> BuildService:
        executor = EngineExecutor(dependencies, containers.transient, registries)
        storage = DatabaseCacheStorage(dependencies.database)
        history = BuildHistory(dependencies.database)
        return BuildService(dependencies.config.data_root, dependencies.images, registries, executor, storage, history)

    return make


def _server() -> Callable[[BuildService, Dependencies], BuildKitServer]:
    """Import gRPC and what is served on it; return what makes the server."""
    from darse.buildkit.server import BuildKitServer  # noqa: PLC0415

    _keep_from_collector()
    return BuildKitServer


def _keep_from_collector() -> None:
    """Have the garbage collector not look at what was imported: it stays, and a look holds the event loop."""
    gc.freeze()


def _build_cache_record(record: CacheRecord, *, in_use: bool) -> BuildCacheRecord:
    return BuildCacheRecord(
        ID=record.id,
        Parents=list(record.parents) or None,
        Type=record.kind.value,
        Description=record.description,
        InUse=in_use,
        Shared=False,
        Size=record.size,
        CreatedAt=rfc3339(int(record.created * 1e9)),
        LastUsedAt=rfc3339(int(record.last_used * 1e9)),
        UsageCount=record.uses,
    )
