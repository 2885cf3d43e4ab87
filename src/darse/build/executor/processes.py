"""Exec operations: processes in transient containers, on the trees of their inputs."""

from __future__ import annotations

import posixpath
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from darse.build.errors import BuildError, ProcessFailed
from darse.build.executor.agents import forwarded
from darse.build.executor.cache_directories import CacheDirectories
from darse.build.executor.session import BuildSession, FailedProcess
from darse.build.graph.operations import (
    EMPTY,
    SKIP_OUTPUT,
    ExecMount,
    ExecOperation,
    MountKind,
    NetworkMode,
    ProxySettings,
    SecretMount,
    SecurityMode,
)
from darse.build.solver.operation_executor import Inputs, Snapshot, WriteLog
from darse.containers.dependencies import Dependencies
from darse.containers.lifecycle.transient import SecretFile, TransientContainers, TransientRequest
from darse.containers.lifecycle.transient_processes import TransientProcess
from darse.core.errors import EngineError
from darse.image_spec import platforms
from darse.images.snapshots.snapshotter import ActiveSnapshot, Snapshotter
from darse.linux.proc.binfmt import has_emulator
from darse.quoting import quote
from darse.runtime.monitor.launch import RootMount
from darse.runtime.oci import cdi
from darse.runtime.oci.mounts import BindMount, TmpfsMount
from darse.wire.containers import ContainerConfig
from darse.wire.host_config import HostConfig, Ulimit

# The name that BuildKit's processes see.
_HOSTNAME = "buildkitsandbox"
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the container's


class Processes:
    """Runs the exec operations of all builds."""

    def __init__(
        self,
        dependencies: Dependencies,
        containers: TransientContainers,
        snapshotter: Snapshotter,
        cache_directories: CacheDirectories,
    ) -> None:
        self._dependencies = dependencies
        self._containers = containers
        self._snapshotter = snapshotter
        self._cache_directories = cache_directories

    async def run(
        self,
        session: BuildSession,
        operation: ExecOperation,
        platform: str,
        inputs: Inputs,
        cache_directories: Mapping[int, str],
        log: WriteLog,
        opened: Callable[[TransientProcess], None] | None = None,
    ) -> Sequence[Snapshot]:
        """See OperationExecutor. opened: see TransientContainers.run."""
        check_entitlements(session, operation)
        async with self.prepared(session, operation, inputs, cache_directories) as prepared:
            request = prepared.request(operation, platform, has_input=opened is not None)
            try:
                await self._run(request, operation, platform, log, opened)
            except ProcessFailed as error:
                if session.failed is not None:
                    session.failed.add(await prepared.failed(error))
                raise
            return await prepared.commit()

    @asynccontextmanager
    async def prepared(
        self, session: BuildSession, operation: ExecOperation, inputs: Inputs, cache_directories: Mapping[int, str]
    ) -> AsyncIterator[PreparedMounts]:
        """The mounts of an operation, for the block. Raises BuildError and OSError."""
        if self._dependencies.id_mapping.owners:
            raise BuildError("RUN with --userns-remap needs a data root on a file system that can be id-mapped")
        async with AsyncExitStack() as stack:
            prepared = PreparedMounts(self, stack, session, operation, inputs)
            for index, mount in enumerate(operation.mounts):
                await prepared.add(index, mount, cache_directories)
            yield prepared

    async def _run(
        self,
        request: TransientRequest,
        operation: ExecOperation,
        platform: str,
        log: WriteLog,
        opened: Callable[[TransientProcess], None] | None,
    ) -> None:
        process = quote(" ".join(operation.meta.arguments))
        try:
            ended = await self._containers.run(request, log, opened)
        except EngineError as error:
            detail = f"{foreign}: " if (foreign := _foreign(platform)) else ""
            raise BuildError(f"process {process} did not complete successfully: {detail}{error}") from error
        if ended.code not in (operation.meta.valid_exit_codes or (0,)):
            raise ProcessFailed(operation.meta.arguments, ended.code, _foreign(platform))

    @property
    def dependencies(self) -> Dependencies:
        """What containers work with."""
        return self._dependencies

    @property
    def snapshotter(self) -> Snapshotter:
        """Where trees are."""
        return self._snapshotter

    def cache_directory(self, name: str, base: Snapshot | None, selector: str) -> AbstractAsyncContextManager[Path]:
        """The directory of a cache mount, for the block."""
        layers = self._snapshotter.layers_of(base.id) if base is not None else ()
        return self._cache_directories.used(name, base.id if base is not None else "", layers, selector)


def _foreign(platform: str) -> str:
    """Why a process of another machine could not run, where nothing emulates that; empty otherwise."""
    here = platforms.host()
    requested = platforms.parse(platform) if platform else here
    if platforms.distance(here, requested) is not None or has_emulator(requested.architecture):
        return ""
    return (
        f"the step is for {platform}, and this machine, {here}, has no emulator for it "
        "(binfmt_misc; Debian's package qemu-user-static sets one up)"
    )


def check_entitlements(session: BuildSession, operation: ExecOperation) -> None:
    """Raise BuildError where an operation does what the client has not allowed."""
    for asked, granted, name in (
        (operation.security is SecurityMode.INSECURE, session.may_be_insecure, "security.insecure"),
        (operation.network is NetworkMode.HOST, session.may_use_host_network, "network.host"),
    ):
        if asked and not granted:
            raise BuildError(f"the entitlement {name} is required: the client must allow it (hint: --allow {name})")


class PreparedMounts:
    """The mounts of one container, and the trees that its processes write."""

    def __init__(
        self,
        processes: Processes,
        stack: AsyncExitStack,
        session: BuildSession,
        operation: ExecOperation,
        inputs: Inputs,
    ) -> None:
        self._processes = processes
        self._dependencies, self._snapshotter = processes.dependencies, processes.snapshotter
        self._stack, self._session, self._operation, self._inputs = stack, session, operation, inputs
        self._root: ActiveSnapshot | None = None
        self._mounts: list[BindMount | TmpfsMount] = []
        self._own: set[str] = set()
        self._secrets: list[SecretFile] = []
        self._outputs: dict[int, ActiveSnapshot | tuple[str, ...]] = {}
        """What becomes of each output: a tree that is written, or layers that nobody could change."""
        self._trees: dict[int, ActiveSnapshot | tuple[str, ...]] = {}
        """The trees of mounts, by their positions."""

    async def add(self, index: int, mount: ExecMount, cache_directories: Mapping[int, str]) -> None:
        """Prepare one mount. Raises BuildError and OSError."""
        destination = posixpath.normpath(posixpath.join("/", mount.destination))
        match mount.kind:
            case MountKind.BIND:
                self._bind(index, mount, destination)
            case MountKind.CACHE:
                await self._cache(mount, destination, cache_directories[index])
            case MountKind.TMPFS:
                mode = ("mode=1777",) if destination == _SHARED_MEMORY else ()
                size = (f"size={mount.tmpfs_size}",) if mount.tmpfs_size else ()
                self._mounts.append(TmpfsMount(destination, ["nosuid", "nodev", *mode, *size]))
            case MountKind.SECRET:
                self._secret(mount.secret or SecretMount(""), destination)
            case MountKind.SSH:
                await self._agent(mount.secret or SecretMount("default"), destination)

    def _input(self, mount: ExecMount) -> Snapshot | None:
        return None if mount.input == EMPTY else self._inputs[mount.input]

    def _layers(self, mount: ExecMount) -> tuple[str, ...]:
        found = self._input(mount)
        return () if found is None else self._snapshotter.layers_of(found.id)

    def _prepare(self, layers: Sequence[str]) -> ActiveSnapshot:
        active = self._snapshotter.prepare(layers)
        self._stack.push_async_callback(self._snapshotter.discard, active)
        return active

    def _bind(self, index: int, mount: ExecMount, destination: str) -> None:
        layers = self._layers(mount)
        if destination == "/":
            self._root = self._prepare(layers)
        lower = [self._dependencies.id_mapping.mapped_path(one) for one in self._snapshotter.lower(layers)]
        active = self._root if destination == "/" else None if mount.read_only else self._prepare(layers)
        self._trees[index] = layers if active is None else active
        if mount.output != SKIP_OUTPUT:
            self._outputs[mount.output] = layers if mount.read_only or active is None else active
        if destination == "/":
            return
        if len(lower) == 1 and active is None:
            lower.append(self._dependencies.id_mapping.mapped_path(self._snapshotter.empty))
        self._mounts.append(
            BindMount(
                "",
                destination,
                writable=not mount.read_only,
                propagation="rprivate",
                subpath=mount.selector.strip("/"),
                layers=lower,
                upper=self._dependencies.id_mapping.mapped_path(str(active.upper)) if active is not None else "",
                work=self._dependencies.id_mapping.mapped_path(str(active.work)) if active is not None else "",
                rooted=True,
            )
        )

    async def _cache(self, mount: ExecMount, destination: str, name: str) -> None:
        found = self._processes.cache_directory(name, self._input(mount), mount.selector)
        directory = await self._stack.enter_async_context(found)
        self._own.add(destination)
        self._mounts.append(
            BindMount(str(directory), destination, writable=not mount.read_only, propagation="rprivate")
        )

    def _secret(self, secret: SecretMount, destination: str) -> None:
        content = self._session.secrets.get(secret.id)
        if content is None:
            if not secret.optional:
                raise BuildError(f"secret {secret.id}: not found")
            return
        self._secrets.append(SecretFile(destination, content, secret.uid, secret.gid, secret.mode))

    async def _agent(self, secret: SecretMount, destination: str) -> None:
        if not self._session.agents.has(secret.id):
            if not secret.optional:
                raise BuildError(f"no SSH key {quote(secret.id)} forwarded from the client")
            return
        opened = forwarded(self._session.agents, secret, self._dependencies.files.handovers)
        path = await self._stack.enter_async_context(opened)
        self._mounts.append(BindMount(str(path), destination, writable=True, propagation="rprivate"))

    def request(
        self, operation: ExecOperation, platform: str, *, has_input: bool, terminal: bool = False
    ) -> TransientRequest:
        """What is to be run: an operation with these mounts. Raises BuildError."""
        root = self._root
        if root is None:
            raise BuildError("invalid exec operation: no mount at /")
        return TransientRequest(
            config=ContainerConfig(
                Hostname=operation.meta.hostname or _HOSTNAME,
                User=operation.meta.user,
                Env=self.environment(operation),
                Cmd=list(operation.meta.arguments),
                WorkingDir=operation.meta.directory,
                Tty=terminal,
                OpenStdin=has_input,
            ),
            host=self._host(operation),
            root=RootMount(self._snapshotter.lower(root.layers), str(root.upper), str(root.work), volatile=True),
            mounts=self._mounts,
            own_directories=frozenset(self._own),
            secrets=self._secrets,
            devices=self._devices(operation),
            architecture=platforms.parse(platform).architecture if platform else "",
            stubs_recursive=operation.meta.remove_mount_stubs_recursive,
        )

    def environment(self, operation: ExecOperation) -> list[str]:
        """The variables of an operation's process. Raises BuildError where a secret is missing."""
        # A bare name unsets: BuildKit's processes find no HOSTNAME.
        found = ["HOSTNAME", *_proxies(operation.meta.proxy), *operation.meta.environment]
        for secret in operation.secrets:
            content = self._session.secrets.get(secret.id)
            if content is not None:
                found.append(f"{secret.name}={content.decode(errors='surrogateescape')}")
            elif not secret.optional:
                raise BuildError(f"secret {secret.id}: not found")
        return found

    def _devices(self, operation: ExecOperation) -> list[str]:
        known = cdi.Catalogue(self._dependencies.config.cdi_directories).names if operation.devices else ()
        return [one.name for one in operation.devices if not one.optional or one.name in known]

    def _host(self, operation: ExecOperation) -> HostConfig:
        config, limits = self._dependencies.config, self._session.resources
        network = self._session.network if operation.network is NetworkMode.SANDBOX else operation.network.value
        return HostConfig(
            NetworkMode=network,
            Privileged=operation.security is SecurityMode.INSECURE,
            SecurityOpt=list(self._session.security_options) or None,
            Ulimits=[Ulimit(one.name, one.soft, one.hard) for one in operation.meta.ulimits],
            ShmSize=self._session.shm_size or config.default_shm_size,
            ExtraHosts=[f"{name}:{address}" for name, address in operation.meta.extra_hosts],
            CgroupParent=operation.meta.cgroup_parent,
            IpcMode="private",
            CgroupnsMode="private" if self._dependencies.facts.cgroup_version == 2 else "host",
            ReadonlyRootfs=any(
                one.read_only for one in self._operation.mounts if posixpath.normpath(one.destination) == "/"
            ),
            Memory=limits.memory,
            # As for containers: without a word about swap, as much again.
            MemorySwap=limits.memory_swap or limits.memory * 2,
            CpuShares=limits.cpu_shares,
            CpuPeriod=limits.cpu_period,
            CpuQuota=limits.cpu_quota,
            CpusetCpus=limits.cpuset_cpus,
            CpusetMems=limits.cpuset_mems,
        )

    def tree(self, index: int) -> ActiveSnapshot | tuple[str, ...]:
        """What is mounted, by the mount's position. Raises BuildError for what is no tree."""
        if (found := self._trees.get(index)) is None:
            raise BuildError(f"the mount {index} has no files that can be read")
        return found

    async def failed(self, error: ProcessFailed) -> FailedProcess:
        """The trees as a process has left them that failed, for whoever looks for the cause."""
        made: list[Snapshot | None] = []
        for index in range(len(self._operation.mounts)):
            tree = self._trees.get(index)
            if tree is None:
                made.append(None)
                continue
            committed = (
                await self._snapshotter.commit(tree)
                if isinstance(tree, ActiveSnapshot)
                else self._snapshotter.view(tree)
            )
            made.append(Snapshot(committed.id, committed.size))
        inputs = [self._input(one) if one.kind is MountKind.BIND else None for one in self._operation.mounts]
        befores = [
            None if one is None else self._snapshotter.view(self._snapshotter.layers_of(one.id)) for one in inputs
        ]
        before = tuple(None if one is None else Snapshot(one.id, one.size) for one in befores)
        return FailedProcess(error, self._operation, before, tuple(made))

    async def commit(self) -> list[Snapshot]:
        """The snapshots of the outputs, in their order."""
        made: list[Snapshot] = []
        try:
            for number in sorted(self._outputs):
                output = self._outputs[number]
                if isinstance(output, ActiveSnapshot):
                    committed = await self._snapshotter.commit(output)
                else:
                    committed = self._snapshotter.view(output)
                made.append(Snapshot(committed.id, committed.size))
        except BaseException:
            await self._snapshotter.remove(one.id for one in made)
            raise
        return made


def _proxies(settings: ProxySettings | None) -> list[str]:
    """The variables of proxies, in both spellings."""
    if settings is None:
        return []
    values = msgspec.structs.asdict(settings)
    named = {("all_proxy" if name == "all" else f"{name}_proxy"): value for name, value in values.items() if value}
    named = {("no_proxy" if name == "none_proxy" else name): value for name, value in named.items()}
    return [f"{spelled}={value}" for name, value in named.items() for spelled in (name.upper(), name)]
