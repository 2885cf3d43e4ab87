"""`update`: a container's limits and restart policy, changed while it runs or for its next start.

All or nothing: the kernel's files are written first, and brought back when one of them is refused; then the record is
stored. A file beside conmon's says in between what is being changed, so that an engine which takes over after a crash
brings the kernel in line with the record, whichever of the two that is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from darse.containers.dependencies import Dependencies
from darse.containers.model import Container, Status
from darse.core import executors
from darse.core.documents import DocumentCodec, NewerDocument
from darse.core.errors import Conflict, EngineError, InvalidParameter
from darse.linux.fs.files import NotRegular, read_regular, write_atomically
from darse.runtime.cgroups.update import change_limits
from darse.runtime.oci import validate
from darse.runtime.oci.resources import linux_resources
from darse.runtime.oci.validate_resources import check_resources
from darse.wire.host_config import HostConfig
from darse.wire.observation import UpdateRequest, UpdateResponse

# Of the resources, what an update can change. The others are fixed by the creation.
_LIMITS = (
    "BlkioWeight",
    "CpuShares",
    "NanoCpus",
    "CpuPeriod",
    "CpuQuota",
    "CpuRealtimePeriod",
    "CpuRealtimeRuntime",
    "CpusetCpus",
    "CpusetMems",
    "Memory",
    "MemorySwap",
    "MemoryReservation",
)
# Of these a list replaces what is set, an empty one takes it away, and null leaves it.
_OF_DEVICES = (
    "BlkioWeightDevice",
    "BlkioDeviceReadBps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteIOps",
)
_FIXED = (
    "CgroupParent",
    "Devices",
    "DeviceCgroupRules",
    "DeviceRequests",
    "MemorySwappiness",
    "OomKillDisable",
    "Ulimits",
)
# Refused with a warning, whenever they are asked for.
_IGNORED = ("KernelMemory", "KernelMemoryTCP")
_MARK = "updating"
# The `linux.resources` of a change that is under way.
_MARK_DOCUMENTS = DocumentCodec(dict[str, Any])


class ContainerUpdates:
    """Changes limits."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies

    async def update(self, container: Container, request: UpdateRequest) -> UpdateResponse:
        """Change what `request` names; what is 0, empty or null in it stays, but for lists of devices that are empty.

        Raises InvalidParameter, and Conflict for what does not go together with limits that are set, or when the
        container is being removed or uses more memory than it may from now on.
        """
        dependencies = self._dependencies
        async with dependencies.locks.hold(container.id):
            if container.state.status is Status.REMOVING:
                raise _cannot(container, Conflict('container is marked for removal and cannot be "update"'))
            requested, warnings = self._checked(request)
            try:
                host = merged(container.record.host, requested)
            except EngineError as error:
                raise _cannot(container, error) from error
            with dependencies.traces.record("update", container.id):
                if container.state.alive:
                    await self._apply(container, host)
                try:
                    with dependencies.database.transaction():
                        dependencies.store.save_record(container, msgspec.structs.replace(container.record, host=host))
                        dependencies.publish(container, "update")
                except EngineError as error:
                    if container.state.alive:
                        await executors.kernel.run(self.recover, container)  # the record says what was before
                    raise _cannot(container, error) from error
                self._unmark(container)
        return UpdateResponse(warnings)

    def _checked(self, request: UpdateRequest) -> tuple[HostConfig, list[str]]:
        """What is asked for, as far as this host can do it, and warnings about the rest."""
        values = {
            name: getattr(request, name) for name in (*_LIMITS, *_OF_DEVICES, "PidsLimit", "RestartPolicy", *_IGNORED)
        }
        requested = HostConfig(**values)
        validate.check_restart(requested)
        warnings: list[str] = []
        check_resources(requested, self._dependencies.facts, warnings, update=True)
        warnings += [
            f"{name} is fixed when a container is created: it was not updated."
            for name in _FIXED
            if getattr(request, name)
        ]
        return requested, warnings

    async def _apply(self, container: Container, host: HostConfig) -> None:
        dependencies = self._dependencies
        before, after = (linux_resources(one, [], dependencies.facts) for one in (container.record.host, host))
        write_atomically(self._mark_file(container), _MARK_DOCUMENTS.encode(after), durable=False)
        try:
            await executors.kernel.run(
                change_limits, dependencies.cgroups, dependencies.cgroup_path(container), before, after
            )
        except EngineError as error:
            self._unmark(container)
            raise _cannot(container, error) from error

    def recover(self, container: Container) -> None:
        """Finish or undo what an engine before this one was changing: the record says which. Raises SystemFault."""
        try:
            marked = _MARK_DOCUMENTS.decode(read_regular(self._mark_file(container)))
        except (FileNotFoundError, NotRegular, msgspec.DecodeError):
            return  # the end of a file that is not whole came before anything was changed
        except NewerDocument as error:
            self._dependencies.log.warning("container %s keeps the limits that it has: %s", container.id[:12], error)
            return
        marked.pop("document_version", None)
        dependencies = self._dependencies
        recorded = linux_resources(container.record.host, [], dependencies.facts)
        change_limits(dependencies.cgroups, dependencies.cgroup_path(container), marked, recorded)
        self._unmark(container)

    def _mark_file(self, container: Container) -> Path:
        return self._dependencies.files.of(container.id).bundle.directory / _MARK

    def _unmark(self, container: Container) -> None:
        self._mark_file(container).unlink(missing_ok=True)


def merged(host: HostConfig, requested: HostConfig) -> HostConfig:
    """A host configuration with the limits of another that has only those to change.

    Raises Conflict, in docker's words, and InvalidParameter for what contradicts itself in the end.
    """
    for theirs, ours, text in (
        ("NanoCpus", "CpuPeriod", "Nano CPUs cannot be updated as CPU Period has already been set"),
        ("NanoCpus", "CpuQuota", "Nano CPUs cannot be updated as CPU Quota has already been set"),
        ("CpuPeriod", "NanoCpus", "CPU Period cannot be updated as NanoCPUs has already been set"),
        ("CpuQuota", "NanoCpus", "CPU Quota cannot be updated as NanoCPUs has already been set"),
    ):
        if getattr(requested, theirs) > 0 and getattr(host, ours) > 0:
            raise Conflict(f"Conflicting options: {text}")
    if 0 < host.MemorySwap < requested.Memory and requested.MemorySwap == 0:
        raise Conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
        )
    given = {name: value for name in _LIMITS if (value := getattr(requested, name))}
    given |= {name: value or None for name in _OF_DEVICES if (value := getattr(requested, name)) is not None}
    if requested.PidsLimit is not None:
        given["PidsLimit"] = max(requested.PidsLimit, 0)  # any negative number means no limit, as 0 does
    if requested.RestartPolicy.Name:
        if host.AutoRemove and requested.RestartPolicy.Name != "no":
            raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
        given["RestartPolicy"] = requested.RestartPolicy
    result = msgspec.structs.replace(host, **given)
    if result.MemorySwap > 0 and not result.Memory:
        raise InvalidParameter("You should always set the Memory limit when using Memoryswap limit, see usage")
    if 0 < result.MemorySwap < result.Memory:
        raise InvalidParameter("Minimum memoryswap limit should be larger than memory limit, see usage")
    if 0 < result.Memory < result.MemoryReservation:
        raise InvalidParameter("Minimum memory limit can not be less than memory reservation limit, see usage")
    return result


def _cannot(container: Container, error: EngineError) -> EngineError:
    return type(error)(f"Cannot update container {container.id}: {error}")
