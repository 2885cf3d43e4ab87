"""Managed plugins: their config, as images have it, and what the API shows of them (Docker Engine API v1.55)."""

from __future__ import annotations

import msgspec


class PluginEnv(msgspec.Struct):
    """A variable that can be set."""

    Name: str = ""
    Description: str = ""
    Settable: list[str] | None = None
    Value: str | None = None


class PluginArgs(msgspec.Struct):
    """The arguments of the program."""

    Name: str = ""
    Description: str = ""
    Settable: list[str] | None = None
    Value: list[str] | None = None


class PluginMount(msgspec.Struct):
    """What of the host the plugin sees."""

    Name: str = ""
    Description: str = ""
    Settable: list[str] | None = None
    Source: str | None = None
    Destination: str = ""
    Type: str = ""
    Options: list[str] | None = None


class PluginDevice(msgspec.Struct):
    """A device of the host."""

    Name: str = ""
    Description: str = ""
    Settable: list[str] | None = None
    Path: str | None = None


class PluginInterface(msgspec.Struct):
    """What the plugin implements (`docker.volumedriver/1.0`), and the name of its socket."""

    Types: list[str] = []
    Socket: str = ""
    ProtocolScheme: str = ""


class PluginNetwork(msgspec.Struct):
    """`host`, `bridge` or `none`."""

    Type: str = ""


class PluginLinux(msgspec.Struct):
    """Capabilities and devices."""

    Capabilities: list[str] | None = None
    AllowAllDevices: bool = False
    Devices: list[PluginDevice] | None = None


class PluginUser(msgspec.Struct, omit_defaults=True):
    """Whom the program runs as."""

    UID: int = 0
    GID: int = 0


class PluginRootfs(msgspec.Struct):
    """The layers, as in an image's config."""

    type: str = "layers"
    diff_ids: list[str] = []


class PluginConfig(msgspec.Struct):
    """The config of a plugin's image."""

    Description: str = ""
    Documentation: str = ""
    Interface: PluginInterface = msgspec.field(default_factory=PluginInterface)
    Entrypoint: list[str] | None = None
    WorkDir: str = ""
    User: PluginUser = msgspec.field(default_factory=PluginUser)
    Network: PluginNetwork = msgspec.field(default_factory=PluginNetwork)
    Linux: PluginLinux = msgspec.field(default_factory=PluginLinux)
    PropagatedMount: str = ""
    IpcHost: bool = False
    PidHost: bool = False
    Mounts: list[PluginMount] | None = None
    Env: list[PluginEnv] | None = None
    Args: PluginArgs = msgspec.field(default_factory=PluginArgs)
    rootfs: PluginRootfs = msgspec.field(default_factory=PluginRootfs)


class PluginSettings(msgspec.Struct):
    """What is in force: the config's values, or those that were set."""

    Mounts: list[PluginMount] = []
    Env: list[str] = []
    Args: list[str] = []
    Devices: list[PluginDevice] = []


class PluginPrivilege(msgspec.Struct):
    """Something that a plugin is to be granted."""

    Name: str = ""
    Description: str = ""
    Value: list[str] | None = None


class Plugin(msgspec.Struct):
    """A plugin as the API shows it."""

    Id: str
    Name: str
    Enabled: bool
    Settings: PluginSettings
    PluginReference: str
    Config: PluginConfig
