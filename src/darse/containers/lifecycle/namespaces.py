"""The namespaces that a container shares with the host or with other containers, as its options say."""

from __future__ import annotations

from darse.containers.dependencies import Dependencies
from darse.containers.model import Container
from darse.containers.networking.etc_files import running_other
from darse.core.errors import InvalidParameter
from darse.runtime.oci.spec import SharedNamespaces


def joined_containers(dependencies: Dependencies, container: Container) -> dict[str, int]:
    """The containers whose namespaces a container joins: their pids by their names.

    Raises NotFound, Conflict when one does not run, and InvalidParameter for the container itself.
    """
    host = container.record.host
    joins, _, reference = host.NetworkMode.partition(":")
    if joins == "container" and dependencies.store.find(reference) is container:
        raise InvalidParameter(f"cannot join own network: --network {host.NetworkMode} names the container itself")
    found = [
        running_other(dependencies, mode, kind)
        for mode, kind in ((host.NetworkMode, "network"), (host.PidMode, "PID"), (host.IpcMode, "IPC"))
        if mode.startswith("container:")
    ]
    return {other.name: other.state.pid for other in found}


def shared_namespaces(
    dependencies: Dependencies, container: Container, *, network: str | None, user: str
) -> SharedNamespaces:
    """The namespaces for the spec. `network` and `user` are paths; None is the host's network, "" no user namespace.

    Raises NotFound, and Conflict when a container to join does not run.
    """
    host = container.record.host

    def path(mode: str, kind: str, file: str) -> str | None:
        if mode == "host":
            return None
        if mode.startswith("container:"):
            return f"/proc/{running_other(dependencies, mode, kind).state.pid}/ns/{file}"
        return ""

    # With the host's network comes the host's name, as in docker, unless another is asked for.
    hosts_name = host.UTSMode == "host" or (host.NetworkMode == "host" and not container.record.config.Hostname)
    return SharedNamespaces(
        user=user or None,
        network=network,
        pid=path(host.PidMode, "PID", "pid"),
        ipc=path(host.IpcMode, "IPC", "ipc"),
        uts=None if hosts_name else "",
        cgroup=None if host.CgroupnsMode == "host" else "",
    )


def donor_of_shared_memory(dependencies: Dependencies, container: Container) -> int:
    """The pid of the process whose /dev/shm a container shares; 0: no other container's.

    Raises NotFound, Conflict, and InvalidParameter when that one does not share it.
    """
    mode = container.record.host.IpcMode
    if not mode.startswith("container:"):
        return 0
    other = running_other(dependencies, mode, "IPC")
    if other.record.host.IpcMode in ("", "none", "private"):
        raise InvalidParameter("non-shareable IPC (hint: use IpcMode:shareable for the donor container)")
    return other.state.pid
