"""Documents of `/plugins`, the managed ones."""

from __future__ import annotations

from typing import TypedDict


class PluginUserDocument(TypedDict, total=False):
    """Whom the program runs as."""


class PluginNetworkDocument(TypedDict, total=False):
    """`host`, `bridge` or `none`."""

    Type: str


class PluginMountDocument(TypedDict, total=False):
    """What of the host the plugin sees."""

    Name: str
    Description: str
    Source: str | None
    Destination: str
    Type: str
    Options: list[str] | None


class PluginEnvDocument(TypedDict, total=False):
    """A variable that can be set."""

    Name: str
    Description: str
    Value: str | None


class PluginRootfsDocument(TypedDict, total=False):
    """The layers, as in an image's config."""

    type: str


class PluginConfigDocument(TypedDict, total=False):
    """The config of a plugin's image."""

    Description: str
    Entrypoint: list[str] | None
    User: PluginUserDocument
    Network: PluginNetworkDocument
    Mounts: list[PluginMountDocument] | None
    Env: list[PluginEnvDocument] | None
    rootfs: PluginRootfsDocument


class PluginDocument(TypedDict, total=False):
    """A plugin as the API shows it."""

    Id: str
    Name: str
    Enabled: bool
    PluginReference: str
    Config: PluginConfigDocument


class PluginPrivilegeDocument(TypedDict, total=False):
    """Something that a plugin is to be granted."""

    Name: str
    Description: str
    Value: list[str] | None
