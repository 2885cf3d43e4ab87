"""Starting a container, step by step, each step with its undo.

The engine may die after each of them: until the runtime has let the process go, an engine that takes over finds a
process that still waits and undoes the start; from then on it finds a running container and adopts it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from darse.containers.dependencies import Dependencies
from darse.containers.health.policy import first_health
from darse.containers.lifecycle.image_mounts import ImageMounts
from darse.containers.lifecycle.namespaces import donor_of_shared_memory, joined_containers, shared_namespaces
from darse.containers.lifecycle.teardown import Teardown
from darse.containers.model import Container
from darse.containers.networking.etc_files import EtcFiles, network_owner, running_other
from darse.containers.networking.links import Links
from darse.containers.streams.hubs import ConsoleHubs
from darse.core.errors import InvalidParameter, Unavailable
from darse.core.undo import Undo
from darse.networks.model import PortWishes, SandboxRequest
from darse.runtime.bundle import Bundle
from darse.runtime.init import find_init
from darse.runtime.monitor import HeldProcess
from darse.runtime.monitor.conmon import CreateFailed, CreateResult, StdioPlan
from darse.runtime.monitor.launch import ContainerLaunch, RootMount
from darse.runtime.oci import OCIRuntime, cdi
from darse.runtime.oci.errors import failure
from darse.runtime.oci.mounts import BindMount, TmpfsMount
from darse.runtime.oci.spec import SpecInputs
from darse.runtime.remapping import IdMapping
from darse.volumes.mounts import MountPlan
from darse.wire.networks import EndpointSettings


class _Network(msgspec.Struct, frozen=True):
    """A network namespace's path (None: the host's), the addresses in it, and its user namespace's path, if any."""

    path: str | None
    addresses: list[str]
    user: str = ""


class ContainerStart:
    """The steps of a start, in their order."""

    def __init__(
        self, dependencies: Dependencies, links: Links, etc_files: EtcFiles, teardown: Teardown, hubs: ConsoleHubs
    ) -> None:
        self._dependencies = dependencies
        self._links = links
        self._etc_files = etc_files
        self._teardown = teardown
        self._hubs = hubs
        self._image_mounts = ImageMounts(dependencies)

    async def run(self, container: Container, restore: Path | None, save: Callable[[], None]) -> HeldProcess:
        """Start a container that does not run, or restore it from a checkpoint's directory; return its monitor.

        `save` puts the start on record, and is tried again when the disk refuses it. When the start fails nothing of it
        is left. Raises NotFound, Conflict and InvalidParameter for what has gone since the creation, LaunchFailure when
        the command cannot be run, SystemFault, and OSError.
        """
        dependencies = self._dependencies
        async with Undo(f"start of container {container.id[:12]}") as undo:
            # Its last end must be on record before the directory of that run goes.
            dependencies.pending_writes.settle(container.id)
            runtime = dependencies.runtime_of(container)
            mapping = dependencies.id_mapping_of(container.record.host)
            joined = self._resolve(container)
            await self._map_snapshot(container, mapping)
            self._allow_real_time(container)
            network = await self._create_sandbox(container, mapping, joined, undo)
            mounts = [*self._etc_files.mounts(container), *await self._mount_volumes(container, mapping, undo)]
            bundle = self._plan_bundle(container, runtime, mapping, network, mounts)
            prepare = self._files_writer(container, mapping, network)
            launch = self._plan_launch(container, runtime, mapping, bundle, prepare, restore)
            await dependencies.rootfs_leases.wait_idle(container.id)
            launched, monitor = await self._launch(container, launch, undo)
            bundle.keep_filter()
            await self._start_process(container, launch, launched, undo)
            dependencies.pending_writes.write(container.id, save)
            dependencies.networks.sandbox_started(container.id)
        return monitor

    def _resolve(self, container: Container) -> dict[str, int]:
        """Refuse what cannot be started now; return the containers whose namespaces it joins, by name and pid."""
        self._links.require_running(container)
        return joined_containers(self._dependencies, container)

    async def _map_snapshot(self, container: Container, mapping: IdMapping) -> None:
        await self._dependencies.snapshots.change_owners(container.id, mapping.owners)

    def _allow_real_time(self, container: Container) -> None:
        """What the engine's configuration grants all containers goes to the parent of this one's cgroup."""
        config, cgroups = self._dependencies.config, self._dependencies.cgroups
        if config.cpu_rt_period or config.cpu_rt_runtime:
            parent = str(Path(self._dependencies.cgroup_path(container)).parent)
            cgroups.allow_real_time(parent, period=config.cpu_rt_period, runtime=config.cpu_rt_runtime)

    async def _create_sandbox(
        self, container: Container, mapping: IdMapping, joined: dict[str, int], undo: Undo
    ) -> _Network:
        """Create the network sandbox, unless the container uses the host's network or joins another container's."""
        dependencies, record = self._dependencies, container.record
        mode = record.host.NetworkMode
        if mode == "host":
            return _Network(None, [])
        user = mapping.shared_user_namespace(joined)
        if mode.startswith("container:"):
            other = running_other(dependencies, mode, "network")
            sandbox = dependencies.networks.sandbox_join(container.id, network_owner(dependencies, container).id)
            undo.add(self._teardown.release_sandbox, container)
            addresses = [one.address for one in sandbox.endpoints] if sandbox else []
            return _Network(f"/proc/{other.state.pid}/ns/net", addresses, user)
        request = SandboxRequest(
            container_id=container.id,
            container_name=container.name,
            endpoints={} if mode == "none" or record.config.NetworkDisabled else self._resolve_endpoints(container),
            mac=record.config.MacAddress,
            wishes=PortWishes(
                record.host.PortBindings or {}, list(record.config.ExposedPorts or {}), record.host.PublishAllPorts
            ),
            owner=user or mapping.maps,
            hostname=record.config.Hostname,
            links=self._links.names(container),
            dns=self._etc_files.name_lookup(container),
        )
        made = await dependencies.networks.sandbox_create(request)
        undo.add(self._teardown.release_sandbox, container)
        return _Network(made.path, made.addresses, made.user_path)

    def _resolve_endpoints(self, container: Container) -> dict[str, EndpointSettings]:
        """The container's networks by name; those that were created after it are checked now, and put on record.

        Raises NotFound for one that is not there, and InvalidParameter.
        """
        networks, record = self._dependencies.networks, container.record
        if all(networks.store.by_name(name) for name in record.endpoints):
            return record.endpoints
        found = {}
        for name, settings in record.endpoints.items():
            network = networks.store.get(name)
            if networks.network_mode(network):
                raise InvalidParameter(f"container cannot be connected to network {network.name} and to others")
            found[network.name] = settings
        networks.check(found)
        self._dependencies.store.save_record(container, msgspec.structs.replace(record, endpoints=found))
        return found

    async def _mount_volumes(
        self, container: Container, mapping: IdMapping, undo: Undo
    ) -> list[BindMount | TmpfsMount]:
        """Mount the container's volumes on the host, and find the sources of its other mounts."""
        begun: list[MountPlan] = []
        undo.add(self._teardown.unmount_volumes, container, begun)
        return await self._image_mounts.prepare_all(container.record.mounts, container.id, begun, mapping)

    def _plan_bundle(
        self,
        container: Container,
        runtime: OCIRuntime,
        mapping: IdMapping,
        network: _Network,
        mounts: list[BindMount | TmpfsMount],
    ) -> Bundle:
        """Decide what goes into the spec; it is written in the launch's mount namespace."""
        dependencies, config, record = self._dependencies, self._dependencies.config, container.record
        files = dependencies.files.of(container.id)
        plain = {
            one.destination
            for one in record.mounts
            if one.type == "volume" and dependencies.volumes.mounting.is_plain(one.name)
        }
        image = dependencies.images.by_id(record.image_id)
        inputs = SpecInputs(
            config=record.config,
            host=record.host,
            facts=dependencies.facts,
            rootfs=str(files.bundle.rootfs),
            hostname=self._etc_files.hostname(container),
            cgroup_path=dependencies.cgroup_path(container),
            namespaces=shared_namespaces(dependencies, container, network=network.path, user=network.user),
            mounts=mapping.map_mounts(mounts, record.host, str(dependencies.files.containers), plain),
            shm_source="/dev/shm" if record.host.IpcMode == "host" else "",  # noqa: S108 - the host's, as asked for
            init_program=self._init_program(container),
            seccomp_profile=dependencies.seccomp_profile,
            image_architecture=image.platform.architecture if image is not None else "",
            no_new_privileges=config.no_new_privileges,
            default_ulimits=config.default_ulimits,
            link_variables=self._links.environment(container),
        )
        requests = record.host.DeviceRequests
        return Bundle(
            files.bundle,
            runtime,
            mapping,
            inputs,
            shared_memory_of=donor_of_shared_memory(dependencies, container),
            devices=cdi.Catalogue(config.cdi_directories).edits(requests) if requests else (),
        )

    def _init_program(self, container: Container) -> str:
        config, asked = self._dependencies.config, container.record.host.Init
        if not (config.init if asked is None else asked):
            return ""
        program = config.init_path or find_init()
        if program is None:
            raise Unavailable("--init needs a small init program: install the package catatonit or tini")
        return program

    def _files_writer(self, container: Container, mapping: IdMapping, network: _Network) -> Callable[[], None]:
        """What makes the run's directory and writes the files for /etc, in the launch's thread."""
        files = self._dependencies.files.of(container.id)
        hostname = self._etc_files.hostname(container)
        write_names = self._etc_files.writer(container, hostname, network.addresses, mapping.root_on_disk)

        def write() -> None:
            files.prepare_bundle()
            write_names()

        return write

    def _plan_launch(
        self,
        container: Container,
        runtime: OCIRuntime,
        mapping: IdMapping,
        bundle: Bundle,
        prepare: Callable[[], None],
        restore: Path | None,
    ) -> ContainerLaunch:
        files, config = self._dependencies.files.of(container.id), container.record.config
        overlay = self._dependencies.snapshots.overlay(container.id)
        return ContainerLaunch(
            runtime,
            files.bundle,
            container.name,
            mapping.map_root(RootMount(overlay.lower, overlay.upper, overlay.work)),
            StdioPlan(
                terminal=config.Tty, stdin=config.OpenStdin, keep_stdin_open=config.OpenStdin and not config.StdinOnce
            ),
            prepare,
            bundle.write_spec,
            log_path=files.log if container.record.host.LogConfig.Type != "none" else None,
            restore=restore,
        )

    async def _launch(
        self, container: Container, launch: ContainerLaunch, undo: Undo
    ) -> tuple[CreateResult, HeldProcess]:
        """Have the monitor and the runtime create the container; its process waits."""
        dependencies = self._dependencies
        undo.add(self._teardown.clear_bundle, container)
        undo.add(self._teardown.delete_runtime_state, container)
        undo.add(self._teardown.remove_cgroup, container)
        try:
            launched = await dependencies.monitor.launch_container(launch)
        except CreateFailed as refused:
            command = container.record.command[0] if container.record.command else ""
            raise failure(launch.runtime.name, str(refused), command) from refused
        container.monitor = monitor = dependencies.monitor.hold(launched.monitor_pid)
        undo.add(self._end_monitor, container, monitor)
        return launched, monitor

    async def _end_monitor(self, container: Container, monitor: HeldProcess) -> None:
        container.monitor = None
        await self._teardown.end_monitor(container, monitor)

    async def _start_process(
        self, container: Container, launch: ContainerLaunch, launched: CreateResult, undo: Undo
    ) -> None:
        """Let the process go; a restored one runs already. From here on an engine that takes over adopts it."""
        self._hubs.connect_waiting(container)
        started_ns = time.time_ns()  # before the process can end
        container.begun = asyncio.get_running_loop().time()
        await self._dependencies.networks.sandbox_attached(container.id, launched.pid)
        if launch.restore is None:
            await launch.runtime.start(container.id)
        undo.add(setattr, container, "state", container.state)
        container.state = container.state.started(
            launched.pid, launched.monitor_pid, started_ns, first_health(container.record.config)
        )
