"""How a managed plugin runs: the container that its config and settings make, and where it is reached."""

from __future__ import annotations

import msgspec

from darse.containers.logs.shipping.plugin import log_directory
from darse.containers.model import Record
from darse.core.config import EngineConfig
from darse.core.errors import InvalidParameter
from darse.linux.fs.contained import remove_tree
from darse.linux.fs.mounts import MNT_DETACH, is_mount_point, shared_bind, unmount
from darse.managed_plugins.model import PluginRecord, implements, read_config
from darse.plugins import PluginAddress
from darse.volumes.mounts import MountPlan
from darse.wire.containers import ContainerConfig
from darse.wire.host_config import DeviceMapping, HostConfig, LogConfig, RestartPolicy
from darse.wire.plugins import PluginConfig, PluginMount

# Where a plugin makes its socket (moby's).
_SOCKETS = "/run/docker/plugins"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PROPAGATIONS = frozenset(("private", "rprivate", "shared", "rshared", "slave", "rslave"))


class PluginPlaces:
    """The directories of one plugin: its socket's, which goes with the host's start, and what it has kept."""

    def __init__(self, config: EngineConfig, plugin_id: str) -> None:
        # Short: a socket's path has 107 bytes at most (unix(7)).
        self.sockets = config.exec_root / "plugins" / plugin_id[:12]
        self.data = config.data_root / "plugins" / plugin_id
        self.propagated = self.data / "propagated-mount"
        self.logs = log_directory(config.exec_root)

    def prepare(self) -> None:
        """Have them, the propagated one as a shared mount: what the plugin mounts in there appears on the host."""
        for directory in (self.sockets, self.propagated, self.logs):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        shared_bind(self.propagated)

    def release(self) -> None:
        """Unmount what the plugin has left."""
        while is_mount_point(self.propagated):
            unmount(str(self.propagated), MNT_DETACH)
        remove_tree(self.sockets)

    def address(self, config: PluginConfig) -> PluginAddress:
        """Where it listens."""
        return PluginAddress(socket=str(self.sockets / config.Interface.Socket))


def container_config(plugin: PluginRecord) -> ContainerConfig:
    """What it runs."""
    config = read_config(plugin.config)
    user = config.User
    return ContainerConfig(
        Hostname=plugin.id[:12],
        User=f"{user.UID}:{user.GID}" if user.UID or user.GID else "",
        Env=[_PATH, *plugin.settings.Env],
        Cmd=list(plugin.settings.Args),
        Entrypoint=list(config.Entrypoint or ()),
        WorkingDir=config.WorkDir,
    )


def host_config(plugin: PluginRecord) -> HostConfig:
    """What of the host it has."""
    config = read_config(plugin.config)
    network = config.Network.Type
    return HostConfig(
        NetworkMode={"null": "none", "": "none"}.get(network, network),
        RestartPolicy=RestartPolicy(Name="always"),
        LogConfig=LogConfig(Type="local", Config={}),
        IpcMode="host" if config.IpcHost else "private",
        PidMode="host" if config.PidHost else "",
        UsernsMode="host",
        CapAdd=list(config.Linux.Capabilities or ()),
        Devices=[DeviceMapping(one.Path, one.Path, "rwm") for one in plugin.settings.Devices if one.Path],
        DeviceCgroupRules=["a *:* rwm"] if config.Linux.AllowAllDevices else None,
    )


def mount_plans(plugin: PluginRecord, places: PluginPlaces) -> list[MountPlan]:
    """What is mounted in it. Raises InvalidParameter for what cannot be."""
    config = read_config(plugin.config)
    plans = [MountPlan(type="bind", source=str(places.sockets), destination=_SOCKETS, propagation="rprivate")]
    if "LogDriver" in implements(config):
        logs = str(places.logs)
        plans.append(MountPlan(type="bind", source=logs, destination=logs, propagation="rprivate"))
    if config.PropagatedMount:
        if not config.PropagatedMount.startswith("/"):
            raise InvalidParameter(f"invalid propagated mount {config.PropagatedMount!r}: it must be absolute")
        plans.append(
            MountPlan(
                type="bind",
                source=str(places.propagated),
                destination=config.PropagatedMount,
                propagation="rshared",
            )
        )
    plans += [_plan(one) for one in plugin.settings.Mounts]
    return sorted(plans, key=lambda plan: (plan.destination.count("/"), plan.destination))


def _plan(mount: PluginMount) -> MountPlan:
    if not mount.Destination.startswith("/"):
        raise InvalidParameter(f"invalid mount of the plugin: destination {mount.Destination!r} is not absolute")
    options = mount.Options or []
    if mount.Type == "tmpfs":
        return MountPlan(type="tmpfs", destination=mount.Destination, tmpfs_options=options)
    if mount.Type != "bind":
        raise InvalidParameter(f"mounts of plugins are of type bind or tmpfs, and this one is of type {mount.Type!r}")
    if not (mount.Source or "").startswith("/"):
        raise InvalidParameter(f"the mount at {mount.Destination} needs a source on the host: set it first")
    return MountPlan(
        type="bind",
        source=mount.Source or "",
        destination=mount.Destination,
        rw="ro" not in options,
        propagation=next((one for one in options if one in _PROPAGATIONS), "rprivate"),
        non_recursive="rbind" not in options,
    )


def with_settings(record: Record, plugin: PluginRecord, places: PluginPlaces, host: HostConfig) -> Record:
    """The container's record for what a plugin's settings are now."""
    return msgspec.structs.replace(
        record, config=container_config(plugin), host=host, mounts=mount_plans(plugin, places)
    )
