"""Putting a container together for a start: its network stack, its files, its mounts, its spec."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from darse.containers.dependencies import Dependencies
from darse.containers.filesystem.image_mounts import ImageMounts
from darse.containers.model import Container
from darse.containers.networking.etc_files import EtcFiles, network_owner, running_other
from darse.containers.networking.links import Links
from darse.core import trace
from darse.core.errors import InvalidParameter, Unavailable
from darse.networks.model import PortWishes, SandboxRequest
from darse.runtime.monitor.launch import RootMount
from darse.runtime.oci import OCIRuntime, cdi
from darse.runtime.oci.mounts import BindMount, TmpfsMount
from darse.runtime.oci.spec import SharedNamespaces, SpecInputs, build_spec
from darse.runtime.oci.user import lookup_user
from darse.runtime.remapping import IdMapping
from darse.runtime.rootfs.bind_sources import pin_layers, pin_shared_memory, pin_subpaths
from darse.runtime.rootfs.mount_targets import check_destinations, with_modes
from darse.volumes.mounts import MountPlan
from darse.wire.networks import EndpointSettings

_INIT_PROGRAMS = ("/usr/libexec/podman/catatonit", "/usr/bin/catatonit", "/usr/bin/tini-static", "/usr/bin/tini")


Mount = BindMount | TmpfsMount


class _Stack(msgspec.Struct, frozen=True):
    """A network namespace's path (None: the host's), the addresses in it, and its user namespace's path, if any."""

    path: str | None
    addresses: list[str]
    user: str = ""


class LaunchSpec(msgspec.Struct, frozen=True):
    """All that a launch needs."""

    runtime: OCIRuntime
    root: RootMount
    write_spec: Callable[[int], bytes]
    created: Callable[[], None]


class StartPreparation:
    """Prepares launches."""

    def __init__(self, context: Dependencies, links: Links) -> None:
        self._context = context
        self._links = links
        self._mounted = ImageMounts(context)
        self._names = EtcFiles(context, links)
        context.observers.add(self._names)

    async def prepare(self, container: Container) -> LaunchSpec:
        """Make what a container's start stands on. What it makes, `Lifecycle` gives back when the start fails.

        Raises NotFound, Conflict and InvalidParameter for what has gone since the creation, and SystemFault.
        """
        context = self._context
        files = context.files.of(container.id)
        runtime = context.runtime_of(container)
        self._links.require_running(container)
        mapping = context.id_mapping_of(container.record.host)
        await context.snapshots.change_owners(container.id, mapping.owners)
        self._allow_real_time(container)
        stack = await self._network(container, mapping)
        hostname = self._names.hostname(container)
        binds = self._names.write(container, hostname, stack.addresses)
        mounts = [*binds, *[await self._ready(plan, container.id, mapping) for plan in container.record.mounts]]
        shared_memory = self._shared_memory(container)
        station = files.station.directory
        overlay = context.snapshots.overlay(container.id)
        root = mapping.map_root(RootMount(overlay.lower, overlay.upper, overlay.work))
        own = str(context.files.containers)
        mapped = mapping.map_mounts(mounts, container.record.host, own, self._plain_volumes(container))
        namespaces = self._namespaces(container, stack)
        init_program = self._init_program(container)
        record = container.record
        image = context.images.store.by_id(record.image_id)
        profile: bytes | None = None

        requests = record.host.DeviceRequests
        devices = cdi.Catalogue(context.config.cdi_directories).edits(requests) if requests else []

        def write_spec(root_fd: int) -> bytes:
            nonlocal profile
            check_destinations(root_fd, str(files.station.rootfs), mapped)
            pinned = pin_subpaths(pin_layers(with_modes(root_fd, mapped), station), station)
            inputs = SpecInputs(
                config=record.config,
                host=record.host,
                facts=context.facts,
                user=lookup_user(root_fd, record.config.User, record.host.GroupAdd or ()),
                rootfs=str(files.station.rootfs),
                hostname=hostname,
                cgroup_path=context.cgroup_path(container),
                namespaces=namespaces,
                mounts=pinned,
                shm_source=(
                    pin_shared_memory(shared_memory, station) if isinstance(shared_memory, int) else shared_memory
                ),
                init_program=init_program,
                seccomp_profile=context.seccomp_profile,
                image_architecture=image.platform.architecture if image is not None else "",
                no_new_privileges=context.config.no_new_privileges,
                default_ulimits=context.config.default_ulimits,
                link_variables=self._links.environment(container),
            )
            with trace.step("file", f"write the OCI spec, {files.station.config}"):
                spec = build_spec(runtime.adapt_spec(mapping.adapt_spec(inputs, station), station))
                cdi.apply(spec, devices)
                profile = runtime.insert_filter(spec)
                return msgspec.json.encode(spec)

        def created() -> None:
            if profile is not None:
                runtime.keep_filter(container.id, profile)

        return LaunchSpec(runtime, root, write_spec, created)

    def _allow_real_time(self, container: Container) -> None:
        """What the engine's configuration grants all containers goes to the parent of this one's cgroup."""
        config, cgroups = self._context.config, self._context.cgroups
        if config.cpu_rt_period or config.cpu_rt_runtime:
            parent = str(Path(self._context.cgroup_path(container)).parent)
            cgroups.allow_real_time(parent, period=config.cpu_rt_period, runtime=config.cpu_rt_runtime)

    async def _ready(self, plan: MountPlan, container_id: str, mapping: IdMapping) -> Mount:
        if plan.type == "image":
            return self._mounted.ready(plan, container_id, mapping)
        return await self._context.volumes.ready(plan, container_id)

    async def _network(self, container: Container, mapping: IdMapping) -> _Stack:
        context, record = self._context, container.record
        mode = record.host.NetworkMode
        if mode == "host":
            return _Stack(None, [])
        if mode.startswith("container:") and context.store.find(mode.partition(":")[2]) is container:
            raise InvalidParameter(f"cannot join own network: --network {mode} names the container itself")
        shared = mapping.shared_user_namespace(self._joined(container))
        if mode.startswith("container:"):
            other = running_other(self._context, mode, "network")
            sandbox = context.networks.sandbox(network_owner(context, container).id)
            addresses = [one.address for one in sandbox.endpoints] if sandbox else []
            return _Stack(f"/proc/{other.state.pid}/ns/net", addresses, shared)
        request = SandboxRequest(
            container_id=container.id,
            container_name=container.name,
            endpoints={} if mode == "none" or record.config.NetworkDisabled else self._endpoints(container),
            mac=record.config.MacAddress,
            wishes=PortWishes(
                record.host.PortBindings or {}, list(record.config.ExposedPorts or {}), record.host.PublishAllPorts
            ),
            owner=shared or mapping.maps,
        )
        made = await context.networks.sandbox_create(request)
        return _Stack(made.path, made.addresses, made.user_path)

    def _endpoints(self, container: Container) -> dict[str, EndpointSettings]:
        """The container's networks by name; those that came after its creation are checked now, and on record.

        Raises NotFound for one that is not there, and InvalidParameter.
        """
        networks, record = self._context.networks, container.record
        if all(networks.store.by_name(name) for name in record.endpoints):
            return record.endpoints
        found = {}
        for name, settings in record.endpoints.items():
            network = networks.store.get(name)
            if network.driver in ("host", "null"):
                raise InvalidParameter(f"container cannot be connected to network {network.name} and to others")
            found[network.name] = settings
        networks.check(found)
        record.endpoints = found
        self._context.store.save_record(container)
        return found

    def _joined(self, container: Container) -> dict[str, int]:
        """The containers whose namespaces one joins: their pids by their names."""
        host = container.record.host
        found = [
            running_other(self._context, mode, kind)
            for mode, kind in ((host.NetworkMode, "network"), (host.PidMode, "PID"), (host.IpcMode, "IPC"))
            if mode.startswith("container:")
        ]
        return {other.name: other.state.pid for other in found}

    def _namespaces(self, container: Container, stack: _Stack) -> SharedNamespaces:
        host = container.record.host

        def path(mode: str, kind: str, file: str) -> str | None:
            if mode == "host":
                return None
            if mode.startswith("container:"):
                return f"/proc/{running_other(self._context, mode, kind).state.pid}/ns/{file}"
            return ""

        # With the host's network comes the host's name, as in docker, unless another is asked for.
        uts = (
            None
            if host.UTSMode == "host" or (host.NetworkMode == "host" and not container.record.config.Hostname)
            else ""
        )
        cgroup = None if host.CgroupnsMode == "host" else ""
        return SharedNamespaces(
            user=stack.user or None,
            network=stack.path,
            pid=path(host.PidMode, "PID", "pid"),
            ipc=path(host.IpcMode, "IPC", "ipc"),
            uts=uts,
            cgroup=cgroup,
        )

    def _plain_volumes(self, container: Container) -> set[str]:
        """Where the container has volumes that are directories of the engine's."""
        return {
            plan.destination
            for plan in container.record.mounts
            if plan.type == "volume" and self._context.volumes.is_plain(plan.name)
        }

    def _shared_memory(self, container: Container) -> str | int:
        """What to show as /dev/shm: a path of the host, that of a process, or for "" memory of the container's own."""
        mode = container.record.host.IpcMode
        if mode == "host":
            return "/dev/shm"  # noqa: S108 - the host's, as asked for
        if not mode.startswith("container:"):
            return ""
        other = running_other(self._context, mode, "IPC")
        if other.record.host.IpcMode in ("", "none", "private"):
            raise InvalidParameter("non-shareable IPC (hint: use IpcMode:shareable for the donor container)")
        return other.state.pid

    def _init_program(self, container: Container) -> str:
        config = self._context.config
        wanted = container.record.host.Init if container.record.host.Init is not None else config.init
        if not wanted:
            return ""
        if config.init_path:
            return config.init_path
        program = find_init()
        if program is None:
            raise Unavailable("--init needs a small init program: install the package catatonit or tini")
        return program


def find_init() -> str | None:
    """The installed init program, if any."""
    for candidate in _INIT_PROGRAMS:
        if os.access(candidate, os.X_OK):
            return candidate
    return shutil.which("catatonit") or shutil.which("tini")
