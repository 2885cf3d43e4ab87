"""Creating a container: what it asks for, checked and merged with its image's defaults, then recorded."""

from __future__ import annotations

import functools
import os
import posixpath
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from darse.containers import name_generator
from darse.containers.dependencies import Dependencies
from darse.containers.layout import DIRECTORY_MODE, ContainerFiles
from darse.containers.lifecycle.image_mounts import ImageMounts
from darse.containers.lifecycle.signals import parse_signal
from darse.containers.logs import drivers as log_drivers
from darse.containers.logs.driver_names import is_plugin
from darse.containers.logs.shipping.plugin import check_plugin
from darse.containers.model import Container, Record, RunState, Status
from darse.containers.networking.links import Links
from darse.core import executors
from darse.core.errors import InvalidParameter, NotFound
from darse.core.exhaustion import in_words
from darse.core.ids import NAME_PATTERN, new_id
from darse.image_spec import platforms
from darse.image_spec.platforms import Platform
from darse.images import Image, Overlay, SnapshotService
from darse.linux.fs.mounts import mount_overlay
from darse.networks.endpoint_settings import check_settings, refuse_user_defined
from darse.networks.ports import check_ports
from darse.runtime.oci import validate
from darse.runtime.oci.spec import READONLY_PATHS, masked_paths
from darse.runtime.rootfs.directories import is_there, make_directories
from darse.volumes.model import name_anonymous
from darse.volumes.mounts import MountPlan, parse_mounts, parse_volumes_from
from darse.volumes.populate import is_empty, populate
from darse.wire.containers import ContainerConfig, CreateRequest, CreateResponse, HealthConfig
from darse.wire.host_config import HostConfig
from darse.wire.networks import EndpointSettings

_NAME_LIMIT = 255
#: Puts files into the upper directory of a new container, which is empty.
Fill = Callable[[Path], Awaitable[None]]


class Creation:
    """Creates containers."""

    def __init__(self, dependencies: Dependencies, links: Links) -> None:
        self._dependencies = dependencies
        self._links = links
        self._mounted = ImageMounts(dependencies)

    async def create(
        self,
        name: str | None,
        request: CreateRequest,
        platform: Platform | None = None,
        *,
        recursive_read_only: bool = True,
    ) -> CreateResponse:
        """Create a container called `name`, or something pleasant, from the image for `platform` (this machine's).

        recursive_read_only: read-only binds reach what is mounted below their source, unless configured otherwise.

        Raises NotFound for the image and nothing else, since clients pull it then; Conflict for the name, and
        InvalidParameter. Networks are looked up at a start.
        """
        dependencies = self._dependencies
        if not request.Image:
            raise InvalidParameter("config must name an image: Image is empty")
        host = self.with_defaults(request.HostConfig)
        warnings = self._check_options(request, host)
        if is_plugin(host.LogConfig.Type):
            await check_plugin(dependencies.plugins, host.LogConfig.Type)
        image = await dependencies.images.ensure_image(request.Image, platform)
        config = merged(request.container_config(), image.container_config())
        if config.WorkingDir.startswith("/"):
            config.WorkingDir = posixpath.normpath("/" + config.WorkingDir.lstrip("/"))
        self._check_config(config, host)
        if platform is None:
            warnings += _platform_warnings(image)
        endpoints = self._endpoints(host, request)
        inherited = self._volumes_from(host)
        data_root = os.path.realpath(dependencies.config.data_root)
        plans = parse_mounts(host, request.Volumes, image.container_config().Volumes, inherited, data_root=data_root)
        if not recursive_read_only:
            for plan in plans:
                plan.read_only_non_recursive |= plan.type == "bind" and not plan.rw
        await dependencies.volumes.mounting.check_sources(plans)
        mounted = await self._mounted.resolve(plans)
        links = self._links.resolve(host.Links or (), host.NetworkMode)
        host.Links = None  # told from the record, in the targets' current names
        record = Record(
            id=new_id(),
            name=self._name(name),
            created_ns=time.time_ns(),
            image_id=image.id,
            image_reference=request.Image,
            config=config,
            host=host,
            endpoints=endpoints,
            mounts=plans,
            links=links,
        )
        container = Container(record, RunState())
        with dependencies.traces.record("create", container.id), in_words():
            await self._make(container, image, mounted)
        return CreateResponse(container.id, warnings)

    async def _make(
        self,
        container: Container,
        image: Image,
        mounted: Mapping[str, list[str]],
        state: RunState | None = None,
        fill: Fill | None = None,
    ) -> None:
        """Record a container, and have its files there, by `fill` or from its image; `state` is what it is in then."""
        dependencies = self._dependencies
        files = dependencies.files.of(container.id)
        async with AsyncExitStack() as undo:
            # Before the record is stored: it tells recovery which volumes an unfinished creation has made.
            name_anonymous(container.record.mounts)
            # The client gets its answer after the last transaction, which flushes this one too.
            with dependencies.database.transaction(durable=False):
                dependencies.store.add(container)
                dependencies.snapshots.prepare(container.id, image, mounted)
            undo.push_async_callback(self._discard_volumes, container)
            undo.callback(dependencies.store.delete_container, container)
            undo.push_async_callback(dependencies.images.remove_snapshot, container.id)
            undo.push_async_callback(executors.storage.run, files.remove)
            overlay = dependencies.snapshots.overlay(container.id)
            working = container.record.config.WorkingDir
            missing = await executors.storage.run_to_end(
                _make_places, dependencies.snapshots, files, working, overlay.lower
            )
            if fill is not None:
                await fill(Path(overlay.upper))
            if owners := dependencies.id_mapping_of(container.record.host).owners:
                await dependencies.snapshots.change_owners(container.id, owners)
            await dependencies.volumes.ensure_volumes(container.record.mounts)
            if fill is None:
                await self._fill(container, missing)
            with dependencies.database.transaction():
                dependencies.database.on_rollback(functools.partial(setattr, container, "state", container.state))
                container.state = state or RunState(Status.CREATED)
                dependencies.store.save_record(container)
                dependencies.store.save_state(container)
                dependencies.publish(container, "create")
            undo.pop_all()

    async def _discard_volumes(self, container: Container) -> None:
        """Undo: remove the anonymous volumes of a container that is gone again."""
        volumes = self._dependencies.volumes
        await volumes.delete_volume_data(volumes.discard_anonymous(container.record.mounts))

    def with_defaults(self, given: HostConfig) -> HostConfig:
        """A host config with what the engine and its host add to it."""
        config, facts = self._dependencies.config, self._dependencies.facts
        host = msgspec.structs.replace(given)
        host.NetworkMode = "bridge" if given.NetworkMode in ("", "default") else given.NetworkMode
        if host.NetworkMode == "bridge" and self._dependencies.networks.default_bridge() is None:
            host.NetworkMode = "none"
        host.Runtime = given.Runtime or config.default_runtime
        host.IpcMode = given.IpcMode or config.default_ipc_mode
        host.CgroupnsMode = (
            given.CgroupnsMode or config.default_cgroupns_mode or ("private" if facts.cgroup_version == 2 else "host")
        )
        host.ShmSize = given.ShmSize or config.default_shm_size
        if given.Memory > 0 and given.MemorySwap == 0:
            # As docker: without a word about swap, as much again. On record, for a later update goes by it.
            host.MemorySwap = min(given.Memory * 2, 2**63 - 1)
        host.LogConfig = log_drivers.with_defaults(given.LogConfig, config.log_driver, config.log_options)
        if not given.RestartPolicy.Name:
            host.RestartPolicy = msgspec.structs.replace(given.RestartPolicy, Name="no")
        if not given.Privileged:
            host.MaskedPaths = masked_paths(facts) if given.MaskedPaths is None else given.MaskedPaths
            host.ReadonlyPaths = list(READONLY_PATHS) if given.ReadonlyPaths is None else given.ReadonlyPaths
        host.ConsoleSize = given.ConsoleSize or [0, 0]
        host.PidsLimit = given.PidsLimit if (given.PidsLimit or 0) > 0 else None
        return host

    def _check_options(self, request: CreateRequest, host: HostConfig) -> list[str]:
        """Check what needs no image: conflicts of options first, then what they name; return warnings."""
        given = request.NetworkingConfig.EndpointsConfig or {}
        validate.check_together(request, host, [settings.MacAddress for settings in given.values()])
        log_drivers.check(host.LogConfig)
        warnings = validate.check_host(host, self._dependencies.facts, self._dependencies.runtimes)
        self._dependencies.id_mapping_of(host).check_options(host)
        for mode in (host.PidMode, host.IpcMode):
            if mode.startswith("container:"):
                self._other(mode.partition(":")[2])
        if host.NetworkMode == "host" and host.PortBindings:
            warnings.append("Published ports are discarded when using host network mode")
        return warnings

    def _check_config(self, config: ContainerConfig, host: HostConfig) -> None:
        """Check the container's configuration over its image's."""
        validate.check_config(config)
        if config.StopSignal:
            parse_signal(config.StopSignal)
        check_ports(host.PortBindings, config.ExposedPorts or {})
        check_settings(EndpointSettings(MacAddress=config.MacAddress))
        if not config.Entrypoint and not config.Cmd:
            raise InvalidParameter("no command specified")

    def _other(self, reference: str) -> Container:
        """Another container that an option names. Raises InvalidParameter: a 404 would be about the image."""
        try:
            return self._dependencies.store.get(reference)
        except NotFound as error:
            raise InvalidParameter(str(error)) from None

    def _endpoints(self, host: HostConfig, request: CreateRequest) -> dict[str, EndpointSettings]:
        """The networks to connect to, that of the network mode first. Those that are not there yet may come."""
        given = dict(request.NetworkingConfig.EndpointsConfig or {})
        if host.NetworkMode in ("host", "none") or host.NetworkMode.startswith("container:"):
            for settings in given.values():
                refuse_user_defined(settings)
            return {}
        known: dict[str, EndpointSettings] = {}
        chosen: dict[str, EndpointSettings] = {}
        networks = self._dependencies.networks
        store = networks.store
        mode = store.find_reference(host.NetworkMode)
        if mode is not None and (alone := networks.network_mode(mode)):
            host.NetworkMode = alone
            return {}
        for name, settings in {host.NetworkMode: EndpointSettings(), **given}.items():
            check_settings(settings)
            record = store.find_reference("bridge" if name == "default" else name)
            if record is None:
                chosen[name] = settings
                continue
            if networks.network_mode(record):
                raise InvalidParameter(f"container cannot be connected to network {record.name} and to others")
            chosen[record.name] = known[record.name] = settings
        networks.check(known)
        return chosen

    def _volumes_from(self, host: HostConfig) -> list[MountPlan]:
        plans: dict[str, MountPlan] = {}
        for text in host.VolumesFrom or ():
            reference, writable = parse_volumes_from(text)
            for plan in self._other(reference).record.mounts:
                plans[plan.destination] = msgspec.structs.replace(plan, rw=plan.rw and writable, from_container=True)
        return list(plans.values())

    def _name(self, given: str | None) -> str:
        if given is None:
            return name_generator.generate(self._dependencies.store.name_is_taken)
        name = check_name(given)
        self._dependencies.store.refuse_taken(name)
        return name

    async def _fill(self, container: Container, working: str) -> None:
        """Copy what the image has at a new volume's place into the volume, and make the working directory.

        `working` is empty when that is there.
        """
        dependencies = self._dependencies
        plans = [
            plan
            for plan in container.record.mounts
            if plan.type == "volume"
            and not plan.no_copy
            and not plan.from_container
            and dependencies.volumes.mounting.is_plain(plan.name)
        ]
        if plans:
            # In a thread: a directory in which a container renames without a pause is locked most of the time.
            plans = await executors.storage.run(_empty_ones, plans)
        if plans or working:
            overlay = dependencies.snapshots.overlay(container.id)
            owner = dependencies.id_mapping_of(container.record.host).root_on_disk
            files = dependencies.files.of(container.id)
            await dependencies.threads.run(self._fill_files, files, overlay, plans, working, owner)

    def _fill_files(
        self, files: ContainerFiles, overlay: Overlay, plans: list[MountPlan], working: str, owner: tuple[int, int]
    ) -> None:
        dependencies = self._dependencies
        files.prepare_bundle()
        try:
            with dependencies.threads.private_mounts():
                mount_overlay(overlay.lower, overlay.upper, overlay.work, str(files.bundle.rootfs))
                root_fd = os.open(files.bundle.rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    if working:
                        make_directories(root_fd, working, *owner)
                    for plan in plans:
                        populate(root_fd, plan.destination, Path(plan.source), plan.subpath)
                finally:
                    os.close(root_fd)
        finally:
            files.clear_bundle()


def make_places(snapshots: SnapshotService, files: ContainerFiles) -> None:
    """Make the directories of a new container. Blocks. Raises OSError."""
    snapshots.make_directories(files.container_id)
    files.data.mkdir(DIRECTORY_MODE)


def _make_places(snapshots: SnapshotService, files: ContainerFiles, working: str, lower: Sequence[str]) -> str:
    """As `make_places`; return the working directory when it is to be made, too."""
    make_places(snapshots, files)
    return "" if is_there(working, lower) else working


def _empty_ones(plans: list[MountPlan]) -> list[MountPlan]:
    return [plan for plan in plans if is_empty(Path(plan.source), plan.subpath)]


def merged(config: ContainerConfig, image: ContainerConfig) -> ContainerConfig:
    """The container's configuration over its image's defaults, as docker merges them."""
    result = msgspec.structs.replace(config)
    if not config.Entrypoint:
        if not config.Cmd:
            result.Cmd = image.Cmd
        if config.Entrypoint is None:
            result.Entrypoint = image.Entrypoint
    elif config.Entrypoint == [""]:
        result.Entrypoint = None
    given = {entry.partition("=")[0] for entry in config.Env or ()}
    result.Env = [entry for entry in image.Env or () if entry.partition("=")[0] not in given] + list(config.Env or ())
    result.Labels = {**(image.Labels or {}), **(config.Labels or {})}
    result.ExposedPorts = {**(image.ExposedPorts or {}), **(config.ExposedPorts or {})} or None
    result.Volumes = {**(image.Volumes or {}), **(config.Volumes or {})} or None
    result.Healthcheck = _merged_health(config.Healthcheck, image.Healthcheck)
    for name in ("User", "WorkingDir", "StopSignal", "StopTimeout", "Shell", "OnBuild"):
        if not getattr(config, name) and getattr(config, name) != 0:
            setattr(result, name, getattr(image, name))
    return result


def _merged_health(given: HealthConfig | None, image: HealthConfig | None) -> HealthConfig | None:
    if given is None or image is None:
        return given or image
    fields = msgspec.structs.asdict(given)
    return HealthConfig(**{name: value or getattr(image, name) for name, value in fields.items()})


def check_name(given: str) -> str:
    """Return a container's name without the API's slash. Raises InvalidParameter."""
    name = given.removeprefix("/")
    if NAME_PATTERN.fullmatch(name) is None or len(name) > _NAME_LIMIT:
        raise InvalidParameter(f"Invalid container name ({given}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    return name


def _platform_warnings(image: Image) -> list[str]:
    if platforms.distance(platforms.host(), image.platform) is not None:
        return []
    return [
        f"The requested image's platform ({image.platform}) does not match the detected host platform "
        f"({platforms.host()}) and no specific platform was requested"
    ]
