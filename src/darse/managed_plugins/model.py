"""What is stored of a managed plugin, and what its config means: privileges, settings, interfaces."""

from __future__ import annotations

import types
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from darse.core.documents import DocumentCodec
from darse.core.errors import InvalidParameter
from darse.core.state import Schema
from darse.images.model import Layer
from darse.wire.plugins import Plugin, PluginConfig, PluginPrivilege, PluginSettings

SCHEMA = Schema(
    "managed_plugins",
    ("CREATE TABLE plugins (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, document BLOB NOT NULL) WITHOUT ROWID",),
)
#: The media type of a plugin's config, by which its image is known.
CONFIG_TYPE = "application/vnd.docker.plugin.v1+json"
# What an interface of a config is called by the plugin protocol.
_INTERFACES = {
    "volumedriver": "VolumeDriver",
    "networkdriver": "NetworkDriver",
    "ipamdriver": "IpamDriver",
    "logdriver": "LogDriver",
    "authz": "authz",
}
T = TypeVar("T")


class PluginRecord(msgspec.Struct, kw_only=True):
    """A plugin, as its row has it. `config` is the document of its image, byte for byte; `container` runs it."""

    id: str
    name: str
    reference: str
    enabled: bool = False
    config: bytes
    layers: list[Layer]
    settings: PluginSettings
    container: str
    created_ns: int


PLUGIN_DOCUMENTS = DocumentCodec(PluginRecord)


def read_config(content: bytes) -> PluginConfig:
    """The config of a plugin; names of members in any case. Raises InvalidParameter."""
    try:
        document = msgspec.json.decode(content)
        return msgspec.convert(_named(document, PluginConfig), PluginConfig)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidParameter(f"invalid plugin config: {error}") from None


def _named(value: Any, kind: Any) -> Any:
    """Give members the names that structs have for them, and leave out those that are null."""
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(one for one in get_args(kind) if one is not type(None))
    if get_origin(kind) is list and isinstance(value, list):
        return [_named(one, get_args(kind)[0]) for one in value]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and isinstance(value, dict):
        hints = get_type_hints(kind)
        names = {name.lower(): name for name in hints}
        return {
            names[key.lower()]: _named(one, hints[names[key.lower()]])
            for key, one in value.items()
            if isinstance(key, str) and key.lower() in names and one is not None
        }
    return value


def check_config(config: PluginConfig) -> None:
    """Raise InvalidParameter for a plugin that could not run."""
    if not config.Entrypoint:
        raise InvalidParameter("invalid plugin config: it names no entrypoint")
    if not config.Interface.Types:
        raise InvalidParameter("invalid plugin config: it names no interface")
    socket = config.Interface.Socket
    if not socket or "/" in socket or socket.startswith("."):
        raise InvalidParameter(f"invalid plugin config: {socket!r} is no name of a socket")
    if config.Interface.ProtocolScheme not in ("", "moby.plugins.http/v1"):
        raise InvalidParameter(f"plugins with the protocol {config.Interface.ProtocolScheme} are not supported")
    if config.Network.Type not in ("", "null", "none", "host"):
        raise InvalidParameter(f"plugins with the network {config.Network.Type!r} are not supported: host or none")


def view(record: PluginRecord) -> Plugin:
    """A plugin as the API shows it."""
    return Plugin(record.id, record.name, record.enabled, record.settings, record.reference, read_config(record.config))


def capabilities(config: PluginConfig) -> list[str]:
    """The interfaces, as the config calls them."""
    return [one.rpartition("/")[0].rpartition(".")[2] for one in config.Interface.Types]


def implements(config: PluginConfig) -> list[str]:
    """The interfaces, as the plugin protocol calls them."""
    return [_INTERFACES.get(name.lower(), name) for name in capabilities(config)]


def privileges(config: PluginConfig) -> list[PluginPrivilege]:
    """What a user has to grant, in moby's words."""
    found = []

    def ask(name: str, description: str, *values: str) -> None:
        found.append(PluginPrivilege(name, description, list(values)))

    if config.Network.Type not in ("", "null", "none", "bridge"):
        ask("network", "permissions to access a network", config.Network.Type)
    if config.IpcHost:
        ask("host ipc namespace", "allow access to host ipc namespace", "true")
    if config.PidHost:
        ask("host pid namespace", "allow access to host pid namespace", "true")
    for mount in config.Mounts or ():
        if mount.Source is not None:
            ask("mount", "host path to mount", mount.Source)
    for device in config.Linux.Devices or ():
        if device.Path is not None:
            ask("device", "host device to access", device.Path)
    if config.Linux.AllowAllDevices:
        ask("allow-all-devices", "allow 'rwm' access to all devices", "true")
    if config.Linux.Capabilities:
        ask("capabilities", "list of additional capabilities required", *config.Linux.Capabilities)
    return found


def check_granted(config: PluginConfig, granted: list[PluginPrivilege]) -> None:
    """Raise InvalidParameter unless exactly what a config asks for was granted."""

    def comparable(given: list[PluginPrivilege]) -> list[tuple[str, list[str]]]:
        return sorted((one.Name, sorted(one.Value or ())) for one in given)

    if comparable(granted) != comparable(privileges(config)):
        raise InvalidParameter("incorrect privileges: they are not those that the plugin asks for")


def default_settings(config: PluginConfig) -> PluginSettings:
    """The config's own values."""
    return PluginSettings(
        Mounts=[msgspec.structs.replace(one) for one in config.Mounts or ()],
        Env=[f"{one.Name}={one.Value}" for one in config.Env or () if one.Value is not None],
        Args=list(config.Args.Value or ()),
        Devices=[msgspec.structs.replace(one) for one in config.Linux.Devices or ()],
    )


def changed(config: PluginConfig, settings: PluginSettings, words: list[str]) -> PluginSettings:
    """Settings after `NAME[.FIELD][=VALUE]` words: all of them, or none. Raises InvalidParameter in docker's words."""
    new = PluginSettings(
        [msgspec.structs.replace(one) for one in settings.Mounts],
        list(settings.Env),
        list(settings.Args),
        [msgspec.structs.replace(one) for one in settings.Devices],
    )
    for word in words:
        key, _, value = word.partition("=")
        name, _, field = key.partition(".")
        if not name:
            raise InvalidParameter("invalid format, must be <name>[.<field>][=<value>]")
        if not _set(config, new, name, field, value):
            raise InvalidParameter(f'setting "{key}" not found in the plugin configuration')
    return new


def _set(config: PluginConfig, new: PluginSettings, name: str, field: str, value: str) -> bool:
    for variable in config.Env or ():
        if variable.Name == name:
            _check(name, variable.Settable, field, "value")
            names = [one.partition("=")[0] for one in new.Env]
            at = names.index(name) if name in names else len(names)
            new.Env[at : at + 1] = [f"{name}={value}"]
            return True
    for mount in new.Mounts:
        if mount.Name == name:
            _check(name, mount.Settable, field, "source")
            mount.Source = value
            return True
    for device in new.Devices:
        if device.Name == name:
            _check(name, device.Settable, field, "path")
            device.Path = value
            return True
    if name and config.Args.Name == name:
        _check(name, config.Args.Settable, field, "value")
        new.Args = value.split()
        return True
    return False


def _check(name: str, settable: list[str] | None, field: str, only: str) -> None:
    if field not in ("", only):
        raise InvalidParameter(f'"{name}.{field}" is not settable')
    if only not in (settable or ()):
        raise InvalidParameter(f'"{name}" is not settable')


def kept(config: PluginConfig, before: PluginSettings) -> PluginSettings:
    """The settings of a plugin after an upgrade: what was set stays, where the new config has it and lets it be set."""
    new = default_settings(config)
    words = list(before.Env)
    words += [f"{one.Name}={one.Source}" for one in before.Mounts if one.Name and one.Source is not None]
    words += [f"{one.Name}={one.Path}" for one in before.Devices if one.Name and one.Path is not None]
    if config.Args.Name and before.Args:
        words.append(f"{config.Args.Name}={' '.join(before.Args)}")
    for word in words:
        try:
            new = changed(config, new, [word])
        except InvalidParameter:
            continue  # the new one has no such setting
    return new
