"""Transient containers: a process in a container of its own that has no record, and ends with who asked for it.

A build runs its steps in them. They have what other containers have (namespaces, cgroup, seccomp, network sandbox,
name server, limits), made of the same parts as a start (`darse.containers.lifecycle.start`). Nothing of them is in the
database but the sandbox. Their ids have a prefix, so an engine that takes over knows what one before it has left:
`sweep` ends and removes all of them.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from darse.containers.dependencies import Dependencies
from darse.containers.layout import ContainerFiles
from darse.containers.lifecycle.transient_processes import STREAMS, FirstProcess, TransientProcess, WriteOutput
from darse.containers.networking.etc_files import hosts_content, name_lookup, resolv_conf_content
from darse.core import executors
from darse.core.errors import InvalidParameter
from darse.core.tasks import ended
from darse.linux.fs.files import NotRegular, read_regular
from darse.linux.fs.mounts import MS_NODEV, MS_NOEXEC, MS_NOSUID, mount
from darse.networks.model import SandboxRequest
from darse.networks.sandboxes import Sandbox
from darse.runtime.bundle import Bundle
from darse.runtime.monitor import HeldProcess, conmon
from darse.runtime.monitor.conmon import CreateFailed, CreateResult, Exit, StdioPlan
from darse.runtime.monitor.console import Console
from darse.runtime.monitor.launch import ContainerLaunch, RootMount
from darse.runtime.oci import OCIRuntime, cdi
from darse.runtime.oci.errors import failure
from darse.runtime.oci.mounts import BindMount, TmpfsMount
from darse.runtime.oci.spec import SharedNamespaces, SpecInputs
from darse.runtime.remapping import IdentityMapping
from darse.runtime.rootfs.mount_stubs import MountStubs
from darse.wire.containers import ContainerConfig
from darse.wire.host_config import DeviceRequest, HostConfig
from darse.wire.networks import EndpointSettings

PREFIX = "transient-"
# How long processes that were killed, and then their monitor, may take.
_END_SECONDS = 10.0
_ETC = ("/etc/resolv.conf", "/etc/hosts")
_KERNELS = ("/proc", "/sys", "/dev")


class SecretFile(msgspec.Struct, frozen=True):
    """A file that is in memory only, and in the container."""

    destination: str
    content: bytes
    uid: int = 0
    gid: int = 0
    mode: int = 0o400


class TransientRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is run, and on what."""

    config: ContainerConfig
    host: HostConfig
    """Its network mode is `host`, `none`, or a network's name."""
    root: RootMount
    mounts: Sequence[BindMount | TmpfsMount] = ()
    own_directories: frozenset[str] = frozenset()
    """The destinations of those mounts whose sources are directories of the engine."""
    secrets: Sequence[SecretFile] = ()
    devices: Sequence[str] = ()
    """CDI names."""
    architecture: str = ""
    """Of the root's programs, in the words of OCI."""
    stubs_recursive: bool = True
    """Whether directories that are made on the way to a mount's target are removed afterwards, too."""


class TransientContainers:
    """Runs them."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies

    async def run(
        self, request: TransientRequest, output: WriteOutput, opened: Callable[[TransientProcess], None] | None = None
    ) -> Exit:
        """Run a process to its end. When this is cancelled, it is killed, and nothing is left when this returns.

        opened: takes the process before it begins; without it, it has no input.
        Raises EngineError, LaunchFailure among them when the command cannot be run, and OSError.
        """
        run = _Run(self._dependencies, request, output, opened)
        work = asyncio.create_task(run.complete())
        return await ended(work, run.stop)

    async def sweep(self) -> None:
        """At the engine's start: end and remove those of an engine before this one."""
        dependencies = self._dependencies
        places = (
            dependencies.files.bundles,
            dependencies.files.containers,
            *(one.root for one in dependencies.runtimes.values()),
        )
        found = {path.name for place in places if place.exists() for path in place.iterdir()}
        for container_id in found:
            if container_id.startswith(PREFIX):
                await self._remove(dependencies.files.of(container_id))

    async def _remove(self, files: ContainerFiles) -> None:
        dependencies = self._dependencies
        if path := _cgroup_of(files):
            await dependencies.cgroups.kill_and_wait(path, _END_SECONDS)
        monitor = dependencies.hold_monitor(dependencies.monitor.running().get(files.bundle.directory))
        if monitor is not None:
            await conmon.close_ended_monitor(monitor, _END_SECONDS)
        if path:
            await dependencies.cgroups.remove_cgroup(path)
        for runtime in dependencies.runtimes.values():
            runtime.delete_state(files.container_id)
        await executors.storage.run(files.remove)


def _cgroup_of(files: ContainerFiles) -> str:
    """The cgroup that the spec of a run names; empty where the run came to no spec."""
    try:
        spec: dict[str, Any] = msgspec.json.decode(read_regular(files.bundle.config))
    except (FileNotFoundError, NotRegular, msgspec.DecodeError):
        return ""
    return str(spec.get("linux", {}).get("cgroupsPath", ""))


class _Run:
    """One process, from the request to its end. `complete` is never cancelled; `stop` ends it early."""

    def __init__(
        self,
        dependencies: Dependencies,
        request: TransientRequest,
        output: WriteOutput,
        opened: Callable[[TransientProcess], None] | None,
    ) -> None:
        self._dependencies = dependencies
        self._request = request
        self._opened = opened
        self._output = output
        self._files = dependencies.files.of(f"{PREFIX}{secrets.token_hex(16)}")
        self._id = self._files.container_id
        self._runtime = _runtime_of(dependencies, request.host)
        self._mapping = IdentityMapping() if request.host.Privileged else dependencies.id_mapping_of(request.host)
        self._stubs = MountStubs()
        self._stopping = asyncio.Event()
        self._drained = asyncio.Event()
        self._running: TransientProcess | None = None
        self._completed = False

    def stop(self) -> None:
        """Kill the process, now or as soon as there is one."""
        self._stopping.set()
        if self._running is not None:
            self._running.end()
        self._dependencies.cgroups.kill(self._cgroup)

    @property
    def _cgroup(self) -> str:
        parent = self._request.host.CgroupParent or self._dependencies.config.cgroup_parent
        return f"/{parent.strip('/')}/{self._id}"

    async def complete(self) -> Exit:
        """Run it, and remove all that it has stood on."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(executors.storage.run, self._remove_files)
            network, addresses = await self._sandbox(stack)
            bundle = self._bundle(network, self._etc_mounts())
            launched = await self._launch(stack, bundle, self._files_writer(addresses))
            bundle.keep_filter()
            monitor = self._dependencies.monitor.hold(launched.monitor_pid)
            stack.push_async_callback(conmon.close_ended_monitor, monitor, _END_SECONDS)
            stack.push_async_callback(self._dependencies.cgroups.kill_and_wait, self._cgroup, _END_SECONDS)
            end = await self._follow(launched, monitor, stack)
            self._completed = True
        return end

    async def _sandbox(self, stack: AsyncExitStack) -> tuple[Sandbox | None, list[str]]:
        """Make the network sandbox; None is the host's network."""
        dependencies, host = self._dependencies, self._request.host
        if host.NetworkMode == "host":
            return None, []
        request = SandboxRequest(
            container_id=self._id,
            container_name=self._id,
            endpoints={} if host.NetworkMode == "none" else {host.NetworkMode: EndpointSettings()},
            owner=self._mapping.maps,
            hostname=self._request.config.Hostname,
            dns=name_lookup(dependencies.config, host),
        )
        made = await dependencies.networks.sandbox_create(request)
        stack.callback(dependencies.networks.sandbox_release, self._id)
        return made, made.addresses

    def _files_writer(self, addresses: list[str]) -> Callable[[], None]:
        """What makes its directories and files, in the launch's thread."""
        dependencies, request, files = self._dependencies, self._request, self._files
        hosts = hosts_content(dependencies, request.host, (request.config.Hostname, ""), addresses)
        resolv_conf = resolv_conf_content(dependencies, self._id, request.host)
        owner = self._mapping.root_on_disk

        def write() -> None:
            files.prepare_bundle()
            files.data.mkdir(mode=0o711)
            files.write_hosts(hosts)
            files.write_resolv_conf(resolv_conf)
            if owner != (0, 0):
                files.give_names_to(*owner)

        return write

    def _etc_mounts(self) -> list[BindMount | TmpfsMount]:
        request, files = self._request, self._files
        taken = {one.destination for one in request.mounts}
        return [
            BindMount(str(path), target, writable=True, propagation="rprivate")
            for path, target in zip((files.resolv_conf, files.hosts), _ETC, strict=True)
            if target not in taken
        ]

    def _bundle(self, network: Sandbox | None, etc: Sequence[BindMount | TmpfsMount]) -> Bundle:
        dependencies, request = self._dependencies, self._request
        own = str(dependencies.files.containers)
        mounts = self._mapping.map_mounts([*request.mounts, *etc], request.host, own, request.own_directories)
        inputs = SpecInputs(
            config=request.config,
            host=request.host,
            facts=dependencies.facts,
            rootfs=str(self._files.bundle.rootfs),
            hostname=request.config.Hostname,
            cgroup_path=self._cgroup,
            namespaces=SharedNamespaces(
                user=(network.user_path if network is not None else "") or None,
                network=network.path if network is not None else None,
                cgroup=None if request.host.CgroupnsMode == "host" else "",
            ),
            mounts=[*mounts, *self._secret_mounts()],
            seccomp_profile=dependencies.seccomp_profile,
            image_architecture=request.architecture,
            no_new_privileges=dependencies.config.no_new_privileges,
            default_ulimits=dependencies.config.default_ulimits,
        )
        devices: Sequence[cdi.Edits] = ()
        if request.devices:
            device_requests = [DeviceRequest(Driver=cdi.DRIVER, DeviceIDs=list(request.devices))]
            devices = cdi.Catalogue(dependencies.config.cdi_directories).edits(device_requests)
        return Bundle(self._files.bundle, self._runtime, self._mapping, inputs, devices=devices)

    @property
    def _secrets(self) -> Path:
        return self._files.bundle.directory / "secrets"

    def _secret_mounts(self) -> list[BindMount]:
        return [
            BindMount(str(self._secrets / str(number)), one.destination, writable=False, propagation="rprivate")
            for number, one in enumerate(self._request.secrets)
        ]

    async def _launch(self, stack: AsyncExitStack, bundle: Bundle, prepare: Callable[[], None]) -> CreateResult:
        """Have the monitor and the runtime create the container; its process waits."""
        dependencies = self._dependencies
        root = self._request.root

        def write_spec(root_fd: int) -> None:
            targets = [*_KERNELS, *_ETC, *(one.destination for one in (*self._request.mounts, *self._request.secrets))]
            self._stubs.find(root_fd, str(self._files.bundle.rootfs), targets, recursive=self._request.stubs_recursive)
            self._write_secrets()
            bundle.write_spec(root_fd)

        launch = ContainerLaunch(
            self._runtime,
            self._files.bundle,
            self._id,
            self._mapping.map_root(root),
            self._stdio(),
            prepare,
            write_spec,
            log_path=None,
        )
        stack.callback(self._runtime.delete_state, self._id)
        stack.push_async_callback(self._remove_cgroup)
        try:
            return await dependencies.monitor.launch_container(launch)
        except CreateFailed as refused:
            command = (self._request.config.Entrypoint or self._request.config.Cmd or [""])[0]
            raise failure(self._runtime.name, str(refused), command) from refused

    def _stdio(self) -> StdioPlan:
        config = self._request.config
        has_input = self._opened is not None and config.OpenStdin
        return StdioPlan(terminal=config.Tty, stdin=has_input, keep_stdin_open=False)

    def _write_secrets(self) -> None:
        """In memory, which goes with the launch's mount namespace."""
        if not self._request.secrets:
            return
        self._secrets.mkdir(mode=0o711)
        mount("tmpfs", str(self._secrets), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=711")
        maps = self._mapping.maps
        for number, one in enumerate(self._request.secrets):
            path = self._secrets / str(number)
            path.write_bytes(one.content)
            uid, gid = (one.uid, one.gid) if maps is None else maps.outside(one.uid, one.gid)
            os.chown(path, uid, gid)
            path.chmod(one.mode)

    async def _remove_cgroup(self) -> None:
        if not self._dependencies.cgroups.remove_empty(self._cgroup):
            await self._dependencies.cgroups.remove_cgroup(self._cgroup)

    async def _follow(self, launched: CreateResult, monitor: HeldProcess, stack: AsyncExitStack) -> Exit:
        """Let the process go, pass its output on, and wait for its end."""
        dependencies, bundle = self._dependencies, self._files.bundle
        console = Console(conmon.connect(bundle), self._write, self._drained.set)
        stack.callback(console.close)
        if self._opened is not None:
            self._running = self._process(launched, console, stack)
            self._opened(self._running)
        if self._stopping.is_set():
            raise asyncio.CancelledError
        await dependencies.networks.sandbox_attached(self._id, launched.pid)
        await self._runtime.start(self._id)
        dependencies.networks.sandbox_started(self._id)
        if self._stopping.is_set():
            await dependencies.cgroups.kill_in_thread(self._cgroup)
        end = await conmon.ended(monitor, bundle)
        await self._drained.wait()
        return end if end is not None else conmon.unrecorded_exit(bundle, killed=self._stopping.is_set())

    def _process(self, launched: CreateResult, console: Console, stack: AsyncExitStack) -> TransientProcess:
        """What others may do with the process while it runs."""
        first = FirstProcess(
            self._dependencies,
            self._runtime,
            self._id,
            launched.pid,
            self._request.host,
            self._request.config.Hostname,
            self._cgroup,
        )
        held = self._dependencies.monitor.hold_child(launched.pid, launched.monitor_pid)
        process = TransientProcess(console, self._files.bundle, held, first.execute)
        stack.callback(process.let_go)
        return process

    def _write(self, stream: int, data: bytes) -> None:
        self._output(STREAMS[stream], data)

    def _remove_files(self) -> None:
        self._files.remove()
        if self._completed:
            self._remove_stubs()

    def _remove_stubs(self) -> None:
        upper = os.open(self._request.root.upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._stubs.remove(upper)
        finally:
            os.close(upper)


def _runtime_of(dependencies: Dependencies, host: HostConfig) -> OCIRuntime:
    name = host.Runtime or dependencies.config.default_runtime
    runtime = dependencies.runtimes.get(name)
    if runtime is None:
        raise InvalidParameter(f"unknown or invalid runtime name: {name}")
    return runtime
