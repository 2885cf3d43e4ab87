"""Plugins of the engine that are programs of the host: docker's plugin protocol, the client's side.

Vocabulary (moby's)

    plugin     a program that listens on a socket, and answers POST /IMPLEMENTS.METHOD with JSON
    discovery  a plugin is found by its name: a socket in the run folder, or a file that says where it listens
    handshake  `Plugin.Activate`, once: what the plugin implements (`NetworkDriver`, `IpamDriver`, `VolumeDriver`)

A plugin may hang, end, lie, or call this engine while the engine calls it: every call has a deadline and a bound for
its answer, an answer is decoded into what it must be, and nobody holds a lock that others need while one is called.
"""

from darse.plugins.client import PluginClient, PluginError, PluginRefused, PluginSilent
from darse.plugins.discovery import FOLDERS, SOCKETS, PluginAddress, find_plugin
from darse.plugins.managed import ManagedPlugin, ManagedPluginFinder

__all__ = [
    "FOLDERS",
    "SOCKETS",
    "ManagedPlugin",
    "ManagedPluginFinder",
    "PluginAddress",
    "PluginClient",
    "PluginError",
    "PluginRefused",
    "PluginSilent",
    "find_plugin",
]
